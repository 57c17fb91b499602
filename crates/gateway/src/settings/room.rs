//! The room dialect.

use std::time::Duration;

/// What a session of a room hears of its own texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomEcho {
    /// Each once, at its place in the room's order: it is stored when it is heard.
    #[default]
    ViaRoom,
    /// Each once and at once, before the room has it.
    Itself,
    /// None.
    Off,
}

impl RoomEcho {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::ViaRoom, Self::Itself, Self::Off];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViaRoom => "via_room",
            Self::Itself => "self",
            Self::Off => "off",
        }
    }
}

/// What rooms do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Time between two pings of the node. Default 30 s: below the idle limit of common proxies. A
    /// session from which nothing comes for twice this is closed.
    pub ping_interval: Duration,
    /// What a session hears of its own texts. Default `via_room`.
    pub echo: RoomEcho,
    /// Whether binary frames are relayed like texts. Default no: they are ignored.
    pub relay_binary: bool,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(30),
            echo: RoomEcho::default(),
            relay_binary: false,
        }
    }
}
