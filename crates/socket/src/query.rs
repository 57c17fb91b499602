//! Percent-decoding of paths and queries.

use std::borrow::Cow;

/// Decodes `%XX` in a path segment. A malformed escape stays as it is; bytes that are not UTF-8
/// become U+FFFD.
#[must_use]
pub fn decode_segment(raw: &str) -> Cow<'_, str> {
    decode(raw, false)
}

/// The pairs of a query, in order, decoded as forms encode them (`+` is a space). A name without
/// `=` has an empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        })
}

fn decode(raw: &str, plus_is_space: bool) -> Cow<'_, str> {
    let escaped = raw.contains('%') || plus_is_space && raw.contains('+');
    if !escaped {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match (byte, after) {
            (b'+', _) if plus_is_space => b' ',
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => byte,
        });
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_pairs_are_decoded_in_order() {
        let found: Vec<_> = pairs("token=a%2Bb+c&x&&=1&y=%zz%4").collect();
        let expected = [("token", "a+b c"), ("x", ""), ("", "1"), ("y", "%zz%4")];
        assert_eq!(found.len(), expected.len());
        for ((name, value), (want_name, want_value)) in found.iter().zip(expected) {
            assert_eq!((name.as_ref(), value.as_ref()), (want_name, want_value));
        }
    }

    #[test]
    fn segment_keeps_plus_and_survives_bad_bytes() {
        assert_eq!(decode_segment("a+b%20c"), "a+b c");
        assert_eq!(decode_segment("%ff"), "\u{fffd}");
        assert_eq!(decode_segment("%"), "%");
        assert!(matches!(decode_segment("plain"), Cow::Borrowed("plain")));
    }
}
