//! From an input to one that is a little wrong.

/// Longest input, in bytes.
const BYTES: usize = 8 * 1024;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    125,
    126,
    127,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Pseudo-random numbers from a seed (xorshift64*): the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        usize::try_from((self.next() >> 11) % bound).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// Changes `input` in one to eight places.
pub(crate) fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]], dice: &mut Dice) {
    for _ in 0..=dice.below(8) {
        let at = dice.below(input.len() + 1);
        let rest = input.len() - at;
        match dice.below(10) {
            0 if rest > 0 => input[at] ^= 1 << dice.below(8),
            1 if rest > 0 => input[at] = dice.byte(),
            2 => {
                let new: Vec<u8> = (0..=dice.below(8)).map(|_| dice.byte()).collect();
                input.splice(at..at, new);
            }
            3 => {
                let end = at + dice.below(rest.min(64) + 1);
                input.drain(at..end);
            }
            4 => {
                let end = at + dice.below(rest.min(64) + 1);
                let piece = input[at..end].repeat(1 + dice.below(40));
                input.splice(at..at, piece);
            }
            5 if !others.is_empty() => {
                let other = &others[dice.below(others.len())];
                let from = dice.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 if !words.is_empty() => {
                let word = words[dice.below(words.len())];
                let end = at + dice.below(rest.min(word.len()) + 1);
                input.splice(at..end, word.iter().copied());
            }
            7 => {
                let width = 1 << dice.below(4);
                let edge = EDGES[dice.below(EDGES.len())].to_be_bytes();
                let end = (at + width).min(input.len());
                input.splice(at..end, edge[8 - width..].iter().copied());
            }
            8 => {
                let digits = EDGES[dice.below(EDGES.len())].to_string();
                let end = at + dice.below(rest.min(4) + 1);
                input.splice(at..end, digits.into_bytes());
            }
            _ => input.truncate(at),
        }
        input.truncate(BYTES);
    }
}
