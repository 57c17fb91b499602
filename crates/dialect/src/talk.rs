//! What a connection's dialect remembers between two frames.

use sparkway_frame::Framed;
use sparkway_protocol::{Code, Command, Event, Format, Refused, TopicName};

use crate::conversation::{self, Confirmed, Conversation};
use crate::{Wire, decode, encode_at, room};

/// One connection's side of its dialect. Most dialects need no memory: their frames say all.
#[derive(Debug, Default)]
pub enum Talk {
    /// Nothing to remember.
    #[default]
    Plain,
    /// A session in this room's topic.
    Room(TopicName),
    /// One side of a conversation.
    Conversation(Conversation),
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
            Self::Conversation(state) => match wire {
                Wire::Text(text) => conversation::decode(state, text),
                Wire::Binary(_) => Err(Refused::new(
                    Code::Malformed,
                    "frame: binary, expected text",
                )),
            },
        }
    }

    /// `event` as one frame for this client at the Unix time `unix_ms`; `None` when the dialect
    /// has no form for it.
    #[must_use]
    pub fn encode(&self, format: Format, event: &Event, unix_ms: u64) -> Option<Framed> {
        match self {
            Self::Plain | Self::Room(_) => encode_at(format, event, unix_ms),
            Self::Conversation(state) => {
                let party = state.party.as_ref();
                let confirmed = party.zip(state.topic.as_ref());
                let confirmed = confirmed.map(|(party, topic)| Confirmed { party, topic });
                conversation::encode(event, Some(unix_ms), confirmed)
            }
        }
    }
}
