//! Wire formats: what a client sends becomes a command, an event becomes what a client reads.
//!
//! *In*: one WebSocket message ([`Wire`]) in one [`sparkway_protocol::Format`]. *Out*:
//! [`sparkway_protocol::Command`], or a refusal that names the field, the limit and the frame it
//! answers. The other way: [`sparkway_protocol::Event`] in, [`sparkway_frame::Framed`] out.
//!
//! *Guarantees*: total and deterministic. No input panics; nothing is allocated on the word of a
//! length field; what is kept never pins a read buffer. A payload is checked once, here, so that
//! writing it for any other format cannot fail later. [`spark`] documents the shapes that
//! protocol.md leaves open.
//!
//! *Never*: I/O, clocks, sessions, grants. It does not know whether a request is allowed.
//!
//! *Next*: `sparkway-session`, which decides what a command does.

pub mod chat;
mod closing;
pub mod conversation;
mod format;
mod payload;
pub mod room;
pub mod spark;
mod talk;
#[cfg(test)]
mod tests;
pub mod topics;
mod value;
mod writer;

pub use closing::closing;
pub use format::{Wire, WireKind, carries, decode, encode, encode_at};
pub use payload::{is_deeper, json_payload, json_text};
pub use talk::Talk;
