//! Room (source 3): plain text, without any envelope. What a client sends is what all sessions of
//! the room receive, itself included, in the room's order.
//!
//! A room is a topic. A text travels as [`Encoding::Text`] and is a JSON string to others; a JSON
//! string that somebody else publishes in the topic is a plain text here, every other value its
//! JSON, and bytes are a binary frame. There is no form for errors and answers.

use bytes::Bytes;
use sparkway_frame::Framed;
use sparkway_protocol::{
    Command, Durability, Encoding, Event, FrameId, Payload, Since, Subscribe, TopicName,
};

use crate::Wire;
use crate::payload::json_text;
use crate::value::json_string;

/// The name of the answer to the room's own subscribe.
const JOIN: &str = "join";
/// The topic of a room is its name behind this.
const PREFIX: &str = "room:";
/// The room of a path that names none (S3-17).
pub const DEFAULT_ROOM: &str = "default";

/// The topic of a room; `None` when the name is no part of a topic's name (too long).
#[must_use]
pub fn topic(room: &str) -> Option<TopicName> {
    TopicName::parse(&format!("{PREFIX}{room}")).ok()
}

/// What a session that enters a room asks for on its client's behalf.
#[must_use]
pub fn join(topic: &TopicName, since: Since, echo: bool) -> Command {
    let request = Subscribe {
        topics: vec![topic.as_str().into()],
        since,
        since_each: Vec::new(),
        presence: false,
        echo,
    };
    Command::Subscribe {
        id: FrameId::parse(JOIN).ok(),
        request,
    }
}

/// What a message means in the room of `topic`.
#[must_use]
pub fn decode(topic: &TopicName, wire: Wire<'_>) -> Command {
    let (encoding, bytes) = match wire {
        Wire::Text(text) => (Encoding::Text, text.as_bytes()),
        Wire::Binary(bytes) => (Encoding::Binary, bytes),
    };
    Command::Publish {
        id: None,
        topic: topic.clone(),
        payload: Payload {
            encoding,
            bytes: Bytes::copy_from_slice(bytes),
        },
        ephemeral: false,
        durability: Durability::default(),
        exclude_self: false,
        trace: None,
    }
}

/// `event` as a frame: messages are texts, a request for a sign of life is a protocol ping.
pub(crate) fn encode(event: &Event) -> Option<Framed> {
    match event {
        Event::Message(entry) => Some(frame(&entry.payload)),
        Event::Ephemeral(note) => Some(frame(&note.payload)),
        Event::Ping { .. } => Some(Framed::ping(b"")),
        Event::Connected { .. }
        | Event::Resumed { .. }
        | Event::ReplayDone { .. }
        | Event::ResumeFailed { .. }
        | Event::HeartbeatAck { .. }
        | Event::Acked { .. }
        | Event::Refused(_)
        | Event::Expiring { .. }
        | Event::Drain { .. }
        | Event::Closing { .. }
        | Event::Presence(_)
        | Event::Gap(_) => None,
    }
}

/// A payload as a frame: the echo of a text that does not wait for its room, too.
#[must_use]
pub fn frame(payload: &Payload) -> Framed {
    match payload.encoding {
        Encoding::Text => return Framed::text(&payload.bytes),
        Encoding::Binary => return Framed::binary(&payload.bytes),
        Encoding::Json | Encoding::MsgPack => {}
    }
    let json = json_text(payload);
    let plain = json_string(json.trim());
    Framed::text(plain.as_deref().unwrap_or(&json).as_bytes())
}

#[cfg(test)]
mod tests;
