//! Frames from the client.

use std::borrow::Cow;

use sparkway_protocol::limits::{FRAME_ID_BYTES, MESSAGE_BYTES, TOKEN_BYTES};
use sparkway_protocol::{Code, Command, Durability, FrameId, Refused};

use super::payload::{Message, message};
use super::{Conversation, PING, Party};
use crate::value::{Json, Scalar, Value as _, boolean, invalid, required, text_at_most};

/// Longest `clientId`, in bytes (row S2-04).
const CLIENT_ID_BYTES: usize = 128;
/// Longest timestamp, in bytes: the longest forms of ISO 8601 have 35.
const TIMESTAMP_BYTES: usize = 40;
/// Longest protocol version, in bytes.
const VERSION_BYTES: usize = 32;
const _: () = assert!(PING.len() + TIMESTAMP_BYTES <= FRAME_ID_BYTES);

const FIELDS: [&str; 8] = [
    "type",
    "clientId",
    "timestamp",
    "version",
    "resume",
    "token",
    "content",
    "messageId",
];

/// What the client asks.
pub(crate) fn decode(state: &mut Conversation, frame: &str) -> Result<Command, Refused> {
    let fields = Json::new(frame).fields(&FIELDS);
    if let Some(problem) = fields.problem {
        return Err(Refused::new(Code::Malformed, format!("frame: {problem}")));
    }
    let [
        kind,
        client_id,
        timestamp,
        version,
        resume,
        token,
        content,
        message_id,
    ] = fields.slots;
    let Some(Scalar::Text(kind)) = kind.map(Json::scalar) else {
        return Err(Refused::new(
            Code::Malformed,
            "type: missing or not a string",
        ));
    };
    if state.party.is_none() && kind != "connect" {
        return Err(Refused::new(
            Code::NotConnected,
            "type: the first frame must be connect",
        ));
    }
    match kind.as_ref() {
        "connect" => {
            required(self::timestamp(timestamp)?, "timestamp")?;
            let party = Party {
                client_id: self::client_id(client_id)?.into(),
                resume: boolean(resume, "resume", true)?,
            };
            check_version(&state.versions, version)?;
            let token = text_at_most(token, "token", TOKEN_BYTES)?;
            // A second one is refused by the session and changes nothing.
            state.party.get_or_insert(party);
            Ok(Command::Connect {
                id: None,
                token: token.map(Box::from),
                claimed: None,
            })
        }
        "ping" => {
            let echo = self::timestamp(timestamp)?.unwrap_or_default();
            Ok(Command::Ping {
                id: FrameId::parse(&format!("{PING}{echo}")).ok(),
            })
        }
        "message" => {
            let id = frame_id(message_id)?;
            say(state, [client_id, timestamp, content], &id)
                .map_err(|refused| refused.answering(Some(id)))
        }
        _ => Err(Refused::new(
            Code::UnknownType,
            "type: not one of connect, ping, message",
        )),
    }
}

fn client_id(value: Option<Json<'_>>) -> Result<Cow<'_, str>, Refused> {
    let rule = "not 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -";
    let id = required(crate::value::text(value, "clientId")?, "clientId")?;
    let is_plain =
        |symbol: u8| symbol.is_ascii_alphanumeric() || matches!(symbol, b'.' | b'_' | b':' | b'-');
    if id.is_empty() || id.len() > CLIENT_ID_BYTES || !id.bytes().all(is_plain) {
        return Err(invalid("clientId", rule));
    }
    Ok(id)
}

/// A timestamp, if the field is there: its form is checked, not its calendar.
fn timestamp(value: Option<Json<'_>>) -> Result<Option<Cow<'_, str>>, Refused> {
    let text = text_at_most(value, "timestamp", TIMESTAMP_BYTES)?;
    match text {
        Some(text) if !is_iso8601(&text) => Err(invalid(
            "timestamp",
            "not an ISO 8601 time such as 2024-01-01T00:00:00.000Z",
        )),
        text => Ok(text),
    }
}

fn is_iso8601(text: &str) -> bool {
    let fits = |form: &[u8], text: &[u8]| {
        text.len() >= form.len()
            && form.iter().zip(text).all(|(form, symbol)| match form {
                b'0' => symbol.is_ascii_digit(),
                form => form == symbol,
            })
    };
    let rest = |symbol: u8| {
        symbol.is_ascii_digit() || matches!(symbol, b'.' | b',' | b':' | b'Z' | b'z' | b'+' | b'-')
    };
    let bytes = text.as_bytes();
    fits(b"0000-00-00T00:00", bytes) && bytes.iter().skip(16).copied().all(rest)
}

fn check_version(served: &[u32], version: Option<Json<'_>>) -> Result<(), Refused> {
    let version = required(text_at_most(version, "version", VERSION_BYTES)?, "version")?;
    let major = version.split('.').next().unwrap_or_default();
    if major.parse().is_ok_and(|major| served.contains(&major)) {
        return Ok(());
    }
    let known: Vec<String> = served.iter().map(ToString::to_string).collect();
    Err(Refused::new(
        Code::Unsupported,
        format!("version: not served; served are {}", known.join(", ")),
    ))
}

fn frame_id(value: Option<Json<'_>>) -> Result<FrameId, Refused> {
    let id = text_at_most(value, "messageId", FRAME_ID_BYTES)?;
    let id = required(id, "messageId")?;
    FrameId::parse(&id).map_err(|rule| invalid("messageId", rule))
}

fn say(
    state: &Conversation,
    [client_id, timestamp, content]: [Option<Json<'_>>; 3],
    id: &FrameId,
) -> Result<Command, Refused> {
    let client_id = self::client_id(client_id)?;
    let timestamp = required(self::timestamp(timestamp)?, "timestamp")?;
    let content = text_at_most(content, "content", MESSAGE_BYTES)?;
    let content = required(content, "content")?;
    let known = state.party.as_ref();
    if known.is_none_or(|known| *known.client_id != *client_id) {
        return Err(Refused::new(
            Code::Forbidden,
            "clientId: not the one of the connect",
        ));
    }
    let Some(topic) = &state.topic else {
        return Err(Refused::new(
            Code::NotConnected,
            "type: the conversation is not confirmed yet",
        ));
    };
    Ok(Command::Publish {
        id: Some(id.clone()),
        topic: topic.clone(),
        payload: message(&Message {
            client_id: &client_id,
            content: &sanitized(&content),
            timestamp: &timestamp,
            id: id.as_str(),
        }),
        ephemeral: false,
        durability: Durability::default(),
        exclude_self: true,
        trace: None,
    })
}

/// Without control characters but newline and tab (row S2-33).
fn sanitized(text: &str) -> Cow<'_, str> {
    let is_kept = |symbol: char| !symbol.is_control() || matches!(symbol, '\n' | '\t');
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|&symbol| is_kept(symbol)).collect())
}
