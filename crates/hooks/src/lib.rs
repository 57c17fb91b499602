//! Questions to the application's backends, and what they may answer.
//!
//! *In*: a question about a client ([`ask`]), from the gateway. *Out*: a checked answer, or
//! [`AskError`], which says what went wrong and not what follows from it: that is the policy of
//! the hook ([`OnError`]), which the caller carries out.
//!
//! *Guarantees*: URLs come from the configuration, never from a client; every request is signed
//! over its id, its time and its body; no question outlives its deadline; a backend that hangs
//! costs so many requests at once and no more, and one that keeps failing is left alone for a
//! while ([`breaker`]); answers are bounded and have the form that they should have, or count as
//! none. What a client claims stands apart from what its connection showed.
//!
//! *Never*: retries a question (an event is, by whoever keeps it), follows a redirect, decides for
//! a client by itself.
//!
//! *Next*: `sparkway-gateway`, which asks.

pub mod answer;
pub mod ask;
mod backends;
pub mod breaker;
mod remembered;
mod settings;
mod sign;

pub use backends::{AskError, Backends, Present, Request};
pub use remembered::Remembered;
pub use settings::{HookSettings, HookUrls, OnError};
pub use sign::{Secret, SecretError, Signature, sign};
pub use sparkway_metrics::Hook;
