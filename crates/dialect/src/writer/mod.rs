//! Writes one value after another, in JSON or `MessagePack`: an event is laid out once for both.

mod json;
mod msgpack;

use sparkway_frame::FrameWriter;
use sparkway_protocol::Payload;

pub(crate) use json::JsonWriter;
pub(crate) use msgpack::{MsgPackWriter, close_container, open_container};

/// Where the bytes go.
pub(crate) trait Sink {
    fn push(&mut self, bytes: &[u8]);
}

impl Sink for FrameWriter {
    fn push(&mut self, bytes: &[u8]) {
        Self::push(self, bytes);
    }
}

impl Sink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// One encoding. The caller keeps the promises: as many fields or items as announced, a key in
/// front of every value of a map.
pub(crate) trait Writer {
    /// Opens a map of `fields` fields.
    fn map(&mut self, fields: usize);
    fn end_map(&mut self);
    /// Opens an array of `items` items.
    fn array(&mut self, items: usize);
    fn end_array(&mut self);
    /// A key that comes from outside.
    fn key(&mut self, key: &str);
    /// A key of the protocol: nothing in it needs an escape.
    fn name(&mut self, name: &'static str);
    fn null(&mut self);
    fn boolean(&mut self, value: bool);
    fn unsigned(&mut self, value: u64);
    fn negative(&mut self, value: i64);
    fn float(&mut self, value: f64);
    fn text(&mut self, text: &str);
    /// A number as a string of decimal digits.
    fn digits(&mut self, value: u64);
    fn bytes(&mut self, bytes: &[u8]);
    fn payload(&mut self, payload: &Payload);
    /// How a reader is told that `payload` is not written as what it is.
    fn note(payload: &Payload) -> Option<&'static str>;
}
