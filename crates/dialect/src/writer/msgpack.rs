//! `MessagePack`, every head in its shortest form.

use sparkway_protocol::{Encoding, Payload};

use super::{Sink, Writer};
use crate::payload;

/// Writes `MessagePack`.
pub(crate) struct MsgPackWriter<S>(S);

impl<S: Sink> MsgPackWriter<S> {
    pub(crate) const fn new(sink: S) -> Self {
        Self(sink)
    }

    pub(crate) fn into_sink(self) -> S {
        self.0
    }

    pub(crate) const fn sink_mut(&mut self) -> &mut S {
        &mut self.0
    }

    fn marked<const N: usize>(&mut self, marker: u8, rest: [u8; N]) {
        self.0.push(&[marker]);
        self.0.push(&rest);
    }
}

/// The head of a container of `count` parts, and its length. Four billion parts are the most.
fn container(fixed: u8, wide: u8, count: usize) -> ([u8; 5], usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let [high, mid, low, last] = count.to_be_bytes();
    if count < 16 {
        ([fixed | last, 0, 0, 0, 0], 1)
    } else if count <= 0xffff {
        ([wide, low, last, 0, 0], 3)
    } else {
        ([wide + 1, high, mid, low, last], 5)
    }
}

const ARRAY: (u8, u8) = (0x90, 0xdc);
const MAP: (u8, u8) = (0x80, 0xde);

/// Opens a container whose size is not known yet; hand the place to [`close_container`].
pub(crate) fn open_container(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len() - 1
}

/// Writes the head of the container that was opened at `place`. From 16 parts on its content
/// moves by 2 or 4 bytes.
pub(crate) fn close_container(out: &mut Vec<u8>, place: usize, is_map: bool, count: usize) {
    let (fixed, wide) = if is_map { MAP } else { ARRAY };
    let (head, length) = container(fixed, wide, count);
    out.splice(place..=place, head.into_iter().take(length));
}

impl<S: Sink> Writer for MsgPackWriter<S> {
    fn map(&mut self, fields: usize) {
        let (head, length) = container(MAP.0, MAP.1, fields);
        self.0.push(head.get(..length).unwrap_or_default());
    }

    fn end_map(&mut self) {}

    fn array(&mut self, items: usize) {
        let (head, length) = container(ARRAY.0, ARRAY.1, items);
        self.0.push(head.get(..length).unwrap_or_default());
    }

    fn end_array(&mut self) {}

    fn key(&mut self, key: &str) {
        self.text(key);
    }

    fn name(&mut self, name: &'static str) {
        self.text(name);
    }

    fn null(&mut self) {
        self.0.push(&[0xc0]);
    }

    fn boolean(&mut self, value: bool) {
        self.0.push(&[if value { 0xc3 } else { 0xc2 }]);
    }

    fn unsigned(&mut self, value: u64) {
        if let Ok(value) = u8::try_from(value) {
            if value < 0x80 {
                self.0.push(&[value]);
            } else {
                self.0.push(&[0xcc, value]);
            }
        } else if let Ok(value) = u16::try_from(value) {
            self.marked(0xcd, value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.marked(0xce, value.to_be_bytes());
        } else {
            self.marked(0xcf, value.to_be_bytes());
        }
    }

    fn negative(&mut self, value: i64) {
        if let Ok(value) = i8::try_from(value) {
            if value >= -32 {
                self.0.push(&value.to_be_bytes());
            } else {
                self.marked(0xd0, value.to_be_bytes());
            }
        } else if let Ok(value) = i16::try_from(value) {
            self.marked(0xd1, value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.marked(0xd2, value.to_be_bytes());
        } else {
            self.marked(0xd3, value.to_be_bytes());
        }
    }

    fn float(&mut self, value: f64) {
        self.marked(0xcb, value.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        if let Ok(length) = u8::try_from(text.len()) {
            if length < 32 {
                self.0.push(&[0xa0 | length]);
            } else {
                self.0.push(&[0xd9, length]);
            }
        } else if let Ok(length) = u16::try_from(text.len()) {
            self.marked(0xda, length.to_be_bytes());
        } else {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.marked(0xdb, length.to_be_bytes());
        }
        self.0.push(text.as_bytes());
    }

    fn digits(&mut self, value: u64) {
        self.text(itoa::Buffer::new().format(value));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Ok(length) = u8::try_from(bytes.len()) {
            self.0.push(&[0xc4, length]);
        } else if let Ok(length) = u16::try_from(bytes.len()) {
            self.marked(0xc5, length.to_be_bytes());
        } else {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.marked(0xc6, length.to_be_bytes());
        }
        self.0.push(bytes);
    }

    fn payload(&mut self, payload: &Payload) {
        match payload.encoding {
            Encoding::Json => match payload::to_msgpack(&payload.bytes) {
                Some(bytes) => self.0.push(&bytes),
                None => self.null(),
            },
            Encoding::MsgPack => self.0.push(&payload.bytes),
            Encoding::Binary => self.bytes(&payload.bytes),
            Encoding::Text => self.text(&String::from_utf8_lossy(&payload.bytes)),
        }
    }

    fn note(_payload: &Payload) -> Option<&'static str> {
        None
    }
}
