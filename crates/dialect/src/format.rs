//! One entry for all dialects: the format chooses the reader and the writer.

use sparkway_frame::Framed;
use sparkway_protocol::{Code, Command, Event, Format, Refused};

use crate::value::{Json, MsgPack};
use crate::{chat, conversation, room, spark, topics};

/// One whole WebSocket message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire<'a> {
    /// A text message; the socket has checked that it is UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// The kind of WebSocket message that a format travels in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireKind {
    /// Text messages.
    Text,
    /// Binary messages.
    Binary,
}

/// The kind of message that `format` is carried in, both ways. The other kind closes with 1003.
#[must_use]
pub const fn carries(format: Format) -> WireKind {
    match format {
        Format::SparkMsgPack => WireKind::Binary,
        Format::SparkJson | Format::Topics | Format::Conversation | Format::Room | Format::Chat => {
            WireKind::Text
        }
    }
}

/// What the client asks.
///
/// # Errors
/// The refusal to send back, whatever the bytes are. It carries the frame's `id` whenever one
/// could be read, so that also a malformed frame is answered. The connection stays open, unless
/// the caller has a reason of its own to close it.
pub fn decode(format: Format, wire: Wire<'_>) -> Result<Command, Refused> {
    match (format, wire) {
        (Format::SparkJson, Wire::Text(text)) => spark::decode(Json::new(text)),
        (Format::SparkMsgPack, Wire::Binary(bytes)) => spark::decode(MsgPack::new(bytes)),
        (Format::SparkJson | Format::Topics | Format::Chat, Wire::Binary(_)) => {
            Err(wrong_kind("frame: binary, expected text"))
        }
        (Format::SparkMsgPack, Wire::Text(_)) => Err(wrong_kind("frame: text, expected binary")),
        (Format::Topics, Wire::Text(text)) => topics::decode(text),
        (Format::Room, Wire::Text(_) | Wire::Binary(_)) => Err(Refused::new(
            Code::Internal,
            "a room's text has a meaning only in its room: see room::decode",
        )),
        (Format::Conversation, _) => Err(Refused::new(
            Code::Internal,
            "a message has a meaning only in its conversation: see Talk",
        )),
        (Format::Chat, Wire::Text(text)) => chat::decode(text),
    }
}

/// `event` as one frame of `format`, the same for every reader and at every time; `None` when the
/// dialect has no such form for it.
#[must_use]
pub fn encode(format: Format, event: &Event) -> Option<Framed> {
    match format {
        Format::SparkJson => Some(spark::encode_json(event)),
        Format::SparkMsgPack => Some(spark::encode_msgpack(event)),
        Format::Topics => topics::encode(event),
        Format::Room => room::encode(event),
        Format::Conversation => conversation::encode(event, None, None),
        Format::Chat => chat::encode(event, None),
    }
}

/// `event` as one frame of `format` at the Unix time `unix_ms`, for dialects that tell the time;
/// `None` when the dialect has no form for it that every reader could be told.
#[must_use]
pub fn encode_at(format: Format, event: &Event, unix_ms: u64) -> Option<Framed> {
    match format {
        Format::Conversation => conversation::encode(event, Some(unix_ms), None),
        Format::Chat => chat::encode(event, Some(unix_ms)),
        Format::SparkJson | Format::SparkMsgPack | Format::Topics | Format::Room => {
            encode(format, event)
        }
    }
}

fn wrong_kind(message: &'static str) -> Refused {
    Refused::new(Code::Malformed, message)
}
