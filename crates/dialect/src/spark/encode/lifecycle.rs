//! Frames about the session itself.

use sparkway_protocol::code::Retry;
use sparkway_protocol::event::{ResumeFailure, Welcome};
use sparkway_protocol::{CloseReason, Event, FrameId, Refused};

use super::{close, count, field, open, open_acked, optional_field};
use crate::spark::encode::topics;
use crate::writer::Writer;

/// Fields that [`welcome`] writes into `data`.
const WELCOME_FIELDS: usize = 5;

pub(super) fn connected<W: Writer>(id: Option<&FrameId>, particulars: &Welcome, out: &mut W) {
    open(out, "ws:connect_ack", WELCOME_FIELDS + count(id));
    optional_field(out, "ackId", id.map(FrameId::as_str));
    welcome(particulars, out);
    close(out);
}

pub(super) fn resumed<W: Writer>(event: &Event, out: &mut W) {
    let Event::Resumed {
        id,
        control,
        welcome: particulars,
        replay_count,
        gaps,
        dropped_topics,
    } = event
    else {
        return;
    };
    let fields = WELCOME_FIELDS + 3 + count(id.as_ref());
    open_acked(out, "ws:resume_ack", control, fields);
    optional_field(out, "ackId", id.as_ref().map(FrameId::as_str));
    welcome(particulars, out);
    out.name("replay_count");
    out.unsigned(*replay_count);
    out.name("gaps");
    out.array(gaps.len());
    for gap in gaps {
        out.map(4);
        field(out, "topic", gap.topic.as_str());
        topics::hole(gap, out);
        out.end_map();
    }
    out.end_array();
    out.name("dropped_topics");
    topics::names(dropped_topics, out);
    close(out);
}

fn welcome<W: Writer>(welcome: &Welcome, out: &mut W) {
    field(out, "session_id", &welcome.session.to_string());
    field(out, "heartbeat_token", &welcome.heartbeat_token);
    out.name("heartbeat_interval");
    out.unsigned(welcome.heartbeat_interval_ms);
    out.name("last_message_id");
    match welcome.positions.as_slice() {
        [] => out.digits(0),
        [only] => out.digits(only.get()),
        several => {
            out.array(several.len());
            for position in several {
                out.digits(position.get());
            }
            out.end_array();
        }
    }
    out.name("gateway");
    out.map(4 + count(welcome.user.as_ref()));
    field(out, "node", welcome.node.as_str());
    field(out, "version", env!("CARGO_PKG_VERSION"));
    out.name("resume_window");
    out.unsigned(welcome.resume_window_ms);
    out.name("max_message_bytes");
    out.unsigned(welcome.max_message_bytes);
    if let Some(user) = &welcome.user {
        field(out, "user", user.as_str());
    }
    out.end_map();
}

pub(super) fn resume_failed<W: Writer>(id: Option<&FrameId>, reason: ResumeFailure, out: &mut W) {
    open(out, "ws:resume_failed", 1 + count(id));
    optional_field(out, "ackId", id.map(FrameId::as_str));
    field(out, "reason", reason.as_str());
    close(out);
}

/// Nothing new: no update fields at all. Something new: both, null for the unchanged one.
pub(super) fn heartbeat_ack<W: Writer>(event: &Event, out: &mut W) {
    let Event::HeartbeatAck {
        id,
        control,
        updated_token,
        updated_interval_ms,
    } = event
    else {
        return;
    };
    let changed = updated_token.is_some() || updated_interval_ms.is_some();
    let fields = count(id.as_ref()) + if changed { 2 } else { 0 };
    match control {
        Some(control) => open_acked(out, "ws:heartbeat_ack", control, fields),
        None => open(out, "ws:heartbeat_ack", fields),
    }
    optional_field(out, "ackId", id.as_ref().map(FrameId::as_str));
    if changed {
        out.name("updated_token");
        match updated_token {
            Some(token) => out.text(token),
            None => out.null(),
        }
        out.name("updated_heartbeat_interval");
        match updated_interval_ms {
            Some(interval) => out.unsigned(*interval),
            None => out.null(),
        }
    }
    close(out);
}

pub(super) fn refused<W: Writer>(refused: &Refused, out: &mut W) {
    let fields = 3 + count(refused.id.as_ref()) + count(refused.retry_after_ms);
    open(out, "ws:error", fields);
    optional_field(out, "ackId", refused.id.as_ref().map(FrameId::as_str));
    field(out, "code", refused.code.as_str());
    field(out, "message", &refused.message);
    out.name("retryable");
    out.boolean(refused.code.retry() == Retry::Yes);
    retry_after(refused.retry_after_ms, out);
    close(out);
}

pub(super) fn closing<W: Writer>(
    reason: CloseReason,
    resume: bool,
    retry_after_ms: Option<u64>,
    out: &mut W,
) {
    open(out, "ws:close", 3 + count(retry_after_ms));
    out.name("code");
    out.unsigned(u64::from(reason.code()));
    field(out, "reason", reason.text());
    out.name("resume");
    out.boolean(resume);
    retry_after(retry_after_ms, out);
    close(out);
}

fn retry_after<W: Writer>(after_ms: Option<u64>, out: &mut W) {
    if let Some(after_ms) = after_ms {
        out.name("retry_after");
        out.unsigned(after_ms);
    }
}
