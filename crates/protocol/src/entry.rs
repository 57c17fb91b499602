//! What is published: kept entries, and announcements that are never kept.

use bytes::Bytes;

use crate::{MessageId, SessionId, TopicName, TraceContext, UserId};

/// How the bytes of a [`Payload`] are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// One JSON value, validated once at ingress, carried verbatim.
    Json,
    /// One `MessagePack` value (not a top-level `bin`), validated once at ingress.
    MsgPack,
    /// Raw bytes: a `MessagePack` `bin`, or a binary frame.
    Binary,
    /// Plain UTF-8 text without any envelope (room dialect).
    Text,
}

/// What an application sends: opaque to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How to read the bytes.
    pub encoding: Encoding,
    /// The bytes. They own their allocation: never a slice of a read buffer, which they would pin.
    pub bytes: Bytes,
}

impl Payload {
    /// A payload of validated JSON text.
    #[must_use]
    pub const fn json(bytes: Bytes) -> Self {
        Self {
            encoding: Encoding::Json,
            bytes,
        }
    }
}

/// One kept message of a topic log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the total order of its partition.
    pub id: MessageId,
    /// The id of the topic's entry before it; [`MessageId::ZERO`] for the first. It tells a
    /// receiver exactly whether something is missing between two entries.
    pub prev: MessageId,
    /// Its topic.
    pub topic: TopicName,
    /// The user who published it, set by the gateway, never by the client.
    pub from: Option<UserId>,
    /// The session that published it, for `echo` and `exclude_self`.
    pub origin: Option<SessionId>,
    /// Whether the publisher asked not to receive it.
    pub exclude_origin: bool,
    /// Where it was published in a trace that is recorded. Boxed: hardly any entry has one.
    pub trace: Option<Box<TraceContext>>,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// Whether the session `reader` with this `echo` choice is to receive the entry.
    #[must_use]
    pub fn is_for(&self, reader: SessionId, echo: bool) -> bool {
        self.origin != Some(reader) || (echo && !self.exclude_origin)
    }
}

/// An announcement that is never kept: goes through the channel only and carries no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ephemeral {
    /// Its topic.
    pub topic: TopicName,
    /// The user who published it.
    pub from: Option<UserId>,
    /// The session that published it.
    pub origin: Option<SessionId>,
    /// Whether the publisher asked not to receive it.
    pub exclude_origin: bool,
    /// What it says.
    pub payload: Payload,
}
