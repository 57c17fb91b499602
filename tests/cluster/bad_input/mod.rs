//! Bad input: each has its documented answer, and healthy connections of the node never notice.

mod autobahn;
mod deflate;
mod frames;
mod handshake;
mod payloads;
mod rows;

pub(crate) use frames::ping_frame;
