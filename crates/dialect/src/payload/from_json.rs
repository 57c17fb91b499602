//! A JSON payload as `MessagePack`. `serde_json` would do but for its numbers: it refuses 1e400,
//! which is valid JSON and was let in.

use sparkway_protocol::limits::PAYLOAD_DEPTH;

use crate::value::json_string;
use crate::writer::{MsgPackWriter, Writer as _, close_container, open_container};

/// The value of a checked JSON text; `None` when it never was checked and is no value.
///
/// Whole numbers from -2^63 to 2^64 - 1 stay whole, all others become doubles; beyond a double's
/// range that is an infinity, as in JavaScript.
pub(crate) fn to_msgpack(json: &[u8]) -> Option<Vec<u8>> {
    let mut walk = Walk {
        rest: str::from_utf8(json).ok()?,
        out: MsgPackWriter::new(Vec::with_capacity(json.len())),
    };
    walk.value(PAYLOAD_DEPTH)?;
    walk.space();
    walk.rest.is_empty().then(|| walk.out.into_sink())
}

struct Walk<'a> {
    rest: &'a str,
    out: MsgPackWriter<Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, levels: usize) -> Option<()> {
        self.space();
        match self.rest.as_bytes().first()? {
            b'{' => self.container(b'}', levels.checked_sub(1)?),
            b'[' => self.container(b']', levels.checked_sub(1)?),
            b'"' => self.string(),
            b'n' => self.word("null").map(|()| self.out.null()),
            b't' => self.word("true").map(|()| self.out.boolean(true)),
            b'f' => self.word("false").map(|()| self.out.boolean(false)),
            _ => self.number(),
        }
    }

    fn container(&mut self, end: u8, levels: usize) -> Option<()> {
        let is_map = end == b'}';
        let place = open_container(self.out.sink_mut());
        self.take(1)?;
        let mut count = 0_usize;
        loop {
            self.space();
            match self.rest.as_bytes().first()? {
                &symbol if symbol == end => break,
                b',' if count > 0 => {
                    self.take(1)?;
                }
                _ if count == 0 => {}
                _ => return None,
            }
            if is_map {
                self.space();
                self.string()?;
                self.space();
                self.word(":")?;
            }
            self.value(levels)?;
            count += 1;
        }
        self.take(1)?;
        close_container(self.out.sink_mut(), place, is_map, count);
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        loop {
            end += bytes
                .get(end..)?
                .iter()
                .position(|symbol| matches!(symbol, b'"' | b'\\'))?;
            if bytes.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let text = json_string(self.take(end + 1)?)?;
        self.out.text(&text);
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let bytes = self.rest.as_bytes();
        let is_part =
            |symbol: &u8| matches!(symbol, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = bytes
            .iter()
            .position(|symbol| !is_part(symbol))
            .unwrap_or(bytes.len());
        let number = self.take(length)?;
        if let Ok(value) = number.parse::<u64>() {
            self.out.unsigned(value);
        } else if let Some(value) = number.parse::<i64>().ok().filter(|&value| value < 0) {
            self.out.negative(value);
        } else {
            self.out.float(number.parse().ok()?);
        }
        Some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}
