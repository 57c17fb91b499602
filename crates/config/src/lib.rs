//! File, environment and options in, checked [`Settings`] out.
//!
//! *In*: [`Sources`]: defaults < file < environment < `--set`.
//!
//! *Out*: [`Loaded`], the settings and where each value came from; or [`ConfigErrors`], everything
//! that is wrong at once.
//!
//! *Guarantees*: one table of keys drives reading, checking, printing and the reference page, so
//! they cannot differ. A key that is not in it is an error that names the nearest one. No error and
//! no listing shows a secret.
//!
//! *Never*: reads the process environment or decides a path by itself; the caller passes both.
//! Only `main` uses this crate.
//!
//! *Next*: `sparkway-metrics`.

mod backends;
mod bounds;
mod docs;
mod draft;
mod error;
mod file;
mod key;
mod layers;
mod load;
mod path;
mod raw;
mod show;
mod suggest;
mod table;
mod validate;

pub use docs::{docs_markdown, env_listing};
pub use error::{ConfigError, ConfigErrors};
pub use layers::Origin;
pub use load::{Loaded, Sources, load};
pub use show::Shown;
pub use sparkway_gateway::settings::{self, Settings};
