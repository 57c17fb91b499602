//! Spark frames to the client.

mod lifecycle;
mod topics;

use sparkway_frame::{FrameWriter, Framed};
use sparkway_protocol::{Code, Event, Refused};

use crate::writer::{JsonWriter, MsgPackWriter, Writer};

/// Bytes of a frame beside what the application put in it: measured on `topic:message` with room
/// for the rest of the small frames.
const ENVELOPE_BYTES: usize = 224;

/// One text frame.
pub(crate) fn encode_json(event: &Event) -> Framed {
    let mut out = JsonWriter::new(FrameWriter::with_capacity(expected_bytes(event)));
    write(event, &mut out);
    out.into_sink().finish_text()
}

/// One binary frame.
pub(crate) fn encode_msgpack(event: &Event) -> Framed {
    let mut out = MsgPackWriter::new(FrameWriter::with_capacity(expected_bytes(event)));
    write(event, &mut out);
    out.into_sink().finish_binary()
}

fn expected_bytes(event: &Event) -> usize {
    let content = match event {
        Event::Message(entry) => entry.payload.bytes.len() + entry.topic.as_str().len(),
        Event::Ephemeral(note) => note.payload.bytes.len() + note.topic.as_str().len(),
        Event::Connected { .. } | Event::Resumed { .. } => 512,
        Event::ReplayDone { .. }
        | Event::ResumeFailed { .. }
        | Event::HeartbeatAck { .. }
        | Event::Ping { .. }
        | Event::Acked { .. }
        | Event::Refused(_)
        | Event::Expiring { .. }
        | Event::Drain { .. }
        | Event::Closing { .. }
        | Event::Presence(_)
        | Event::Gap(_) => 0,
    };
    ENVELOPE_BYTES + content
}

fn write<W: Writer>(event: &Event, out: &mut W) {
    match event {
        Event::Message(entry) => topics::message(entry, out),
        Event::Ephemeral(note) => topics::ephemeral(note, out),
        Event::Gap(gap) => topics::gap(gap, out),
        Event::Presence(change) => topics::presence_change(change, out),
        Event::Acked { id, outcome } => topics::acked(id, outcome, out),
        Event::Connected { id, welcome } => lifecycle::connected(id.as_ref(), welcome, out),
        Event::Resumed { .. } => lifecycle::resumed(event, out),
        Event::ReplayDone { replayed } => {
            open(out, "ws:replay_done", 1);
            out.name("replayed");
            out.unsigned(*replayed);
            close(out);
        }
        Event::ResumeFailed { id, reason } => {
            lifecycle::resume_failed(id.as_ref(), *reason, out);
        }
        Event::HeartbeatAck { .. } => lifecycle::heartbeat_ack(event, out),
        Event::Ping { control } => {
            out.map(2);
            field(out, "type", "ws:ping");
            field(out, "id", control);
            out.end_map();
        }
        Event::Refused(refused) => lifecycle::refused(refused, out),
        Event::Expiring { .. } => {
            let refused = Refused::new(Code::TokenExpired, "token: expired, refresh it");
            lifecycle::refused(&refused, out);
        }
        Event::Drain { reconnect_after_ms } => {
            open(out, "ws:drain", 2);
            out.name("reconnect_after");
            out.unsigned(*reconnect_after_ms);
            out.name("resume");
            out.boolean(true);
            close(out);
        }
        Event::Closing {
            reason,
            resume,
            retry_after_ms,
        } => lifecycle::closing(*reason, *resume, *retry_after_ms, out),
    }
}

/// Begins a frame of `kind` without an id, and its `data` of `fields` fields.
fn open<W: Writer>(out: &mut W, kind: &'static str, fields: usize) {
    out.map(2);
    field(out, "type", kind);
    out.name("data");
    out.map(fields);
}

/// Begins a frame of `kind` that wants an ack for `control`, and its `data` of `fields` fields.
fn open_acked<W: Writer>(out: &mut W, kind: &'static str, control: &str, fields: usize) {
    out.map(3);
    field(out, "type", kind);
    field(out, "id", control);
    out.name("data");
    out.map(fields);
}

/// Ends `data` and the frame.
fn close<W: Writer>(out: &mut W) {
    out.end_map();
    out.end_map();
}

fn field<W: Writer>(out: &mut W, name: &'static str, text: &str) {
    out.name(name);
    out.text(text);
}

/// A field that is there only with a value; [`count`] counts it.
fn optional_field<W: Writer>(out: &mut W, name: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        field(out, name, text);
    }
}

fn count<T: Copy>(value: Option<T>) -> usize {
    usize::from(value.is_some())
}
