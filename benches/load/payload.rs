//! What a measured message carries: its number, when it was sent, on which topic.

use std::io::Write as _;

/// The mark behind which the fields stand; it occurs nowhere else in a frame.
const MARK: u8 = b'~';
const NUMBER: usize = 10;
const SENT: usize = 15;
const TOPIC: usize = 6;
/// Bytes of a payload without filling: quotes, mark, fields, blanks between them.
const LEAST: usize = 2 + 1 + NUMBER + 1 + SENT + 1 + TOPIC;

/// The fields of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Counts the messages of a topic from 0.
    pub(crate) number: u64,
    /// Nanoseconds since the load began.
    pub(crate) sent_ns: u64,
    pub(crate) topic: u32,
}

impl Stamp {
    /// Bytes of the payload that [`Self::write`] makes of `size`.
    pub(crate) fn length(size: usize) -> usize {
        size.max(LEAST)
    }

    /// Appends the payload, a JSON text of `size` bytes, or of 36 if that is more.
    pub(crate) fn write(&self, size: usize, out: &mut Vec<u8>) {
        let Self {
            number,
            sent_ns,
            topic,
        } = self;
        // Into memory: cannot fail.
        let _ = write!(out, "\"~{number:0NUMBER$} {sent_ns:0SENT$} {topic:0TOPIC$}");
        out.resize(out.len() + size.saturating_sub(LEAST), b'x');
        out.push(b'"');
    }

    /// Finds and reads the fields.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let at = memchr::memchr(MARK, frame)? + 1;
        let fields = frame.get(at..at + NUMBER + 1 + SENT + 1 + TOPIC)?;
        let (number, rest) = fields.split_at_checked(NUMBER)?;
        let (sent, rest) = rest.get(1..)?.split_at_checked(SENT)?;
        let topic = digits(rest.get(1..)?)?;
        Some(Self {
            number: digits(number)?,
            sent_ns: digits(sent)?,
            topic: u32::try_from(topic).ok()?,
        })
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_the_middle_of_a_frame() {
        let stamp = Stamp {
            number: 1_234,
            sent_ns: 999_999_999_999,
            topic: 77,
        };
        let mut frame = b"{\"data\":".to_vec();
        stamp.write(128, &mut frame);
        assert_eq!(frame.len(), 8 + 128);
        frame.extend(b",\"ts\":1}");
        assert_eq!(Stamp::find(&frame), Some(stamp));
        assert_eq!(Stamp::find(b"{\"type\":\"ws:ack\"}"), None);
        assert_eq!(Stamp::find(b"~123"), None);
    }
}
