//! Frames about topics, and the results of requests.

use sparkway_protocol::event::{Rejected, Subscribed};
use sparkway_protocol::{
    Entry, Ephemeral, FrameId, Gap, MessageId, Outcome, Payload, PresenceChange, TopicName, UserId,
};

use super::{close, count, field, open, optional_field};
use crate::writer::Writer;

pub(super) fn message<W: Writer>(entry: &Entry, out: &mut W) {
    let note = W::note(&entry.payload);
    let trace = entry.trace.as_deref().map(ToString::to_string);
    out.map(5 + count(entry.from.as_ref()) + count(note) + count(trace.as_ref()));
    field(out, "type", "topic:message");
    out.name("id");
    out.digits(entry.id.get());
    content(&entry.topic, &entry.payload, entry.from.as_ref(), out);
    out.name("ts");
    out.unsigned(entry.id.unix_ms());
    optional_field(out, "tp", trace.as_deref());
    out.end_map();
}

/// No id, and so no time: both belong to kept messages only.
pub(super) fn ephemeral<W: Writer>(announcement: &Ephemeral, out: &mut W) {
    let Ephemeral {
        topic,
        from,
        payload,
        ..
    } = announcement;
    out.map(3 + count(from.as_ref()) + count(W::note(payload)));
    field(out, "type", "topic:message");
    content(topic, payload, from.as_ref(), out);
    out.end_map();
}

pub(super) fn presence_change<W: Writer>(change: &PresenceChange, out: &mut W) {
    let kind = if change.present {
        "topic:join"
    } else {
        "topic:leave"
    };
    out.map(3);
    field(out, "type", kind);
    field(out, "topic", change.topic.as_str());
    out.name("data");
    out.map(1);
    field(out, "user", change.user.as_str());
    close(out);
}

fn content<W: Writer>(topic: &TopicName, payload: &Payload, from: Option<&UserId>, out: &mut W) {
    field(out, "topic", topic.as_str());
    out.name("data");
    out.payload(payload);
    optional_field(out, "encoding", W::note(payload));
    optional_field(out, "from", from.map(UserId::as_str));
}

pub(super) fn gap<W: Writer>(gap: &Gap, out: &mut W) {
    out.map(3);
    field(out, "type", "topic:gap");
    field(out, "topic", gap.topic.as_str());
    out.name("data");
    out.map(3);
    hole(gap, out);
    close(out);
}

/// What every form of a gap says beside its topic: three fields.
pub(super) fn hole<W: Writer>(gap: &Gap, out: &mut W) {
    field(out, "reason", gap.reason.as_str());
    id(out, "after", gap.after);
    id(out, "before", gap.before);
}

pub(super) fn names<W: Writer>(topics: &[TopicName], out: &mut W) {
    out.array(topics.len());
    for topic in topics {
        out.text(topic.as_str());
    }
    out.end_array();
}

pub(super) fn acked<W: Writer>(frame: &FrameId, outcome: &Outcome, out: &mut W) {
    let has_result = *outcome != Outcome::Done;
    open(out, "ws:ack", 1 + usize::from(has_result));
    field(out, "ackId", frame.as_str());
    if has_result {
        out.name("result");
    }
    result(outcome, out);
    close(out);
}

fn result<W: Writer>(outcome: &Outcome, out: &mut W) {
    match outcome {
        Outcome::Done => return,
        Outcome::Published { id, duplicate } => published(*id, *duplicate, out),
        Outcome::Subscribed { topics, rejected } => subscribed(topics, rejected, out),
        Outcome::Unsubscribed { topics } => {
            out.map(1);
            out.name("unsubscribed");
            out.array(topics.len());
            for topic in topics {
                out.text(topic);
            }
            out.end_array();
        }
        Outcome::Refreshed {
            expires_at_ms,
            dropped_topics,
        } => refreshed(*expires_at_ms, dropped_topics, out),
        Outcome::History { messages, complete } => {
            out.map(2);
            out.name("messages");
            out.array(messages.len());
            for entry in messages {
                message(entry, out);
            }
            out.end_array();
            out.name("complete");
            out.boolean(*complete);
        }
        Outcome::Presence {
            users,
            count,
            truncated,
        } => presence(users, *count, *truncated, out),
        Outcome::Called { result } => {
            let note = W::note(result);
            out.map(1 + count(note));
            out.name("result");
            out.payload(result);
            optional_field(out, "encoding", note);
        }
    }
    out.end_map();
}

fn published<W: Writer>(stored: Option<MessageId>, duplicate: bool, out: &mut W) {
    out.map(count(stored) + usize::from(duplicate));
    if let Some(stored) = stored {
        id(out, "id", stored);
    }
    if duplicate {
        out.name("duplicate");
        out.boolean(true);
    }
}

fn subscribed<W: Writer>(topics: &[Subscribed], rejected: &[Rejected], out: &mut W) {
    out.map(2);
    out.name("topics");
    out.array(topics.len());
    for granted in topics {
        out.map(3);
        field(out, "topic", granted.topic.as_str());
        id(out, "position", granted.position);
        out.name("recovered");
        out.boolean(granted.recovered);
        out.end_map();
    }
    out.end_array();
    out.name("rejected");
    out.array(rejected.len());
    for refused in rejected {
        out.map(2);
        field(out, "topic", &refused.topic);
        field(out, "code", refused.code.as_str());
        out.end_map();
    }
    out.end_array();
}

fn refreshed<W: Writer>(expires_at_ms: Option<u64>, dropped: &[TopicName], out: &mut W) {
    out.map(1 + usize::from(!dropped.is_empty()));
    out.name("expires_at");
    match expires_at_ms {
        Some(at) => out.unsigned(at),
        None => out.null(),
    }
    if !dropped.is_empty() {
        out.name("dropped_topics");
        names(dropped, out);
    }
}

fn presence<W: Writer>(users: &[UserId], total: u64, truncated: bool, out: &mut W) {
    out.map(3);
    out.name("users");
    out.array(users.len());
    for user in users {
        out.text(user.as_str());
    }
    out.end_array();
    out.name("count");
    out.unsigned(total);
    out.name("truncated");
    out.boolean(truncated);
}

fn id<W: Writer>(out: &mut W, name: &'static str, id: MessageId) {
    out.name(name);
    out.digits(id.get());
}
