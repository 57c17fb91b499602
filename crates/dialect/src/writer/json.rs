//! JSON text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sparkway_protocol::{Encoding, Payload};

use super::{Sink, Writer};
use crate::payload;

/// Writes JSON without white space.
pub(crate) struct JsonWriter<S> {
    sink: S,
    /// Whether a value stands before this place in the same container.
    comma: bool,
}

impl<S: Sink> JsonWriter<S> {
    pub(crate) const fn new(sink: S) -> Self {
        Self { sink, comma: false }
    }

    pub(crate) fn into_sink(self) -> S {
        self.sink
    }

    fn separate(&mut self, comma_after: bool) {
        if self.comma {
            self.sink.push(b",");
        }
        self.comma = comma_after;
    }

    fn raw(&mut self, value: &[u8]) {
        self.separate(true);
        self.sink.push(value);
    }

    fn quoted(&mut self, text: &str) {
        self.sink.push(b"\"");
        let mut rest = text.as_bytes();
        while let Some(stop) = rest.iter().position(|&symbol| needs_escape(symbol)) {
            let Some((clean, [symbol, after @ ..])) = rest.split_at_checked(stop) else {
                break;
            };
            self.sink.push(clean);
            self.escape(*symbol);
            rest = after;
        }
        self.sink.push(rest);
        self.sink.push(b"\"");
    }

    fn escape(&mut self, symbol: u8) {
        let short: &[u8] = match symbol {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            _ => {
                let digit = |nibble: u8| {
                    if nibble < 10 {
                        b'0' + nibble
                    } else {
                        b'a' + nibble - 10
                    }
                };
                let long = [
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(symbol >> 4),
                    digit(symbol & 0x0f),
                ];
                return self.sink.push(&long);
            }
        };
        self.sink.push(short);
    }
}

/// The characters that a JSON string must escape; all others stand for themselves (RFC 8259, 7).
const fn needs_escape(symbol: u8) -> bool {
    symbol < 0x20 || symbol == b'"' || symbol == b'\\'
}

impl<S: Sink> Writer for JsonWriter<S> {
    fn map(&mut self, _fields: usize) {
        self.separate(false);
        self.sink.push(b"{");
    }

    fn end_map(&mut self) {
        self.sink.push(b"}");
        self.comma = true;
    }

    fn array(&mut self, _items: usize) {
        self.separate(false);
        self.sink.push(b"[");
    }

    fn end_array(&mut self) {
        self.sink.push(b"]");
        self.comma = true;
    }

    fn key(&mut self, key: &str) {
        self.separate(false);
        self.quoted(key);
        self.sink.push(b":");
    }

    fn name(&mut self, name: &'static str) {
        self.separate(false);
        self.sink.push(b"\"");
        self.sink.push(name.as_bytes());
        self.sink.push(b"\":");
    }

    fn null(&mut self) {
        self.raw(b"null");
    }

    fn boolean(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    fn unsigned(&mut self, value: u64) {
        self.raw(itoa::Buffer::new().format(value).as_bytes());
    }

    fn negative(&mut self, value: i64) {
        self.raw(itoa::Buffer::new().format(value).as_bytes());
    }

    /// JSON has no word for infinities and for what is no number: null, as in JavaScript.
    fn float(&mut self, value: f64) {
        if value.is_finite() {
            // Debug is the shortest form that reads back the same, with an exponent for the
            // extremes and a point otherwise: a float stays one.
            self.raw(format!("{value:?}").as_bytes());
        } else {
            self.null();
        }
    }

    fn text(&mut self, text: &str) {
        self.separate(true);
        self.quoted(text);
    }

    fn digits(&mut self, value: u64) {
        self.separate(true);
        self.sink.push(b"\"");
        self.sink.push(itoa::Buffer::new().format(value).as_bytes());
        self.sink.push(b"\"");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.separate(true);
        self.sink.push(b"\"");
        self.sink.push(STANDARD.encode(bytes).as_bytes());
        self.sink.push(b"\"");
    }

    fn payload(&mut self, payload: &Payload) {
        match payload.encoding {
            Encoding::Json => self.raw(&payload.bytes),
            Encoding::MsgPack => payload::write_msgpack(&payload.bytes, self),
            Encoding::Binary => self.bytes(&payload.bytes),
            Encoding::Text => self.text(&String::from_utf8_lossy(&payload.bytes)),
        }
    }

    fn note(payload: &Payload) -> Option<&'static str> {
        (payload.encoding == Encoding::Binary).then_some("base64")
    }
}
