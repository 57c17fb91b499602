//! What a connection's dialect remembers between two frames.

use sparkway_protocol::{Command, Format, Refused, TopicName};

use crate::{Wire, decode, room};

/// One connection's side of its dialect. Most dialects need no memory: their frames say all.
#[derive(Debug, Default)]
pub enum Talk {
    /// Nothing to remember.
    #[default]
    Plain,
    /// A session in this room's topic.
    Room(TopicName),
}

impl Talk {
    /// What the client asks.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(&mut self, format: Format, wire: Wire<'_>) -> Result<Command, Refused> {
        match self {
            Self::Plain => decode(format, wire),
            Self::Room(topic) => Ok(room::decode(topic, wire)),
        }
    }
}
