//! [`Framed`]: header and payload in one shared buffer.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::deflate::deflate;
use crate::header::{CONTROL_PAYLOAD_BYTES, Header, Opcode, split_first};

/// Bytes of the code in front of a close reason.
const CLOSE_CODE_BYTES: usize = 2;

/// One or more complete server frames, ready to be written. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Framed(Bytes);

impl Framed {
    /// One text frame. The caller vouches for `payload` being UTF-8.
    #[must_use]
    pub fn text(payload: &[u8]) -> Self {
        Self::copied(Opcode::Text, payload)
    }

    /// One binary frame.
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        Self::copied(Opcode::Binary, payload)
    }

    /// One close frame. `reason` is cut between characters to 123 bytes. `code` must be one that
    /// may be sent (1000-1003, 1007-1014, 3000-4999).
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        let reason = cut(reason, CONTROL_PAYLOAD_BYTES - CLOSE_CODE_BYTES);
        let payload_bytes = CLOSE_CODE_BYTES + reason.len();
        let header = Header::new(Opcode::Close, payload_bytes);
        let mut buffer = BytesMut::with_capacity(header.bytes().len() + payload_bytes);
        buffer.put_slice(header.bytes());
        buffer.put_u16(code);
        buffer.put_slice(reason.as_bytes());
        Self(buffer.freeze())
    }

    /// One close frame with neither code nor reason: the answer to a peer that gave none.
    #[must_use]
    pub fn close_without_code() -> Self {
        Self::copied(Opcode::Close, &[])
    }

    /// One ping. `payload` is cut to 125 bytes.
    #[must_use]
    pub fn ping(payload: &[u8]) -> Self {
        Self::copied(Opcode::Ping, cut_bytes(payload))
    }

    /// One pong. `payload` is cut to 125 bytes, which no valid ping exceeds.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::copied(Opcode::Pong, cut_bytes(payload))
    }

    /// All frames of `parts` in order, as one buffer: a burst costs each subscriber one entry.
    /// Copies every byte, except when `parts` holds a single item.
    #[must_use]
    pub fn join(parts: &[Self]) -> Self {
        if let [only] = parts {
            return only.clone();
        }
        let mut buffer = BytesMut::with_capacity(parts.iter().map(Self::len).sum());
        for part in parts {
            buffer.put_slice(&part.0);
        }
        Self(buffer.freeze())
    }

    /// Bytes on the wire, headers included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no frame at all, which only [`Self::join`] of nothing makes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes as they go on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as they go on the wire, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The frames inside, in order.
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        Frames(&self.0)
    }

    /// The same messages, each deflated without a context where that makes it shorter (RFC 7692).
    /// For connections that agreed to it. Costs the time of the compression; share the result.
    #[must_use]
    pub fn deflated(&self) -> Self {
        let mut buffer = BytesMut::with_capacity(self.len());
        for (opcode, payload) in self.frames() {
            let short = matches!(opcode, Opcode::Text | Opcode::Binary)
                .then(|| deflate(payload))
                .flatten();
            let (header, payload) = match &short {
                Some(short) => (Header::new(opcode, short.len()).deflated(), &short[..]),
                None => (Header::new(opcode, payload.len()), payload),
            };
            buffer.put_slice(header.bytes());
            buffer.put_slice(payload);
        }
        Self(buffer.freeze())
    }

    pub(crate) const fn from_whole(bytes: Bytes) -> Self {
        Self(bytes)
    }

    fn copied(opcode: Opcode, payload: &[u8]) -> Self {
        let header = Header::new(opcode, payload.len());
        let mut buffer = BytesMut::with_capacity(header.bytes().len() + payload.len());
        buffer.put_slice(header.bytes());
        buffer.put_slice(payload);
        Self(buffer.freeze())
    }
}

impl fmt::Debug for Framed {
    /// Lengths only: payloads belong to users and stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed")
            .field("bytes", &self.len())
            .finish_non_exhaustive()
    }
}

/// Iterates over the frames of a [`Framed`] as (opcode, payload).
#[derive(Clone)]
pub struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = (Opcode, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (opcode, payload, rest) = split_first(self.0)?;
        self.0 = rest;
        Some((opcode, payload))
    }
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("bytes", &self.0.len())
            .finish_non_exhaustive()
    }
}

/// The longest prefix of whole characters within `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let end = text.floor_char_boundary(limit);
    text.get(..end).unwrap_or_default()
}

fn cut_bytes(payload: &[u8]) -> &[u8] {
    payload.get(..CONTROL_PAYLOAD_BYTES).unwrap_or(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_follows_its_header() {
        assert_eq!(Framed::text(b"hi").as_bytes(), [0x81, 2, b'h', b'i']);
        assert_eq!(Framed::binary(&[7]).as_bytes(), [0x82, 1, 7]);
        assert_eq!(Framed::text(b"").as_bytes(), [0x81, 0]);
    }

    #[test]
    fn close_carries_code_and_reason() {
        assert_eq!(
            Framed::close(4009, "no").as_bytes(),
            [0x88, 4, 0x0f, 0xa9, b'n', b'o']
        );
        assert_eq!(Framed::close_without_code().as_bytes(), [0x88, 0]);
    }

    #[test]
    fn close_reason_is_cut_between_characters() {
        // 61 two-byte characters are 122 bytes: the 62nd would end at 124.
        let framed = Framed::close(1000, &"é".repeat(80));
        let (_, payload) = framed.frames().next().unwrap();
        assert_eq!(payload.len(), 2 + 122);
        assert_eq!(std::str::from_utf8(&payload[2..]).unwrap(), "é".repeat(61));
        assert_eq!(Framed::close(1000, &"a".repeat(300)).len(), 2 + 125);
    }

    #[test]
    fn control_payload_never_exceeds_125_bytes() {
        assert_eq!(Framed::ping(&[0; 126]).as_bytes()[1], 125);
        assert_eq!(Framed::pong(&[0; 4000]).len(), 2 + 125);
        assert_eq!(Framed::pong(&[0; 125]).len(), 2 + 125);
    }

    #[test]
    fn join_keeps_frames_whole_and_in_order() {
        let long = vec![9; 70_000];
        let parts = [
            Framed::text(b"one"),
            Framed::binary(&long),
            Framed::ping(b"x"),
        ];
        let joined = Framed::join(&parts);
        assert_eq!(joined.len(), parts.iter().map(Framed::len).sum::<usize>());
        let frames: Vec<_> = joined.frames().collect();
        assert_eq!(
            frames,
            [
                (Opcode::Text, &b"one"[..]),
                (Opcode::Binary, &long[..]),
                (Opcode::Ping, &b"x"[..])
            ]
        );
        assert!(Framed::join(&[]).is_empty());
    }

    #[test]
    fn clone_shares_the_bytes() {
        let framed = Framed::text(&[b'a'; 1000]);
        assert_eq!(
            framed.clone().as_bytes().as_ptr(),
            framed.as_bytes().as_ptr()
        );
        let joined = Framed::join(std::slice::from_ref(&framed));
        assert_eq!(joined.as_bytes().as_ptr(), framed.as_bytes().as_ptr());
    }

    #[test]
    fn deflated_messages_are_marked_and_shorter_and_others_stay_as_they_are() {
        let text = "the same again and again, ".repeat(40);
        let plain = Framed::join(&[
            Framed::text(text.as_bytes()),
            Framed::ping(b"p"),
            Framed::text(b"short"),
        ]);
        let deflated = plain.deflated();
        assert!(deflated.len() < plain.len() / 4);
        assert_eq!(deflated.as_bytes()[0], 0x80 | 0x40 | 1);
        let frames: Vec<_> = deflated.frames().collect();
        assert_eq!(
            frames[1..],
            [(Opcode::Ping, &b"p"[..]), (Opcode::Text, b"short")]
        );
        let mut inflater = flate2::Decompress::new(false);
        let input = [frames[0].1, &[0, 0, 0xff, 0xff]].concat();
        let mut output = Vec::with_capacity(10_000);
        let flush = flate2::FlushDecompress::Sync;
        inflater.decompress_vec(&input, &mut output, flush).unwrap();
        assert_eq!(output, text.as_bytes());
        // No context: the same message has the same bytes, whoever got what before.
        assert_eq!(plain.deflated(), deflated);
    }

    #[test]
    fn debug_shows_no_payload() {
        assert!(!format!("{:?}", Framed::text(b"secret")).contains("secret"));
    }
}
