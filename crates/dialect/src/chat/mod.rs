//! Chat (source 4), JSON text frames `{"type", "data"}` both ways. `testdata/chat` holds an example
//! of every frame.
//!
//! What a client asks is a call of the chat application: `decode` checks its form and hands it on
//! under its type; [`Asked::of`] reads it there. What the application tells is a [`Told`]. A user's
//! inbox topic `$user:ID` carries such frames as they stand; anything else that is published there
//! reaches the client as `event` with the payload as its data.

#[cfg(test)]
mod tests;
mod told;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use sparkway_frame::Framed;
use sparkway_protocol::{Code, Command, Encoding, Event, Payload, Refused, iso8601, limits};

use crate::payload::json_text;
pub use told::{OnlineUser, Told, error};

/// Longest `clientMessageId`, in bytes.
const CLIENT_ID_BYTES: usize = limits::FRAME_ID_BYTES;
/// Longest `messageType`, in bytes.
const TYPE_BYTES: usize = 64;
/// Longest part of an unknown type that is repeated, in characters.
const SHOWN: usize = 64;

const NOT_JSON: &str = "Invalid message format. Please send valid JSON.";
const NO_MESSAGE: &str = "Missing required fields: receiverId and content";
const NO_RECEIVER: &str = "Missing required field: receiverId";
const NO_SENDER: &str = "Missing required field: senderId";

/// What a client asks of the chat application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Send a message.
    Message {
        /// To whom.
        receiver: Box<str>,
        /// What.
        content: Box<str>,
        /// Of which kind; `text` unless said.
        kind: Box<str>,
        /// The client's own name for it: a repeat with the same name is stored once.
        client_id: Option<Box<str>>,
    },
    /// Say that one is typing, or no longer.
    Typing {
        /// To whom.
        receiver: Box<str>,
        /// Whether one is.
        on: bool,
    },
    /// All messages of a user are read.
    Read {
        /// Whose.
        sender: Box<str>,
    },
    /// Who is online?
    Online,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// Fields as far as they are texts; everything else counts as missing.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    receiver_id: Text,
    sender_id: Text,
    content: Text,
    message_type: Text,
    client_message_id: Text,
}

#[derive(Default)]
struct Text(Option<Box<str>>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        let text = value.as_str().filter(|text| !text.is_empty());
        Ok(Self(text.map(Box::from)))
    }
}

/// What the client asks: a call of the chat application.
pub(crate) fn decode(frame: &str) -> Result<Command, Refused> {
    let envelope: Envelope<'_> = serde_json::from_str(frame).map_err(|_| malformed())?;
    let data = envelope.data.map_or("{}", RawValue::get);
    let params = Payload::json(bytes::Bytes::copy_from_slice(data.as_bytes()));
    Asked::of(&envelope.kind, &params)?;
    Ok(Command::Call {
        id: None,
        method: envelope.kind.into(),
        params,
    })
}

fn malformed() -> Refused {
    Refused::new(Code::Malformed, NOT_JSON)
}

impl Asked {
    /// Reads a call of the chat application.
    ///
    /// # Errors
    /// The refusal to tell the client, in the words of the source.
    pub fn of(method: &str, params: &Payload) -> Result<Self, Refused> {
        let text = json_text(params);
        let fields = || match text.trim_start().as_bytes().first() {
            Some(b'n') => Ok(Fields::default()),
            _ => serde_json::from_str::<Fields>(&text).map_err(|_| malformed()),
        };
        match method {
            "chat_message" => fields()?.message(),
            "typing_start" | "typing_stop" => Ok(Self::Typing {
                receiver: required(fields()?.receiver_id, NO_RECEIVER)?,
                on: method == "typing_start",
            }),
            "mark_read" => Ok(Self::Read {
                sender: required(fields()?.sender_id, NO_SENDER)?,
            }),
            "get_online_users" => Ok(Self::Online),
            other => {
                let shown: String = other.chars().take(SHOWN).collect();
                let text = format!("Unknown message type: {shown}");
                Err(Refused::new(Code::UnknownType, text))
            }
        }
    }
}

impl Fields {
    fn message(self) -> Result<Asked, Refused> {
        let (Some(receiver), Some(content)) = (self.receiver_id.0, self.content.0) else {
            return Err(Refused::new(Code::Invalid, NO_MESSAGE));
        };
        let kind = self.message_type.0.unwrap_or_else(|| "text".into());
        let client_id = self.client_message_id.0;
        let is_long = |text: &str, most| text.len() > most;
        if is_long(&kind, TYPE_BYTES)
            || client_id
                .as_deref()
                .is_some_and(|id| is_long(id, CLIENT_ID_BYTES))
        {
            return Err(Refused::new(Code::TooLarge, "Message too large"));
        }
        Ok(Asked::Message {
            receiver,
            content,
            kind,
            client_id,
        })
    }
}

fn required(text: Text, missing: &'static str) -> Result<Box<str>, Refused> {
    text.0.ok_or_else(|| Refused::new(Code::Invalid, missing))
}

/// `event` as one frame; `None` for what the dialect does not tell. Errors carry the time: without
/// `unix_ms` they are not written.
pub(crate) fn encode(event: &Event, unix_ms: Option<u64>) -> Option<Framed> {
    match event {
        Event::Message(entry) => Some(carried(&entry.payload)),
        Event::Ephemeral(note) => Some(carried(&note.payload)),
        Event::Ping { .. } => Some(Framed::ping(b"")),
        Event::Refused(refused) => Some(error(words_of(refused), &iso8601(unix_ms?)).to_frame()),
        Event::Gap(gap) => {
            let text = "Messages were lost: their history has them as long as it is kept";
            let at = iso8601(gap.before.unix_ms());
            Some(error(text, &at).to_frame())
        }
        Event::Connected { .. }
        | Event::Resumed { .. }
        | Event::ReplayDone { .. }
        | Event::ResumeFailed { .. }
        | Event::HeartbeatAck { .. }
        | Event::Acked { .. }
        | Event::Expiring { .. }
        | Event::Drain { .. }
        | Event::Presence(_)
        | Event::Closing { .. } => None,
    }
}

/// A refusal in the words of the source (S4-22, S4-23).
fn words_of(refused: &Refused) -> &str {
    match refused.code {
        Code::RateLimited | Code::LimitExceeded => "Rate limit exceeded",
        Code::TooLarge => "Message too large",
        Code::Unavailable | Code::NotReplicated | Code::Timeout | Code::Internal => "Server error",
        _ => &refused.message,
    }
}

/// A payload of the inbox: a frame as it stands, or an event that holds it.
fn carried(payload: &Payload) -> Framed {
    let json = json_text(payload);
    let is_frame = match payload.encoding {
        Encoding::Json | Encoding::MsgPack => is_frame(&json),
        Encoding::Binary | Encoding::Text => false,
    };
    if is_frame {
        return Framed::text(json.as_bytes());
    }
    let text = format!(r#"{{"type":"event","data":{json}}}"#);
    Framed::text(text.as_bytes())
}

fn is_frame(json: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Frame<'a> {
        #[serde(rename = "type", borrow)]
        _kind: Cow<'a, str>,
        #[serde(rename = "data", borrow)]
        _data: &'a RawValue,
    }
    serde_json::from_str::<Frame<'_>>(json).is_ok()
}

/// The message that a frame of the inbox delivers; `None` for every other frame.
#[must_use]
pub fn delivered(payload: &Payload) -> Option<Delivered> {
    #[derive(Deserialize)]
    struct Frame {
        #[serde(rename = "type")]
        kind: String,
        data: Delivered,
    }
    let frame: Frame = serde_json::from_str(&json_text(payload)).ok()?;
    (frame.kind == "new_message").then_some(frame.data)
}

/// What of a delivered message its sender is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// Which message.
    pub message_id: String,
    /// Whose.
    pub sender_id: String,
}
