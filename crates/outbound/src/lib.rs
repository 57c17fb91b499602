//! HTTP requests that a node makes to the application's backends: hooks, key sets.
//!
//! *In*: a [`Target`] from the configuration, never from a client; headers and a body.
//! *Out*: [`Answer`], or [`OutboundError`] that says whether the backend can have acted.
//!
//! *Guarantees*: no request outlives its deadline; no answer is longer than its bound; no more
//! requests are under way than allowed, so a backend that hangs costs so many connections and no
//! more. A redirect is an answer, never followed. Internal addresses, and those that hand out
//! credentials to whoever asks (link-local, the metadata services of clouds), are refused after
//! the name was resolved unless the configuration means them; see [`Guard`].
//!
//! *Never*: retries (only the caller knows what is safe to repeat), cookies, proxies from the
//! environment.

mod client;
mod error;
mod guard;
mod settings;
mod target;
#[cfg(test)]
mod tests;

pub use client::{Answer, Call, Client};
pub use error::{OutboundError, SetupError};
pub use guard::Guard;
pub use ipnet::IpNet;
pub use settings::OutboundSettings;
pub use target::{Target, TargetError};
