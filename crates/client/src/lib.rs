//! The Rust client of Spark v1, for applications, tests and load generators.
//!
//! Two layers. [`Wire`] is one WebSocket: it sends any bytes, right or wrong, and hands over every
//! frame as it came; tests use it to see exact answers. [`Client`] is what applications use: it
//! keeps one session alive over any number of sockets and nodes.
//!
//! *In*: topics to follow, messages to publish. *Out*: a [`Subscription`] of [`Event`]s, and
//! [`Published`] for each stored message.
//!
//! *Guarantees* of [`Client`]: messages of a topic arrive in order, each once; what cannot be
//! recovered is told as [`Event::Loss`], never skipped silently; a publish keeps its frame id
//! through every retry, so it is stored once; every queue has a bound.
//!
//! *Never*: interprets payloads, guesses whether a lost answer meant success, hides a duplicate
//! (it is dropped and counted in [`Counts`]).
//!
//! *Next*: the gateway's `socket` station, on the other end of the line.

mod backoff;
mod counts;
mod encoding;
mod error;
mod frame;
mod handle;
mod observe;
mod options;
mod positions;
mod publish;
mod requests;
mod session;
mod subscription;
mod topics;
mod wire;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use counts::Counts;
pub use encoding::Encoding;
pub use error::{Error, OpenError};
pub use frame::{FrameType, ServerFrame};
pub use handle::Client;
pub use observe::{Observed, Observer, Step};
pub use options::{Options, TokenFuture, TokenSource};
pub use publish::{Publish, Published, Started};
pub use session::{Cut, Status};
pub use sparkway_protocol::MessageId;
pub use subscription::{
    Event, Loss, LossReason, Message, Rejected, Start, Subscribe, Subscription,
};
pub use wire::{Closed, Dial, Incoming, Missed, RawMessage, TokenPlace, Trust, Wire};
