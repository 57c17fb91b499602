//! Numbers that name things: messages, partitions, sessions, ownership.

use std::fmt;

/// Unix milliseconds of 2025-01-01T00:00:00Z, the zero of message ids (core.md 1).
pub const ID_EPOCH_MS: u64 = 1_735_689_600_000;

/// A message's place in the total order of its partition.
///
/// 53 bits: milliseconds since [`ID_EPOCH_MS`] (41), sequence (8), partition (4, lowest). On the
/// wire it is a string of decimal digits, opaque to clients and safe if somebody parses it as a
/// double. [`MessageId::ZERO`] stands before every message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// Before every message of every partition.
    pub const ZERO: Self = Self(0);
    /// The largest id: 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);
    /// The distance between two consecutive ids of one partition.
    pub const STEP: u64 = 16;

    /// The id with this number, or `None` at 2^53 and above.
    #[must_use]
    pub const fn new(raw: u64) -> Option<Self> {
        if raw <= Self::MAX.0 {
            Some(Self(raw))
        } else {
            None
        }
    }

    /// Reads the wire form: 1 to 16 decimal digits, no sign, no leading zero but `0` itself.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        if digits.len() > 1 && digits.first() == Some(&b'0') {
            return None;
        }
        Self::new(text.parse().ok()?)
    }

    /// The lowest id of `partition` at the Unix time `now_ms` (milliseconds).
    #[must_use]
    pub fn at(now_ms: u64, partition: Partition) -> Self {
        let ms = now_ms.saturating_sub(ID_EPOCH_MS);
        Self((ms.saturating_mul(4096) + u64::from(partition.get())).min(Self::MAX.0))
    }

    /// The id that the partition's clock gives next: `max(clock + 16, now, floor + 16)`.
    ///
    /// The sequence carries into the milliseconds by itself: on overflow the clock runs ahead of
    /// the wall, it never waits (core.md 1).
    #[must_use]
    pub fn next(clock: Self, now_ms: u64, floor: Self, partition: Partition) -> Self {
        let after = |id: Self| {
            let base = id.0 - id.0 % Self::STEP + u64::from(partition.get());
            base + Self::STEP
        };
        let now = Self::at(now_ms, partition).0;
        Self(now.max(after(clock)).max(after(floor)).min(Self::MAX.0))
    }

    /// The number itself, below 2^53.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The partition that gave this id.
    #[must_use]
    pub const fn partition(self) -> Partition {
        Partition(self.0.to_le_bytes()[0] & 0x0f)
    }

    /// The Unix time in milliseconds that the id carries.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0 / 4096 + ID_EPOCH_MS
    }

    /// Whether the id lies more than `ahead_ms` milliseconds after the Unix time `now_ms`.
    #[must_use]
    pub const fn is_ahead_of(self, now_ms: u64, ahead_ms: u64) -> bool {
        self.unix_ms() > now_ms.saturating_add(ahead_ms)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

/// One of at most 16 independent total orders. Topics and users hash to a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// How many there can be.
    pub const MAX_COUNT: usize = 16;

    /// The partition with this number, or `None` from 16 on.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 16 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number, 0 to 15.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number as an index into an array of [`Partition::MAX_COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How many partitions the data is laid out in: fixed for the life of the data (1 to 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(u8);

impl Partitions {
    /// One partition, for the embedded store and a single Redis.
    pub const ONE: Self = Self(1);

    /// A count of 1 to 16.
    #[must_use]
    pub const fn new(count: u8) -> Option<Self> {
        if count >= 1 && count <= 16 {
            Some(Self(count))
        } else {
            None
        }
    }

    /// The count.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.0
    }

    /// All partitions, in order.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        (0..self.0).map(Partition)
    }

    /// The partition of a name (topic or user): XXH3-64 of its bytes modulo the count. The hash is
    /// part of the layout of the data and is written to `cfg`.
    #[must_use]
    pub fn of(self, name: &str) -> Partition {
        let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        Partition((hash % u64::from(self.0)).to_le_bytes()[0])
    }
}

/// Names a session: a UUID of version 8 with 118 random bits and the session's partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Builds the id from 16 random bytes: version, variant and partition overwrite 10 of the bits.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16], partition: Partition) -> Self {
        bytes[6] = 0x80 | partition.0; // version 8, then the partition
        bytes[8] = 0x80 | (bytes[8] & 0x3f); // RFC 9562 variant
        Self(bytes)
    }

    /// The id from its 16 bytes, or `None` when they are not a version 8 UUID.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes[6] >> 4 == 8 && bytes[8] >> 6 == 0b10).then_some(Self(bytes))
    }

    /// Reads the usual text form (36 characters, lower or upper case hex, dashes).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 36 {
            return None;
        }
        let mut bytes = [0_u8; 16];
        let mut nibbles = 0_usize;
        for (at, &symbol) in text.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if symbol != b'-' {
                    return None;
                }
                continue;
            }
            let value = u8::try_from(char::from(symbol).to_digit(16)?).ok()?;
            let byte = bytes.get_mut(nibbles / 2)?;
            *byte = *byte << 4 | value;
            nibbles += 1;
        }
        Self::from_bytes(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The partition that holds the session's record.
    #[must_use]
    pub const fn partition(self) -> Partition {
        Partition(self.0[6] & 0x0f)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: it is written for every session that begins.
        let mut text = [b'-'; 36];
        let dash = |at: &usize| matches!(at, 8 | 13 | 18 | 23);
        let places = (0..text.len()).filter(|at| !dash(at));
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
        for (place, nibble) in places.zip(nibbles) {
            if let (Some(place), Some(digit)) = (
                text.get_mut(place),
                b"0123456789abcdef".get(usize::from(nibble)),
            ) {
                *place = *digit;
            }
        }
        out.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Who owns a session: raised by every claim, so that a former owner's writes are refused (fence).
/// A claim raises it to the time in microseconds at least: a store that lost one claim gives its
/// epoch to no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    const P3: Partition = Partition(3);

    #[test]
    fn ids_rise_by_the_step_within_a_millisecond_and_carry_into_the_next() {
        let now = ID_EPOCH_MS + 1000;
        let first = MessageId::next(MessageId::ZERO, now, MessageId::ZERO, P3);
        let mut last = first;
        for _ in 0..256 {
            let next = MessageId::next(last, now, MessageId::ZERO, P3);
            assert_eq!(next.get(), last.get() + MessageId::STEP);
            assert_eq!(next.partition(), P3);
            last = next;
        }
        assert_eq!(last.unix_ms(), first.unix_ms() + 1);
    }

    #[test]
    fn ids_never_go_back_with_the_clock_nor_below_the_floor() {
        let now = ID_EPOCH_MS + 10_000;
        let first = MessageId::next(MessageId::ZERO, now, MessageId::ZERO, P3);
        let earlier = MessageId::next(first, now - 5000, MessageId::ZERO, P3);
        assert!(earlier > first);
        let floor = MessageId::at(now + 9000, Partition(0));
        let next = MessageId::next(first, now, floor, P3);
        assert!(next > floor);
        assert_eq!(next.partition(), P3);
    }

    #[test]
    fn wire_form_of_an_id_refuses_everything_but_plain_digits_below_two_to_the_53() {
        assert_eq!(MessageId::parse("0"), Some(MessageId::ZERO));
        assert_eq!(MessageId::parse("9007199254740991"), Some(MessageId::MAX));
        for bad in [
            "",
            "-1",
            "+1",
            "1.5",
            "01",
            "9007199254740992",
            "1e3",
            " 1",
            "99999999999999999",
        ] {
            assert_eq!(MessageId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn session_id_round_trips_and_names_its_partition() {
        let id = SessionId::from_random([0xff; 16], P3);
        assert_eq!(id.partition(), P3);
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_eq!(
            SessionId::parse("00000000-0000-4000-8000-000000000000"),
            None
        );
        assert_eq!(SessionId::parse("nonsense"), None);
    }

    #[test]
    fn names_spread_over_all_partitions() {
        let layout = Partitions(16);
        let mut seen = [0_u32; 16];
        for at in 0..4096 {
            seen[layout.of(&format!("topic:{at}")).index()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
        assert_eq!(Partitions::ONE.of("anything").get(), 0);
    }
}
