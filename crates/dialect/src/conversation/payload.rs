//! What a conversation's topic keeps: messages and responses, as JSON for everybody.

use std::borrow::Cow;

use serde::Deserialize;
use sparkway_protocol::{Encoding, Payload};

use crate::payload::json_text;
use crate::writer::{JsonWriter, Writer as _};

/// A message of the client.
pub(super) struct Message<'a> {
    pub(super) client_id: &'a str,
    pub(super) content: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) id: &'a str,
}

/// A kept message or response, as far as its fields are of the right kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) timestamp: Option<Cow<'a, str>>,
}

/// Reads a payload of a conversation's topic; `None` for what is neither message nor response.
pub(super) fn read(json: &str) -> Option<Kept<'_>> {
    serde_json::from_str(json).ok()
}

pub(super) fn message(message: &Message<'_>) -> Payload {
    fields(&[
        ("type", "message"),
        ("clientId", message.client_id),
        ("content", message.content),
        ("timestamp", message.timestamp),
        ("messageId", message.id),
    ])
}

/// The payload of a response to a message.
#[must_use]
pub fn response(message_id: &str, content: &str, timestamp: &str) -> Payload {
    fields(&[
        ("type", "response"),
        ("messageId", message_id),
        ("content", content),
        ("timestamp", timestamp),
    ])
}

/// The `messageId` that a payload answers; `None` when it is no response.
#[must_use]
pub fn answered(payload: &Payload) -> Option<String> {
    if payload.encoding == Encoding::Binary {
        return None;
    }
    let json = json_text(payload);
    let kept = read(&json)?;
    (kept.kind == "response").then(|| kept.message_id.into_owned())
}

/// The content of a message; `None` when the payload is none.
#[must_use]
pub fn said(payload: &Payload) -> Option<String> {
    let json = json_text(payload);
    let kept = read(&json)?;
    (kept.kind == "message").then(|| kept.content.into_owned())
}

fn fields(fields: &[(&'static str, &str)]) -> Payload {
    let mut out = JsonWriter::new(Vec::new());
    out.map(fields.len());
    for (name, text) in fields {
        out.name(name);
        out.text(text);
    }
    out.end_map();
    Payload::json(out.into_sink().into())
}
