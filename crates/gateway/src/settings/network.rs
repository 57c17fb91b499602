//! Where clients come from and what is spoken there.

use std::fmt;
use std::net::IpAddr;

use sparkway_protocol::Format;

use super::Mode;

/// An address, or a network: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    prefix_bits: u8,
}

impl AddressRange {
    /// Reads `address` or `address/bits`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let bits_max = if network.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Some(bits_max), |bits| bits.parse().ok())?;
        (prefix_bits <= bits_max).then_some(Self {
            network,
            prefix_bits,
        })
    }

    /// Whether the address lies inside. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.prefix_bits));
                u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.prefix_bits));
                u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix_bits)
    }
}

/// A wire format as routes name it; Spark's encoding is negotiated at the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The native protocol.
    Spark,
    /// Source 1.
    Topics,
    /// Source 2.
    Conversation,
    /// Source 3.
    Room,
    /// Source 4.
    Chat,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 5] = [
        Self::Spark,
        Self::Topics,
        Self::Conversation,
        Self::Room,
        Self::Chat,
    ];

    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.format().dialect()
    }

    /// The format that connections of this dialect have unless they negotiate another one.
    #[must_use]
    pub const fn format(self) -> Format {
        match self {
            Self::Spark => Format::SparkJson,
            Self::Topics => Format::Topics,
            Self::Conversation => Format::Conversation,
            Self::Room => Format::Room,
            Self::Chat => Format::Chat,
        }
    }
}

/// How a bad credential in a handshake is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// The handshake succeeds and the connection is closed with the dialect's code: a browser shows
    /// the code to the page, which it does not for a status.
    #[default]
    Close,
    /// With the status 401.
    Http,
}

impl Reject {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Close, Self::Http];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Http => "http",
        }
    }
}

/// A path of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The exact path; a segment `{room}` matches any one segment.
    pub path: Box<str>,
    /// What is spoken there.
    pub dialect: Dialect,
    /// Whether credentials are needed there. Default none: as `auth.mode` says.
    pub auth: Option<Mode>,
    /// How a missing or bad credential is answered. Default `close` (`dialects.md` S1-03). With
    /// `http` the first message is no place for a credential.
    pub reject: Reject,
}

impl Route {
    /// A route that authenticates as `auth.mode` says.
    #[must_use]
    pub fn new(path: &str, dialect: Dialect) -> Self {
        Self {
            path: path.into(),
            dialect,
            auth: None,
            reject: Reject::default(),
        }
    }

    /// The routes of `dialects.md` X-01.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        [
            ("/ws", Dialect::Spark),
            ("/ws/spark", Dialect::Spark),
            ("/ws/topics", Dialect::Topics),
            ("/ws/conversation", Dialect::Conversation),
            ("/ws/room/{room}", Dialect::Room),
            ("/ws/chat", Dialect::Chat),
        ]
        .map(|(path, dialect)| Self::new(path, dialect))
        .into()
    }
}
