//! A message framed once, then shared: the WebSocket header is written in front of the payload a
//! single time, and every subscriber's outbox holds a cheap clone of the same bytes.
//!
//! *In*: payload bytes from a dialect. *Out*: [`Framed`], ready for the socket.
//!
//! *Guarantees*: a [`Framed`] always holds whole, unmasked, unfragmented server frames; control
//! frames never exceed 125 payload bytes; a close reason is cut between characters.
//!
//! *Never*: I/O, clocks, compression, masking.
//!
//! *Next*: `sparkway-dialect`, which fills a [`FrameWriter`].

mod deflate;
mod framed;
mod header;
mod writer;

pub use framed::{Framed, Frames};
pub use header::{CONTROL_PAYLOAD_BYTES, Opcode};
pub use writer::FrameWriter;
