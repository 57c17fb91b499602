//! Follows frame boundaries in the bytes a client sends, before the protocol library sees them.
//!
//! The library has no limit on fragments, reports reserved bits or a missing mask only after the
//! whole payload has arrived, and does not tell whether a message is half received. The scanner
//! does, without keeping any payload.

use sparkway_protocol::CloseReason;

use crate::violation::Violation;

/// Longest header of a client frame, in bytes.
const HEADER_BYTES: usize = 14;
const MASK_BYTES: usize = 4;
const CONTROL_PAYLOAD_BYTES: u64 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const DEFLATED: u8 = 0x40;
const CONTROL: u8 = 0x08;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

pub(crate) struct Scanner {
    header: [u8; HEADER_BYTES],
    header_bytes: u8,
    /// Whether the current frame ends its message.
    ends_message: bool,
    close_seen: bool,
    fault: Option<Violation>,
    payload_left: u64,
    largest: u64,
    /// Fragments of the message under way; 0 between messages.
    fragments: u32,
    fragment_limit: u32,
    messages: u32,
    /// Whether messages may be deflated.
    deflate: bool,
}

impl Scanner {
    pub(crate) fn new(fragment_limit: u32) -> Self {
        Self {
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            ends_message: false,
            close_seen: false,
            fault: None,
            payload_left: 0,
            largest: 0,
            fragments: 0,
            fragment_limit,
            messages: 0,
            deflate: false,
        }
    }

    /// Lets messages be deflated: the first reserved bit of their first frame says so.
    pub(crate) const fn allow_deflate(&mut self) {
        self.deflate = true;
    }

    /// Follows `bytes` up to the first fault. Answers how many of them come before the frame that
    /// has it.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> usize {
        let mut left = bytes;
        let mut sound = 0;
        while self.fault.is_none() {
            left = self.skip_payload(left);
            let Some((&byte, rest)) = left.split_first() else {
                return bytes.len();
            };
            if self.header_bytes == 0 {
                sound = bytes.len() - left.len();
            }
            left = rest;
            if let Some(slot) = self.header.get_mut(usize::from(self.header_bytes)) {
                *slot = byte;
                self.header_bytes += 1;
            }
            if usize::from(self.header_bytes) >= self.header_needs() {
                self.begin_frame();
            }
        }
        sound
    }

    /// What of `bytes` does not belong to the payload under way.
    fn skip_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.payload_left == 0 {
            return bytes;
        }
        let skipped = usize::try_from(self.payload_left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.payload_left -= skipped as u64;
        if self.payload_left == 0 {
            self.end_frame();
        }
        bytes.get(skipped..).unwrap_or_default()
    }

    /// Notes a rule that was broken inside of a payload.
    pub(crate) fn set_fault(&mut self, violation: Violation) {
        self.fault.get_or_insert(violation);
    }

    /// The rule the client broke, if any. What came before it may still be read.
    pub(crate) const fn fault(&self) -> Option<Violation> {
        self.fault
    }

    pub(crate) const fn close_seen(&self) -> bool {
        self.close_seen
    }

    /// Whether every byte so far belongs to a complete frame and message.
    pub(crate) const fn at_boundary(&self) -> bool {
        self.header_bytes == 0 && self.payload_left == 0 && self.fragments == 0
    }

    /// Messages completed so far; wraps around.
    pub(crate) const fn messages(&self) -> u32 {
        self.messages
    }

    /// Longest payload since the last [`Self::forget_largest`].
    pub(crate) const fn largest(&self) -> u64 {
        self.largest
    }

    /// Counts `bytes` as a payload when judging what the library has had to buffer.
    pub(crate) fn buffered(&mut self, bytes: u64) {
        self.largest = self.largest.max(bytes);
    }

    pub(crate) const fn forget_largest(&mut self) {
        self.largest = 0;
    }

    fn header_needs(&self) -> usize {
        let [_, second, ..] = self.header;
        match (self.header_bytes, second & LENGTH) {
            (0 | 1, _) => 2,
            _ if second & MASKED == 0 => 2,
            (_, 126) => 4 + MASK_BYTES,
            (_, 127) => HEADER_BYTES,
            _ => 2 + MASK_BYTES,
        }
    }

    fn begin_frame(&mut self) {
        let [first, second, b2, b3, b4, b5, b6, b7, b8, b9, ..] = self.header;
        self.header_bytes = 0;
        let payload_bytes = match second & LENGTH {
            126 => u64::from(u16::from_be_bytes([b2, b3])),
            127 => u64::from_be_bytes([b2, b3, b4, b5, b6, b7, b8, b9]),
            short => u64::from(short),
        };
        self.fault = self.judge(first, second, payload_bytes);
        if self.fault.is_some() {
            return;
        }
        self.ends_message = first & FIN != 0 && first & CONTROL == 0;
        self.close_seen |= first & OPCODE == CLOSE;
        self.largest = self.largest.max(payload_bytes);
        self.payload_left = payload_bytes;
        if payload_bytes == 0 {
            self.end_frame();
        }
    }

    fn judge(&mut self, first: u8, second: u8, payload_bytes: u64) -> Option<Violation> {
        let control = first & CONTROL != 0;
        let begins = !control && first & OPCODE != 0 && self.fragments == 0;
        let allowed = if self.deflate && begins { DEFLATED } else { 0 };
        let detail = if first & RESERVED & !allowed != 0 {
            "reserved bits set"
        } else if second & MASKED == 0 {
            "frame not masked"
        } else if control && first & FIN == 0 {
            "fragmented control frame"
        } else if control && payload_bytes > CONTROL_PAYLOAD_BYTES {
            "control frame over 125 bytes"
        } else {
            if !control {
                self.fragments += 1;
            }
            return (self.fragments > self.fragment_limit).then_some(Violation {
                reason: CloseReason::Policy,
                detail: "too many fragments",
            });
        };
        Some(Violation {
            reason: CloseReason::ProtocolError,
            detail,
        })
    }

    fn end_frame(&mut self) {
        if self.ends_message {
            self.fragments = 0;
            self.messages = self.messages.wrapping_add(1);
            self.ends_message = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked client frame; the mask is zero, so the payload stays readable.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..126 => bytes.push(MASKED | u8::try_from(short).unwrap()),
            long => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend([0; MASK_BYTES]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        let bytes = [
            frame(0x81, b"text"),
            frame(0x82, &[7; 300]),
            frame(0x01, b"begun"),
            frame(0x89, b"ping"),
            frame(0x80, b""),
            frame(0x88, b""),
        ]
        .concat();
        for step in 1..bytes.len() {
            let mut scanner = Scanner::new(2);
            for piece in bytes.chunks(step) {
                scanner.scan(piece);
            }
            assert!(scanner.at_boundary(), "{step}");
            assert_eq!(scanner.messages(), 3, "{step}");
            assert_eq!(scanner.largest(), 300, "{step}");
            assert!(scanner.close_seen(), "{step}");
            assert_eq!(scanner.fault(), None, "{step}");
        }
    }

    #[test]
    fn half_a_frame_or_message_is_no_boundary() {
        for bytes in [
            vec![0x81],
            frame(0x82, &[0; 9])[..8].to_vec(),
            frame(0x01, b"a"),
        ] {
            let mut scanner = Scanner::new(2);
            scanner.scan(&bytes);
            assert!(!scanner.at_boundary());
        }
    }

    #[test]
    fn what_comes_before_a_fault_is_told_from_what_comes_after_it() {
        let good = [frame(0x81, b"one"), frame(0x89, b"")].concat();
        let bytes = [&good[..], &[0x81, 0x01, b'x'], &frame(0x81, b"two")].concat();
        for step in 1..=bytes.len() {
            let mut scanner = Scanner::new(2);
            let sound: usize = bytes.chunks(step).map(|piece| scanner.scan(piece)).sum();
            // A header that began in an earlier piece was sound as far as it was there.
            assert!(
                (good.len()..=good.len() + 1).contains(&sound),
                "{step}: {sound}"
            );
        }
    }

    #[test]
    fn fault_is_known_from_the_header_alone() {
        for (bytes, detail) in [
            (&[0x81, 0x05][..], "frame not masked"),
            (&[0xc1, 0x80, 0, 0, 0, 0], "reserved bits set"),
            (&[0x09, 0x80, 0, 0, 0, 0], "fragmented control frame"),
            (
                &[0x89, 0xfe, 0, 126, 0, 0, 0, 0],
                "control frame over 125 bytes",
            ),
        ] {
            let mut scanner = Scanner::new(2);
            scanner.scan(bytes);
            let fault = scanner.fault().unwrap();
            assert_eq!(
                (fault.reason, fault.detail),
                (CloseReason::ProtocolError, detail)
            );
        }
    }
}
