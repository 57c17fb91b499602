//! The rules of a payload that its syntax does not know: depth, Unicode, nothing but JSON's kinds.

use sparkway_protocol::limits::PAYLOAD_DEPTH;
use sparkway_protocol::{Encoding, Payload};

use super::reader::{Flaw, Head, Reader};

const TOO_DEEP: &str = "nested deeper than 64 levels";
const LONE_SURROGATE: &str = "holds half of a surrogate pair";
const _: () = assert!(PAYLOAD_DEPTH == 64, "the text of TOO_DEEP names the limit");

/// Checks a valid JSON value: at most [`PAYLOAD_DEPTH`] levels, and every escape is Unicode.
/// `serde_json` lets both pass in raw values; they would break stricter parsers of other clients.
pub(crate) fn check_json(text: &str) -> Result<(), &'static str> {
    let mut rest = text.as_bytes();
    let mut depth = 0_usize;
    while let Some((&symbol, after)) = rest.split_first() {
        rest = after;
        match symbol {
            b'"' => rest = check_string(after)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > PAYLOAD_DEPTH {
                    return Err(TOO_DEEP);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a payload that was checked before is nested deeper than `levels`. Texts and bytes have
/// no levels.
#[must_use]
pub fn is_deeper(payload: &Payload, levels: usize) -> bool {
    match payload.encoding {
        Encoding::Json => depth_of_json(&payload.bytes) > levels,
        Encoding::MsgPack => {
            let mut reader = Reader::new(&payload.bytes);
            matches!(check_value(&mut reader, levels), Err(Flaw::TooDeep))
        }
        Encoding::Text | Encoding::Binary => false,
    }
}

fn depth_of_json(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for symbol in text {
        match symbol {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Checks the string whose opening quote was read; returns what follows its closing one.
fn check_string(mut rest: &[u8]) -> Result<&[u8], &'static str> {
    loop {
        let stop = rest
            .iter()
            .position(|&symbol| matches!(symbol, b'"' | b'\\'));
        let Some((_, at_stop)) = stop.and_then(|stop| rest.split_at_checked(stop)) else {
            return Ok(&[]);
        };
        match at_stop {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'u', escape @ ..] => rest = check_escape(escape)?,
            [b'\\', _, after @ ..] => rest = after,
            _ => return Ok(&[]),
        }
    }
}

/// Checks a `\u` escape from its digits on; returns what follows it, or the pair it begins.
fn check_escape(escape: &[u8]) -> Result<&[u8], &'static str> {
    let Some((first, rest)) = code_unit(escape) else {
        return Err(LONE_SURROGATE);
    };
    match first {
        0xd800..=0xdbff => match rest {
            [b'\\', b'u', second @ ..] => match code_unit(second) {
                Some((0xdc00..=0xdfff, rest)) => Ok(rest),
                Some(_) | None => Err(LONE_SURROGATE),
            },
            _ => Err(LONE_SURROGATE),
        },
        0xdc00..=0xdfff => Err(LONE_SURROGATE),
        _ => Ok(rest),
    }
}

fn code_unit(digits: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = digits.split_first_chunk::<4>()?;
    let text = str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(text, 16).ok()?, rest))
}

/// Checks one `MessagePack` value: whole, at most [`PAYLOAD_DEPTH`] levels, string keys only, no
/// extension types, all text UTF-8. What passes can be written as JSON.
pub(crate) fn check_msgpack(bytes: &[u8]) -> Result<(), Flaw> {
    let mut reader = Reader::new(bytes);
    check_value(&mut reader, PAYLOAD_DEPTH)?;
    reader.end()
}

fn check_value(reader: &mut Reader<'_>, levels: usize) -> Result<(), Flaw> {
    match reader.head()? {
        Head::Text(text) => check_text(text),
        Head::Array(count) => {
            let levels = levels.checked_sub(1).ok_or(Flaw::TooDeep)?;
            (0..count).try_for_each(|_| check_value(reader, levels))
        }
        Head::Map(count) => {
            let levels = levels.checked_sub(1).ok_or(Flaw::TooDeep)?;
            (0..count).try_for_each(|_| {
                let Head::Text(key) = reader.head()? else {
                    return Err(Flaw::Key);
                };
                check_text(key)?;
                check_value(reader, levels)
            })
        }
        Head::Extension => Err(Flaw::Extension),
        Head::Nil
        | Head::Bool(_)
        | Head::Unsigned(_)
        | Head::Negative(_)
        | Head::Float(_)
        | Head::Bytes(_) => Ok(()),
    }
}

fn check_text(text: &[u8]) -> Result<(), Flaw> {
    str::from_utf8(text).map(|_| ()).map_err(|_| Flaw::NotUtf8)
}
