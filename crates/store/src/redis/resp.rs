//! Reads RESP3, the protocol of Redis, as a pure function over bytes.
//!
//! Only what the subscriber connection meets is kept apart; sizes and depth are bounded, so that a
//! broken peer costs an error and no memory.

use std::fmt;

/// Longest string that is accepted, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most elements of one list.
const LIST_ELEMENTS_MAX: usize = 1024 * 1024;
/// Longest line that announces something, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting.
const DEPTH_MAX: usize = 8;

/// One value. Text is a slice of the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A number.
    Integer(i64),
    /// A string of any of its forms; also doubles, big numbers and booleans as they were written.
    Text(&'a [u8]),
    /// What the server refused.
    Error(&'a [u8]),
    /// An array, a set, or a map as key, value, key, value.
    List(Vec<Value<'a>>),
    /// Something that was not asked for.
    Push(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    /// The bytes of a string.
    #[must_use]
    pub const fn text(&self) -> Option<&'a [u8]> {
        match self {
            Value::Text(text) => Some(text),
            Value::Null | Value::Integer(_) | Value::Error(_) | Value::List(_) | Value::Push(_) => {
                None
            }
        }
    }

    /// The elements of a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::List(elements) => Some(elements),
            Value::Null | Value::Integer(_) | Value::Error(_) | Value::Text(_) | Value::Push(_) => {
                None
            }
        }
    }
}

/// What [`parse`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed<'a> {
    /// The value is not complete. It cannot be before the input has so many bytes.
    Incomplete {
        /// Total length of the input at which a new try makes sense.
        at_least: usize,
    },
    /// A value and how many bytes of the input it took.
    Value(Value<'a>, usize),
}

/// The input is not RESP3, or larger than the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Reads the value at the start of the input.
///
/// # Errors
/// [`Malformed`]: the connection cannot go on.
pub fn parse(input: &[u8]) -> Result<Parsed<'_>, Malformed> {
    let mut reader = Reader { input, at: 0 };
    match reader.value(0) {
        Ok(value) => Ok(Parsed::Value(value, reader.at)),
        Err(Stop::Incomplete(at_least)) => Ok(Parsed::Incomplete { at_least }),
        Err(Stop::Malformed(why)) => Err(Malformed(why)),
    }
}

enum Stop {
    Incomplete(usize),
    Malformed(&'static str),
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Malformed("nested too deeply"));
        }
        let line = self.line()?;
        let (&kind, rest) = line.split_first().ok_or(Stop::Malformed("empty line"))?;
        match kind {
            b'+' | b',' | b'(' | b'#' => Ok(Value::Text(rest)),
            b'-' => Ok(Value::Error(rest)),
            b':' => Ok(Value::Integer(number(rest)?)),
            b'_' => Ok(Value::Null),
            b'$' => Ok(self.sized(rest)?.map_or(Value::Null, Value::Text)),
            b'!' => Ok(self.sized(rest)?.map_or(Value::Null, Value::Error)),
            b'=' => {
                let text = self.sized(rest)?.unwrap_or_default();
                let text = text.get(4..).ok_or(Stop::Malformed("verbatim too short"))?;
                Ok(Value::Text(text))
            }
            b'*' | b'~' => Ok(self.list(rest, 1, depth)?.map_or(Value::Null, Value::List)),
            b'%' => Ok(self.list(rest, 2, depth)?.map_or(Value::Null, Value::List)),
            b'>' => Ok(Value::Push(self.list(rest, 1, depth)?.unwrap_or_default())),
            b'|' => {
                // Attributes describe the value that follows; nothing here needs them.
                self.list(rest, 2, depth)?;
                self.value(depth + 1)
            }
            _ => Err(Stop::Malformed("unknown type")),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            if rest.len() > LINE_BYTES_MAX {
                return Err(Stop::Malformed("line too long"));
            }
            return Err(Stop::Incomplete(self.input.len() + 1));
        };
        self.at += end + 1;
        rest.get(..end)
            .and_then(|line| line.strip_suffix(b"\r"))
            .ok_or(Stop::Malformed("line without carriage return"))
    }

    fn sized(&mut self, size: &[u8]) -> Result<Option<&'a [u8]>, Stop> {
        let Some(size) = count(size, TEXT_BYTES_MAX)? else {
            return Ok(None);
        };
        let end = self.at + size;
        let Some(text) = self.input.get(self.at..end) else {
            return Err(Stop::Incomplete(end + 2));
        };
        match self.input.get(end..end + 2) {
            Some(b"\r\n") => {
                self.at = end + 2;
                Ok(Some(text))
            }
            Some(_) => Err(Stop::Malformed("string longer than announced")),
            None => Err(Stop::Incomplete(end + 2)),
        }
    }

    fn list(
        &mut self,
        size: &[u8],
        each: usize,
        depth: usize,
    ) -> Result<Option<Vec<Value<'a>>>, Stop> {
        let Some(size) = count(size, LIST_ELEMENTS_MAX)? else {
            return Ok(None);
        };
        let size = size * each;
        // Every element takes three bytes at least: never allocate for a mere announcement.
        let here = self.input.len().saturating_sub(self.at) / 3;
        let mut elements = Vec::with_capacity(size.min(here));
        for _ in 0..size {
            elements.push(self.value(depth + 1)?);
        }
        Ok(Some(elements))
    }
}

fn number(digits: &[u8]) -> Result<i64, Stop> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Stop::Malformed("not a number"))
}

fn count(digits: &[u8], most: usize) -> Result<Option<usize>, Stop> {
    let count = number(digits)?;
    if count == -1 {
        return Ok(None);
    }
    match usize::try_from(count) {
        Ok(count) if count <= most => Ok(Some(count)),
        _ => Err(Stop::Malformed("announced size out of bounds")),
    }
}

/// Writes a command as an array of strings.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &[u8] = b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\na\r\nb\0\r\n";

    #[test]
    fn every_type_is_read_with_its_length() {
        let text = Value::Text;
        for (input, value) in [
            (&b"+OK\r\n"[..], text(b"OK")),
            (b"-ERR no\r\n", Value::Error(b"ERR no")),
            (b":-12\r\n", Value::Integer(-12)),
            (b"_\r\n", Value::Null),
            (b"$-1\r\n", Value::Null),
            (b"*-1\r\n", Value::Null),
            (b"$0\r\n\r\n", text(b"")),
            (b"!5\r\nERR x\r\n", Value::Error(b"ERR x")),
            (b"=7\r\ntxt:abc\r\n", text(b"abc")),
            (b"#t\r\n", text(b"t")),
            (b",1.5\r\n", text(b"1.5")),
            (b"~1\r\n:1\r\n", Value::List(vec![Value::Integer(1)])),
            (
                b"%1\r\n+a\r\n:1\r\n",
                Value::List(vec![text(b"a"), Value::Integer(1)]),
            ),
            (b"|1\r\n+a\r\n+b\r\n:7\r\n", Value::Integer(7)),
            (
                PUSH,
                Value::Push(vec![text(b"message"), text(b"ch"), text(b"a\r\nb\0")]),
            ),
        ] {
            let mut longer = input.to_vec();
            longer.extend_from_slice(b"+next\r\n");
            assert_eq!(parse(&longer), Ok(Parsed::Value(value, input.len())));
        }
    }

    #[test]
    fn every_cut_is_incomplete_and_asks_for_more_than_there_is() {
        for cut in 0..PUSH.len() {
            match parse(&PUSH[..cut]) {
                Ok(Parsed::Incomplete { at_least }) => {
                    assert!(at_least > cut && at_least <= PUSH.len(), "{cut}");
                }
                other => panic!("{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn announced_sizes_and_depth_are_bounded() {
        let deep = b"*1\r\n".repeat(40);
        for bad in [
            &b"$99999999999\r\n"[..],
            b"*99999999\r\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"?1\r\n",
            b"\r\n",
            b"+no return\n",
            b"$1\r\nabc",
            &deep,
            &vec![b'+'; LINE_BYTES_MAX + 2],
        ] {
            assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        // A small generator instead of a dependency: every input differs, none is special.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let symbols = b"*$+->%|=!:_~\r\n0123456789a";
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..24 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let pick = usize::try_from(state >> 40).unwrap() % symbols.len();
                input.push(symbols[pick]);
            }
            if let Ok(Parsed::Value(_, length)) = parse(&input) {
                assert!(length <= input.len());
            }
        }
    }

    #[test]
    fn command_is_written_length_first() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"GET", b"a\r\nb"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n");
    }
}
