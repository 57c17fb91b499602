//! The header of a server frame: FIN set, no mask, the shortest length form (RFC 6455, 5.2).

/// Longest payload of a control frame, in bytes (RFC 6455, 5.5).
pub const CONTROL_PAYLOAD_BYTES: usize = 125;
/// Longest header of an unmasked frame, in bytes.
pub(crate) const HEADER_BYTES: usize = 10;

const FIN: u8 = 0x80;
/// The first reserved bit: the message is deflated (RFC 7692, 6).
const DEFLATED: u8 = 0x40;
const OPCODE_BITS: u8 = 0x0f;
const LENGTH_BITS: u8 = 0x7f;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A whole text message.
    Text,
    /// A whole binary message.
    Binary,
    /// The end of the connection, with code and reason.
    Close,
    /// A question the peer answers with a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }
}

/// A header laid out at the end of its room, so that the payload can follow without a move.
pub(crate) struct Header {
    room: [u8; HEADER_BYTES],
    start: usize,
}

impl Header {
    pub(crate) fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let first = FIN | opcode.bits();
        let [b0, b1, b2, b3, b4, b5, b6, b7] = (payload_bytes as u64).to_be_bytes();
        if payload_bytes < usize::from(LENGTH_16) {
            Self {
                room: [0, 0, 0, 0, 0, 0, 0, 0, first, b7],
                start: 8,
            }
        } else if u16::try_from(payload_bytes).is_ok() {
            Self {
                room: [0, 0, 0, 0, 0, 0, first, LENGTH_16, b6, b7],
                start: 6,
            }
        } else {
            Self {
                room: [first, LENGTH_64, b0, b1, b2, b3, b4, b5, b6, b7],
                start: 0,
            }
        }
    }

    /// Marks the message as deflated.
    pub(crate) fn deflated(mut self) -> Self {
        if let Some(first) = self.room.get_mut(self.start) {
            *first |= DEFLATED;
        }
        self
    }

    /// Unused bytes in front of the header inside its room.
    pub(crate) const fn start(&self) -> usize {
        self.start
    }

    /// The whole room; the header is its tail from [`Self::start`].
    pub(crate) const fn room(&self) -> &[u8; HEADER_BYTES] {
        &self.room
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.room.get(self.start..).unwrap_or_default()
    }
}

/// Reads the first frame of `bytes`: its opcode, its payload and what follows it.
pub(crate) fn split_first(bytes: &[u8]) -> Option<(Opcode, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let opcode = Opcode::from_bits(first & OPCODE_BITS)?;
    let (payload_bytes, rest) = match length & LENGTH_BITS {
        LENGTH_16 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        LENGTH_64 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        short => (usize::from(short), rest),
    };
    let (payload, rest) = rest.split_at_checked(payload_bytes)?;
    Some((opcode, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload_bytes: usize) -> Vec<u8> {
        Header::new(Opcode::Text, payload_bytes).bytes().to_vec()
    }

    #[test]
    fn length_takes_the_shortest_form() {
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 0xff, 0xff]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn first_byte_carries_fin_and_opcode() {
        for (opcode, first) in [
            (Opcode::Text, 0x81),
            (Opcode::Binary, 0x82),
            (Opcode::Close, 0x88),
            (Opcode::Ping, 0x89),
            (Opcode::Pong, 0x8a),
        ] {
            assert_eq!(Header::new(opcode, 0).bytes().first(), Some(&first));
            assert_eq!(Opcode::from_bits(opcode.bits()), Some(opcode));
        }
    }
}
