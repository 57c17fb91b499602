//! Deflated messages of a client (RFC 7692), turned into plain ones before the protocol library
//! sees them: it knows no extensions. What is not deflated passes byte for byte.

use std::cmp::min;

use bytes::{Buf as _, BufMut as _, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use sparkway_protocol::CloseReason;

use crate::violation::Violation;

const FIN: u8 = 0x80;
const DEFLATED: u8 = 0x40;
const CONTROL: u8 = 0x08;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// The length follows in two bytes.
const LENGTH_16: u8 = 0x7e;
const MASK_BYTES: usize = 4;
/// Left away at the end of a message, and needed by the decompressor (RFC 7692, 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// Most bytes that one step makes of however little: what the library asks for next comes next.
const STEP_BYTES: usize = 4096;
/// Most bytes by which a message may grow from being deflated.
const GROWTH_BYTES: u64 = 1024;

/// Inflates within the limit of a message, a few KiB at a time.
pub(crate) struct Inflater {
    /// Read from the socket, not worked off.
    input: BytesMut,
    /// For the library.
    output: BytesMut,
    place: Place,
    /// The message under way, if it is a deflated one.
    message: Option<Message>,
    message_bytes: u64,
}

#[derive(Clone, Copy)]
enum Place {
    Header,
    /// In a payload that passes.
    Passing(u64),
    /// In a payload of the deflated message.
    Deflated {
        left: u64,
        mask: [u8; 4],
        at: usize,
    },
    /// Behind the last payload of the deflated message.
    Tail {
        given: usize,
    },
}

struct Message {
    decompress: Decompress,
    /// The opcode of the next frame for the library: a continuation after the first one.
    opcode: u8,
    ends: bool,
    inflated: u64,
}

/// The head of one frame.
struct Head {
    bytes: usize,
    first: u8,
    payload_bytes: u64,
    mask: [u8; 4],
}

impl Inflater {
    pub(crate) fn new(message_bytes: usize, read_ahead: &[u8]) -> Self {
        Self {
            input: BytesMut::from(read_ahead),
            output: BytesMut::new(),
            place: Place::Header,
            message: None,
            message_bytes: message_bytes as u64,
        }
    }

    /// Takes what was read from the socket.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Puts what the library may see into `buf`; 0: more has to be read first.
    ///
    /// # Errors
    /// The client broke a rule: nothing more comes.
    pub(crate) fn give(&mut self, buf: &mut [u8]) -> Result<usize, Violation> {
        while self.output.is_empty() {
            if !self.step()? {
                // An idle connection keeps no buffers, but for the beginning of a header.
                if self.input.is_empty() {
                    self.input = BytesMut::new();
                }
                self.output = BytesMut::new();
                return Ok(0);
            }
        }
        let given = min(buf.len(), self.output.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..given), self.output.get(..given)) {
            to.copy_from_slice(from);
        }
        self.output.advance(given);
        Ok(given)
    }

    /// Works something off. Answers whether it could; what is left then is the beginning of a
    /// header, which stays.
    fn step(&mut self) -> Result<bool, Violation> {
        match self.place {
            Place::Header => {
                let Some(head) = Head::read(&self.input) else {
                    return Ok(false);
                };
                self.begin(&head)?;
                Ok(true)
            }
            Place::Passing(left) => {
                let passing = self.take_some(left);
                if passing == 0 {
                    return Ok(false);
                }
                let passing = self.input.split_to(passing);
                self.output.extend_from_slice(&passing);
                self.place = match left - passing.len() as u64 {
                    0 => Place::Header,
                    left => Place::Passing(left),
                };
                Ok(true)
            }
            Place::Deflated { left, mask, at } => self.inflate(left, mask, at),
            Place::Tail { given } => self.inflate_tail(given).map(|()| true),
        }
    }

    fn take_some(&self, left: u64) -> usize {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        min(min(left, self.input.len()), STEP_BYTES)
    }

    fn begin(&mut self, head: &Head) -> Result<(), Violation> {
        let opcode = head.first & OPCODE;
        let begins = head.first & DEFLATED != 0 && self.message.is_none();
        let goes_on = self.message.is_some() && opcode == 0;
        if opcode & CONTROL != 0 || !(begins || goes_on) {
            let header = self.input.split_to(head.bytes);
            self.output.extend_from_slice(&header);
            if head.payload_bytes > 0 {
                self.place = Place::Passing(head.payload_bytes);
            }
            return Ok(());
        }
        if head.payload_bytes > self.message_bytes.saturating_add(GROWTH_BYTES) {
            return Err(Violation::too_large());
        }
        self.input.advance(head.bytes);
        let message = self.message.get_or_insert_with(|| Message {
            decompress: Decompress::new(false),
            opcode,
            ends: false,
            inflated: 0,
        });
        message.ends = head.first & FIN != 0;
        self.place = Place::Deflated {
            left: head.payload_bytes,
            mask: head.mask,
            at: 0,
        };
        self.end_payload(head.payload_bytes);
        Ok(())
    }

    fn end_payload(&mut self, left: u64) {
        if left == 0 {
            let ends = self.message.as_ref().is_some_and(|message| message.ends);
            self.place = if ends {
                Place::Tail { given: 0 }
            } else {
                Place::Header
            };
        }
    }

    fn inflate(&mut self, left: u64, mask: [u8; 4], at: usize) -> Result<bool, Violation> {
        let taken = self.take_some(left);
        if taken == 0 {
            return Ok(false);
        }
        let mut bytes = [0; STEP_BYTES];
        for (offset, (to, from)) in bytes.iter_mut().zip(&self.input).take(taken).enumerate() {
            let key = mask
                .get((at + offset) % MASK_BYTES)
                .copied()
                .unwrap_or_default();
            *to = from ^ key;
        }
        let used = self.decompress(bytes.get(..taken).unwrap_or_default())?;
        self.input.advance(used);
        let left = left - used as u64;
        self.place = Place::Deflated {
            left,
            mask,
            at: (at + used) % MASK_BYTES,
        };
        self.end_payload(left);
        Ok(true)
    }

    fn inflate_tail(&mut self, given: usize) -> Result<(), Violation> {
        let rest = TAIL.get(given..).unwrap_or_default();
        let before = self.inflated();
        let given = given + self.decompress(rest)?;
        // It may hold back what had no room, also when it has taken everything.
        if given < TAIL.len() || self.inflated() > before {
            self.place = Place::Tail { given };
            return Ok(());
        }
        if let Some(message) = self.message.take() {
            self.output
                .put_slice(&[FIN | message.opcode, MASKED, 0, 0, 0, 0]);
        }
        self.place = Place::Header;
        Ok(())
    }

    fn inflated(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.inflated)
    }

    /// Inflates a step's worth and frames it for the library. How much of `bytes` was used.
    fn decompress(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        const BROKEN: Violation = Violation {
            reason: CloseReason::InvalidPayload,
            detail: "message does not inflate",
        };
        let Some(message) = &mut self.message else {
            return Err(BROKEN);
        };
        let mut plain = [0; STEP_BYTES];
        let (before_in, before_out) = (
            message.decompress.total_in(),
            message.decompress.total_out(),
        );
        let status = message
            .decompress
            .decompress(bytes, &mut plain, FlushDecompress::Sync)
            .map_err(|_| BROKEN)?;
        let used = message.decompress.total_in() - before_in;
        let made = message.decompress.total_out() - before_out;
        if status == Status::StreamEnd {
            // A block may say that it is the last one; what follows begins anew (7.2.3.5).
            message.decompress.reset(false);
        }
        if used == 0 && made == 0 && !bytes.is_empty() {
            return Err(BROKEN);
        }
        message.inflated += made;
        if message.inflated > self.message_bytes {
            return Err(Violation::too_large());
        }
        let plain = usize::try_from(made)
            .ok()
            .and_then(|made| plain.get(..made));
        if let Some(plain) = plain.filter(|plain| !plain.is_empty()) {
            let length = u16::try_from(plain.len()).unwrap_or(u16::MAX).to_be_bytes();
            self.output.put_slice(&[message.opcode, MASKED | LENGTH_16]);
            self.output.put_slice(&length);
            self.output.put_bytes(0, MASK_BYTES);
            self.output.put_slice(plain);
            message.opcode = 0;
        }
        usize::try_from(used).map_err(|_| BROKEN)
    }
}

impl Head {
    /// The head of the first frame in `input`; none while it is not whole.
    fn read(input: &[u8]) -> Option<Self> {
        let (&first, rest) = input.split_first()?;
        let (&second, rest) = rest.split_first()?;
        let (payload_bytes, rest) = match second & LENGTH {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        // A frame without a mask is refused by the scanner; here it only passes.
        let (mask, rest) = if second & MASKED == 0 {
            ([0; 4], rest)
        } else {
            let (mask, rest) = rest.split_first_chunk::<4>()?;
            (*mask, rest)
        };
        Some(Self {
            bytes: input.len() - rest.len(),
            first,
            payload_bytes,
            mask,
        })
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut compress = Compress::new(Compression::default(), false);
        let mut out = Vec::with_capacity(plain.len() + 1000);
        compress
            .compress_vec(plain, &mut out, FlushCompress::Sync)
            .unwrap();
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first, MASKED | LENGTH_16];
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(mask);
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        bytes
    }

    /// Messages as the library joins them: opcode and payload.
    fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut open: Option<(u8, Vec<u8>)> = None;
        while let Some(head) = Head::read(bytes) {
            let from = head.bytes;
            let to = from + usize::try_from(head.payload_bytes).unwrap();
            let payload: Vec<u8> = bytes[from..to]
                .iter()
                .zip(head.mask.iter().cycle())
                .map(|(byte, key)| byte ^ key)
                .collect();
            bytes = &bytes[to..];
            let opcode = head.first & 0x7f;
            if opcode & CONTROL != 0 {
                messages.push((opcode, payload));
                continue;
            }
            let message = open.get_or_insert_with(|| (opcode, Vec::new()));
            message.1.extend(payload);
            if head.first & FIN != 0 {
                messages.extend(open.take());
            }
        }
        assert!(open.is_none() && bytes.is_empty());
        messages
    }

    fn inflate(input: &[u8], step: usize, limit: usize) -> Result<Vec<u8>, Violation> {
        let mut inflater = Inflater::new(limit, &[]);
        let mut output = Vec::new();
        let mut buf = [0; 100];
        for piece in input.chunks(step) {
            inflater.take(piece);
            loop {
                let given = inflater.give(&mut buf)?;
                if given == 0 {
                    break;
                }
                output.extend_from_slice(&buf[..given]);
            }
        }
        Ok(output)
    }

    #[test]
    fn messages_come_out_plain_however_they_are_cut_and_mixed() {
        let long: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| (n / 7).to_be_bytes())
            .collect();
        let short = deflated(&long);
        let (head, tail) = short.split_at(short.len() / 2);
        let input = [
            frame(0x81, b"plain"),
            frame(0xc1, &deflated(b"hello")),
            frame(0x42, head),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x80, tail),
            frame(0xc1, &deflated(b"")),
            frame(0xc2, &deflated(b"again")),
        ]
        .concat();
        for step in [1, 2, 3, 7, 100, 5000, input.len()] {
            let output = inflate(&input, step, 1 << 20).unwrap();
            let expected: [(u8, &[u8]); 6] = [
                (1, b"plain"),
                (1, b"hello"),
                (9, b"ping"),
                (2, &long),
                (1, b""),
                (2, b"again"),
            ];
            let expected: Vec<_> = expected.map(|(code, text)| (code, text.to_vec())).into();
            assert!(messages(&output) == expected, "{step}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_held_in_a_few_kib() {
        let bomb = frame(0xc2, &deflated(&vec![0; 10 << 20]));
        assert!(bomb.len() < 20_000);
        let mut inflater = Inflater::new(65_536, &bomb);
        let mut buf = [0; 512];
        let mut given = 0;
        let violation = loop {
            match inflater.give(&mut buf) {
                Ok(0) => panic!("it was taken"),
                Ok(some) => given += some,
                Err(violation) => break violation,
            }
            assert!(inflater.output.capacity() < 64 * 1024);
        };
        assert_eq!(violation.reason, CloseReason::TooLarge);
        assert!(given <= 66_500, "{given}");
        // What is announced to be too large is refused before it comes.
        let mut announced = vec![0xc2, MASKED | 127];
        announced.extend((1_u64 << 40).to_be_bytes());
        announced.extend([0; 4]);
        assert!(Inflater::new(65_536, &announced).give(&mut buf).is_err());
    }

    #[test]
    fn what_does_not_inflate_is_refused() {
        for garbage in [&[0xff; 40][..], &[0x07, 0x00]] {
            let mut inflater = Inflater::new(65_536, &frame(0xc1, garbage));
            let violation = inflater.give(&mut [0; 512]).unwrap_err();
            assert_eq!(violation.reason, CloseReason::InvalidPayload);
        }
    }

    #[test]
    fn a_last_block_may_be_followed_by_more() {
        let mut compress = Compress::new(Compression::default(), false);
        let mut out = Vec::with_capacity(1000);
        compress
            .compress_vec(b"final", &mut out, FlushCompress::Finish)
            .unwrap();
        out.push(0);
        let output = inflate(&frame(0xc1, &out), 1, 1000).unwrap();
        assert_eq!(messages(&output), [(1, b"final".to_vec())]);
    }
}
