//! Spark v1 (protocol.md), in JSON text frames and in `MessagePack` binary frames.

mod decode;
mod encode;

pub(crate) use decode::decode;
pub(crate) use encode::{encode_json, encode_msgpack};
