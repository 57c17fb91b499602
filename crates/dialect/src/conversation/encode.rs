//! Frames to the client.

use sparkway_frame::{FrameWriter, Framed};
use sparkway_protocol::{
    Code, Encoding, Entry, Event, FrameId, Gap, Outcome, Refused, TopicName, iso8601,
};

use super::payload::read;
use super::{Party, echo, id_of};
use crate::payload::json_text;
use crate::value::json_string;
use crate::writer::{JsonWriter, Writer};

type Out = JsonWriter<FrameWriter>;

/// Bytes of a frame beside what it says.
const ENVELOPE_BYTES: usize = 160;

/// Who is confirmed, and in which conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmed<'a> {
    pub(crate) party: &'a Party,
    pub(crate) topic: &'a TopicName,
}

/// `event` as one text frame; `None` for what the dialect does not tell. Most frames carry the
/// time: without `unix_ms` only those of the log are written, which carry their own.
pub(crate) fn encode(
    event: &Event,
    unix_ms: Option<u64>,
    confirmed: Option<Confirmed<'_>>,
) -> Option<Framed> {
    match event {
        Event::Message(entry) => return response(entry),
        Event::Gap(gap) => return Some(hole(gap)),
        _ => {}
    }
    let now = iso8601(unix_ms?);
    let mut out = JsonWriter::new(FrameWriter::with_capacity(ENVELOPE_BYTES));
    match event {
        Event::Resumed { .. } => confirm(confirmed?, &now, &mut out),
        Event::Acked {
            id,
            outcome: Outcome::Done,
        } => {
            open(&mut out, "pong");
            field(&mut out, "timestamp", &now);
            if let Some(echo) = echo(id) {
                field(&mut out, "echo", echo);
            }
        }
        Event::Refused(refused) => error(refused, &now, &mut out),
        Event::Expiring { grace_ms } => {
            open(&mut out, "token_expiring");
            out.name("in");
            out.unsigned(grace_ms.div_ceil(1000));
        }
        Event::Drain { reconnect_after_ms } => {
            open(&mut out, "reconnect");
            out.name("after_ms");
            out.unsigned(*reconnect_after_ms);
        }
        Event::Connected { .. }
        | Event::ReplayDone { .. }
        | Event::ResumeFailed { .. }
        | Event::HeartbeatAck { .. }
        | Event::Ping { .. }
        | Event::Acked { .. }
        | Event::Ephemeral(_)
        | Event::Message(_)
        | Event::Gap(_)
        | Event::Presence(_)
        | Event::Closing { .. } => return None,
    }
    Some(finish(out))
}

fn finish(mut out: Out) -> Framed {
    out.end_map();
    out.into_sink().finish_text()
}

/// Begins a frame. JSON needs no count of fields in advance.
fn open(out: &mut Out, kind: &'static str) {
    out.map(0);
    field(out, "type", kind);
}

fn field(out: &mut Out, name: &'static str, text: &str) {
    out.name(name);
    out.text(text);
}

fn confirm(confirmed: Confirmed<'_>, now: &str, out: &mut Out) {
    open(out, "connect_confirm");
    field(out, "clientId", &confirmed.party.client_id);
    let id = id_of(confirmed.topic).unwrap_or_default();
    field(out, "conversationId", id);
    field(out, "status", "confirmed");
    field(out, "timestamp", now);
}

fn error(refused: &Refused, now: &str, out: &mut Out) {
    let text = match refused.code {
        Code::RateLimited => "Rate limit exceeded",
        _ => &refused.message,
    };
    open(out, "error");
    field(out, "error", text);
    field(out, "timestamp", now);
    let message_id = |id: &&FrameId| echo(id).is_none();
    if let Some(id) = refused.id.as_ref().filter(message_id) {
        field(out, "messageId", id.as_str());
    }
}

/// An entry of the conversation's log. The client's own messages are not told back.
fn response(entry: &Entry) -> Option<Framed> {
    let payload = &entry.payload;
    let own_id = entry.id.get().to_string();
    let at = iso8601(entry.id.unix_ms());
    let json = json_text(payload);
    let plain = || json_string(json.trim()).unwrap_or_else(|| json.as_ref().into());
    let kept = match payload.encoding {
        Encoding::Json | Encoding::MsgPack => read(&json),
        Encoding::Binary | Encoding::Text => None,
    };
    let kept = match kept {
        Some(kept) if kept.kind == "message" => return None,
        Some(kept) if kept.kind == "response" => Some(kept),
        Some(_) | None => None,
    };
    let mut out = JsonWriter::new(FrameWriter::with_capacity(ENVELOPE_BYTES + json.len()));
    open(&mut out, "response");
    if let Some(kept) = kept {
        field(&mut out, "messageId", &kept.message_id);
        field(&mut out, "content", &kept.content);
        let at = kept.timestamp.as_deref().unwrap_or(&at);
        field(&mut out, "timestamp", at);
    } else {
        field(&mut out, "messageId", &own_id);
        field(&mut out, "content", &plain());
        field(&mut out, "timestamp", &at);
    }
    Some(finish(out))
}

/// What cannot be delivered any more, with the time of the first message behind it.
fn hole(gap: &Gap) -> Framed {
    let mut out = JsonWriter::new(FrameWriter::with_capacity(ENVELOPE_BYTES));
    open(&mut out, "error");
    let text = "Responses of this conversation are lost: they are no longer kept";
    field(&mut out, "error", text);
    field(&mut out, "timestamp", &iso8601(gap.before.unix_ms()));
    finish(out)
}
