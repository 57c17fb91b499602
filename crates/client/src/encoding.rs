//! The two encodings of Spark v1, and how client frames are written in them.

use serde::Serialize;
use tokio_tungstenite::tungstenite::Message as RawMessage;

use crate::error::Error;

/// How frames are written on one socket; chosen by subprotocol when it opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Text frames of JSON (`spark.v1.json`).
    #[default]
    Json,
    /// Binary frames of `MessagePack` (`spark.v1.msgpack`).
    MsgPack,
}

impl Encoding {
    /// The subprotocol that asks for this encoding.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "spark.v1.json",
            Self::MsgPack => "spark.v1.msgpack",
        }
    }

    /// Writes any value as one WebSocket message.
    ///
    /// # Errors
    /// [`Error::Encode`] when the value has no form in this encoding (a JSON map with keys that are
    /// not strings, say); the caller corrects it.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<RawMessage, Error> {
        match self {
            Self::Json => serde_json::to_string(value)
                .map(RawMessage::text)
                .map_err(|error| Error::Encode(error.to_string())),
            Self::MsgPack => rmp_serde::to_vec_named(value)
                .map(RawMessage::binary)
                .map_err(|error| Error::Encode(error.to_string())),
        }
    }
}

/// A frame on its way to the gateway. Absent fields are not written.
#[derive(Debug, Serialize)]
pub(crate) struct ClientFrame<'a, D: Serialize + ?Sized> {
    /// `category:name`.
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    /// Names the answer; on a publish also the idempotency key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'a str>,
    /// Only on a publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<&'a str>,
    /// Payload of a publish, or the fields of an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a D>,
    /// Only on a publish: not kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ephemeral: bool,
    /// Only on a publish: acknowledged after replication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<&'a str>,
    /// Only on a publish: not back to this session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exclude_self: bool,
}

impl<'a, D: Serialize + ?Sized> ClientFrame<'a, D> {
    /// A frame of an operation, without an id yet.
    pub(crate) const fn new(kind: &'a str, data: Option<&'a D>) -> Self {
        Self {
            kind,
            id: None,
            topic: None,
            data,
            ephemeral: false,
            durability: None,
            exclude_self: false,
        }
    }

    /// The same frame, answered under `id`.
    pub(crate) const fn named(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }
}
