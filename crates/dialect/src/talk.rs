//! What a connection's dialect remembers between two frames.

use sparkway_protocol::{Code, Command, Format, Refused, TopicName};

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
        match (self, wire) {
            (Self::Plain, _) => decode(format, wire),
            (Self::Room(topic), Wire::Text(text)) => Ok(room::decode(topic, text)),
            (Self::Room(_), Wire::Binary(_)) => Err(Refused::new(
                Code::Malformed,
                "frame: binary, expected text",
            )),
        }
    }
}
