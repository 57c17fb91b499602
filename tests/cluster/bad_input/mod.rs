//! Bad input: each has its documented answer, and healthy connections of the node never notice.

mod frames;
mod handshake;
mod payloads;
