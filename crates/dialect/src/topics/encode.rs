//! Frames to the client.

use sparkway_frame::{FrameWriter, Framed};
use sparkway_protocol::event::{Rejected, Subscribed};
use sparkway_protocol::{
    Code, Event, FrameId, Gap, MessageId, Outcome, Payload, Refused, TopicName, UserId,
};

use super::{answer, message_id};
use crate::writer::{JsonWriter, Writer};

type Out = JsonWriter<FrameWriter>;

/// Bytes of a frame beside the payload.
const ENVELOPE_BYTES: usize = 160;

/// `event` as one text frame; `None` for what the dialect does not tell.
pub(crate) fn encode(event: &Event) -> Option<Framed> {
    let content = match event {
        Event::Message(entry) => entry.payload.bytes.len(),
        Event::Ephemeral(note) => note.payload.bytes.len(),
        _ => 0,
    };
    let mut out = JsonWriter::new(FrameWriter::with_capacity(ENVELOPE_BYTES + content));
    write(event, &mut out)?;
    Some(out.into_sink().finish_text())
}

fn write(event: &Event, out: &mut Out) -> Option<()> {
    match event {
        Event::Message(entry) => message(&entry.topic, Some(entry.id), &entry.payload, out),
        Event::Ephemeral(note) => message(&note.topic, None, &note.payload, out),
        Event::Gap(gap) => hole(gap, out),
        Event::Acked { id, outcome } => return acked(id, outcome, out),
        Event::Connected { id, welcome } => {
            let asked = id.as_ref().is_some_and(|id| id.as_str() == answer::AUTH);
            return asked.then(|| auth_ok(welcome.user.as_ref(), out));
        }
        Event::Refused(refused) => error(refused, out),
        Event::Expiring { grace_ms } => {
            open(out, "token_expiring");
            out.name("in");
            out.unsigned(grace_ms.div_ceil(1000));
            out.end_map();
        }
        Event::Drain { reconnect_after_ms } => {
            open(out, "reconnect");
            out.name("after_ms");
            out.unsigned(*reconnect_after_ms);
            out.end_map();
        }
        Event::Resumed { .. }
        | Event::ReplayDone { .. }
        | Event::ResumeFailed { .. }
        | Event::HeartbeatAck { .. }
        | Event::Ping { .. }
        | Event::Presence(_)
        | Event::Closing { .. } => return None,
    }
    Some(())
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

fn message(topic: &TopicName, id: Option<MessageId>, payload: &Payload, out: &mut Out) {
    open(out, "event");
    field(out, "topic", topic.as_str());
    if let Some(id) = id {
        out.name("id");
        out.digits(id.get());
    }
    out.name("data");
    out.payload(payload);
    if let Some(note) = Out::note(payload) {
        field(out, "encoding", note);
    }
    out.end_map();
}

fn hole(gap: &Gap, out: &mut Out) {
    open(out, "gap");
    field(out, "topic", gap.topic.as_str());
    field(out, "reason", gap.reason.as_str());
    out.name("after");
    out.digits(gap.after.get());
    out.name("before");
    out.digits(gap.before.get());
    out.end_map();
}

fn acked(id: &FrameId, outcome: &Outcome, out: &mut Out) -> Option<()> {
    match outcome {
        Outcome::Done => {
            open(out, "pong");
            out.end_map();
        }
        Outcome::Published { id: stored, .. } => {
            out.map(0);
            out.name("published");
            match stored {
                Some(stored) => out.digits(stored.get()),
                None => out.null(),
            }
            field(out, "messageId", id.as_str());
            out.end_map();
        }
        Outcome::Subscribed { topics, rejected } => {
            let since = id.as_str() == answer::SUBSCRIBE_SINCE;
            subscribed(topics, rejected, since, out);
        }
        Outcome::Unsubscribed { topics } => {
            out.map(0);
            out.name("unsubscribed");
            names(topics.iter().map(AsRef::as_ref), out);
            out.end_map();
        }
        Outcome::Refreshed { .. } => auth_ok(None, out),
        // Nothing in this dialect asks for these.
        Outcome::History { .. } | Outcome::Presence { .. } | Outcome::Called { .. } => return None,
    }
    Some(())
}

fn subscribed(topics: &[Subscribed], rejected: &[Rejected], since: bool, out: &mut Out) {
    out.map(0);
    out.name("subscribed");
    names(topics.iter().map(|granted| granted.topic.as_str()), out);
    if !rejected.is_empty() {
        out.name("rejected");
        out.array(0);
        for Rejected { topic, code } in rejected {
            out.map(0);
            field(out, "topic", topic);
            field(out, "code", word(*code));
            out.end_map();
        }
        out.end_array();
    }
    if since {
        out.name("recovered");
        out.map(0);
        for granted in topics {
            out.key(granted.topic.as_str());
            out.boolean(granted.recovered);
        }
        out.end_map();
    }
    out.end_map();
}

/// The word for a refused topic (S1-26).
const fn word(code: Code) -> &'static str {
    match code {
        Code::LimitExceeded => "limit",
        other => other.as_str(),
    }
}

fn names<'n>(names: impl Iterator<Item = &'n str>, out: &mut Out) {
    out.array(0);
    for name in names {
        out.text(name);
    }
    out.end_array();
}

fn auth_ok(user: Option<&UserId>, out: &mut Out) {
    open(out, "auth_ok");
    if let Some(user) = user {
        field(out, "userId", user.as_str());
    }
    out.end_map();
}

fn error(refused: &Refused, out: &mut Out) {
    open(out, "error");
    field(out, "error", &refused.message);
    field(out, "code", refused.code.as_str());
    if let Some(id) = message_id(refused.id.as_ref()) {
        field(out, "messageId", id);
    }
    out.end_map();
}
