//! `MessagePack`, one head at a time. No length is believed before the bytes are there.

/// Why bytes are refused as `MessagePack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Truncated,
    Trailing,
    Reserved,
    NotMap,
    Key,
    NotUtf8,
    Extension,
    TooDeep,
}

impl Flaw {
    /// The rule, for a developer.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Truncated => "MessagePack ends inside a value",
            Self::Trailing => "bytes follow the MessagePack value",
            Self::Reserved => "holds the reserved MessagePack byte 0xc1",
            Self::NotMap => "not a MessagePack map",
            Self::Key => "holds a map key that is not a UTF-8 string",
            Self::NotUtf8 => "holds a string that is not UTF-8",
            Self::Extension => "holds a MessagePack extension type",
            Self::TooDeep => "nested deeper than 64 levels",
        }
    }
}

/// A value without its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    Float(f64),
    /// Not yet checked to be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
    /// Its content is skipped.
    Extension,
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub(crate) const fn end(&self) -> Result<(), Flaw> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Flaw::Trailing)
        }
    }

    /// Passes over one value with all its parts, without recursion, and returns its bytes.
    pub(crate) fn skip(&mut self) -> Result<&'a [u8], Flaw> {
        let start = self.0;
        // Every head takes a byte, so the sum stays below 2^33 times the length of the input.
        let mut waiting = 1_u64;
        while waiting > 0 {
            waiting -= 1;
            match self.head()? {
                Head::Array(count) => waiting += u64::from(count),
                Head::Map(count) => waiting += 2 * u64::from(count),
                Head::Nil
                | Head::Bool(_)
                | Head::Unsigned(_)
                | Head::Negative(_)
                | Head::Float(_)
                | Head::Text(_)
                | Head::Bytes(_)
                | Head::Extension => {}
            }
        }
        let length = start.len().saturating_sub(self.0.len());
        start.get(..length).ok_or(Flaw::Truncated)
    }

    /// Reads one head.
    pub(crate) fn head(&mut self) -> Result<Head<'a>, Flaw> {
        let [marker] = self.chunk::<1>()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(u64::from(marker)),
            0x80..=0x8f => Head::Map(u32::from(marker & 0x0f)),
            0x90..=0x9f => Head::Array(u32::from(marker & 0x0f)),
            0xa0..=0xbf => Head::Text(self.take(u32::from(marker & 0x1f))?),
            0xc0 => Head::Nil,
            0xc1 => return Err(Flaw::Reserved),
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4..=0xc6 => {
                let length = self.length(marker - 0xc4)?;
                Head::Bytes(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(marker - 0xc7)?;
                self.extension(length)?
            }
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.chunk()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.chunk()?)),
            0xcc => Head::Unsigned(u64::from(u8::from_be_bytes(self.chunk()?))),
            0xcd => Head::Unsigned(u64::from(u16::from_be_bytes(self.chunk()?))),
            0xce => Head::Unsigned(u64::from(u32::from_be_bytes(self.chunk()?))),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.chunk()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.chunk()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.chunk()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.chunk()?))),
            0xd3 => signed(i64::from_be_bytes(self.chunk()?)),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(marker - 0xd9)?;
                Head::Text(self.take(length)?)
            }
            0xdc..=0xdd => Head::Array(self.length(marker - 0xdb)?),
            0xde..=0xdf => Head::Map(self.length(marker - 0xdd)?),
            0xe0..=0xff => signed(i64::from(i8::from_be_bytes([marker]))),
        })
    }

    /// A length of 1, 2 or 4 bytes (`size` 0, 1, 2).
    fn length(&mut self, size: u8) -> Result<u32, Flaw> {
        Ok(match size {
            0 => u32::from(u8::from_be_bytes(self.chunk()?)),
            1 => u32::from(u16::from_be_bytes(self.chunk()?)),
            _ => u32::from_be_bytes(self.chunk()?),
        })
    }

    fn extension(&mut self, length: u32) -> Result<Head<'a>, Flaw> {
        let [_kind] = self.chunk::<1>()?;
        self.take(length)?;
        Ok(Head::Extension)
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Flaw> {
        let length = usize::try_from(length).map_err(|_| Flaw::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Flaw::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(Flaw::Truncated)?;
        self.0 = rest;
        Ok(*chunk)
    }
}

/// A number of a signed kind is unsigned all the same when it is not below zero.
const fn signed(value: i64) -> Head<'static> {
    if value < 0 {
        Head::Negative(value)
    } else {
        Head::Unsigned(value.unsigned_abs())
    }
}
