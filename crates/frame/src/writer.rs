//! [`FrameWriter`]: the payload is written once, behind room that the header fills at the end.

use std::{fmt, io};

use bytes::{Buf, BufMut, BytesMut};

use crate::{
    framed::Framed,
    header::{HEADER_BYTES, Header, Opcode},
};

/// Builds one frame of a length that is known only at the end. Serialisers write into it through
/// [`io::Write`] or [`fmt::Write`]; neither ever fails.
pub struct FrameWriter {
    buffer: BytesMut,
}

impl FrameWriter {
    /// An empty payload with room for `payload_bytes`; it grows beyond when needed.
    #[must_use]
    pub fn with_capacity(payload_bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(HEADER_BYTES.saturating_add(payload_bytes));
        buffer.put_bytes(0, HEADER_BYTES);
        Self { buffer }
    }

    /// Appends `bytes` to the payload.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Appends `text` to the payload.
    pub fn push_str(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    /// The payload so far.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.buffer.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Bytes of the payload so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload().len()
    }

    /// Whether the payload is empty so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the payload back to `payload_bytes`, to undo what was written after that point; no
    /// effect when it is shorter.
    pub fn truncate(&mut self, payload_bytes: usize) {
        self.buffer
            .truncate(HEADER_BYTES.saturating_add(payload_bytes));
    }

    /// The text frame. The caller vouches for the payload being UTF-8.
    #[must_use]
    pub fn finish_text(self) -> Framed {
        self.finish(Opcode::Text)
    }

    /// The binary frame.
    #[must_use]
    pub fn finish_binary(self) -> Framed {
        self.finish(Opcode::Binary)
    }

    fn finish(mut self, opcode: Opcode) -> Framed {
        let header = Header::new(opcode, self.len());
        if let Some(room) = self.buffer.first_chunk_mut::<HEADER_BYTES>() {
            *room = *header.room();
        }
        self.buffer.advance(header.start());
        Framed::from_whole(self.buffer.freeze())
    }
}

impl Default for FrameWriter {
    /// Room for a small event.
    fn default() -> Self {
        Self::with_capacity(246)
    }
}

impl io::Write for FrameWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for FrameWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("payload_bytes", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_frame_equals_the_copied_one() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
            let payload = vec![b'p'; length];
            let mut writer = FrameWriter::default();
            writer.push(&payload);
            assert_eq!(writer.len(), length);
            assert_eq!(writer.finish_text(), Framed::text(&payload), "{length}");
            let mut writer = FrameWriter::with_capacity(length);
            io::Write::write_all(&mut writer, &payload).unwrap();
            assert_eq!(writer.finish_binary(), Framed::binary(&payload), "{length}");
        }
    }

    #[test]
    fn header_is_put_in_front_without_moving_the_payload() {
        let mut writer = FrameWriter::with_capacity(300);
        writer.push(&[b'p'; 300]);
        let before = writer.payload().as_ptr();
        let framed = writer.finish_text();
        assert_eq!(framed.as_bytes()[4..].as_ptr(), before);
    }

    #[test]
    fn formatted_text_lands_in_the_payload() {
        use fmt::Write as _;
        let mut writer = FrameWriter::default();
        assert!(writer.is_empty());
        write!(writer, "{}-two", 1).unwrap();
        assert_eq!(writer.payload(), b"1-two");
        writer.truncate(1);
        writer.truncate(99);
        assert_eq!(writer.finish_text(), Framed::text(b"1"));
    }
}
