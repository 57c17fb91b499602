//! What a live session does with each frame of the gateway.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sparkway_protocol::MessageId;
use sparkway_protocol::close::Next;
use tokio::time::Instant;

use super::machine::{Ending, Machine, Ticket};
use crate::Error;
use crate::backoff::next_after;
use crate::frame::{FrameType, ServerFrame};
use crate::positions::Positions;
use crate::publish::is_duplicate;
use crate::requests::Kind;
use crate::subscription::{Event, Loss, LossReason};
use crate::wire::Closed;

/// `ws:connect_ack` and `ws:resume_ack`.
#[derive(Debug, Deserialize)]
pub(super) struct Welcome {
    session_id: Arc<str>,
    heartbeat_token: String,
    heartbeat_interval: u64,
    #[serde(default)]
    last_message_id: Value,
    #[serde(default)]
    gateway: Value,
    #[serde(default)]
    gaps: Vec<GapFields>,
    #[serde(default)]
    dropped_topics: Vec<Box<str>>,
}

impl Welcome {
    /// The session.
    pub(super) fn session(&self) -> Arc<str> {
        Arc::clone(&self.session_id)
    }

    /// The node, as it names itself.
    pub(super) fn node(&self) -> Arc<str> {
        self.gateway
            .get("node")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into()
    }
}

#[derive(Debug, Deserialize)]
struct GapFields {
    #[serde(default)]
    topic: Option<Box<str>>,
    #[serde(default)]
    reason: Box<str>,
    #[serde(default)]
    after: Option<Box<str>>,
    #[serde(default)]
    before: Option<Box<str>>,
}

impl GapFields {
    fn loss(self, topic: &str) -> Loss {
        let id = |text: Option<Box<str>>| MessageId::parse(&text?);
        Loss {
            topic: self.topic.as_deref().unwrap_or(topic).into(),
            reason: LossReason::read(&self.reason),
            after: id(self.after),
            before: id(self.before),
        }
    }
}

#[derive(Debug, Deserialize)]
struct AckFields {
    #[serde(rename = "ackId")]
    ack_id: Box<str>,
    #[serde(default)]
    result: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorFields {
    #[serde(rename = "ackId")]
    ack_id: Option<Box<str>>,
    pub(super) code: Box<str>,
    pub(super) message: Box<str>,
    pub(super) retryable: bool,
    pub(super) retry_after: Option<u64>,
}

impl ErrorFields {
    pub(super) fn error(self) -> Error {
        Error::Refused {
            code: self.code,
            message: self.message,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeartbeatFields {
    updated_token: Option<String>,
    updated_heartbeat_interval: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FarewellFields {
    code: u16,
    reason: Box<str>,
    resume: bool,
    retry_after: Option<u64>,
    reconnect_after: u64,
}

impl Machine {
    /// A session began or goes on.
    pub(super) fn welcomed(&mut self, welcome: Welcome, is_resumed: bool, now: Instant) {
        self.ticket = Some(Ticket {
            session: welcome.session_id,
            token: welcome.heartbeat_token,
        });
        self.heartbeat.interval = Duration::from_millis(welcome.heartbeat_interval.max(1));
        self.start_heartbeat(now);
        self.is_replaying = is_resumed;
        if is_resumed {
            self.tally.resumes.one();
            for gap in welcome.gaps {
                self.lose(&gap.loss(""));
            }
            for topic in &welcome.dropped_topics {
                self.end_topic(topic, "forbidden");
            }
            self.requests.resumed();
            self.ask_for_unplaced();
        } else {
            self.is_overlapping = false;
            self.positions = Positions::read(&welcome.last_message_id);
            self.requests.begun_anew();
            self.ask_for_all();
        }
    }

    /// The old session cannot be resumed.
    pub(super) fn session_lost(&mut self) {
        if self.ticket.take().is_some() {
            self.tally.sessions_lost.one();
        }
    }

    /// Acts on one frame of a live session.
    pub(super) fn hear(&mut self, frame: ServerFrame, now: Instant) {
        match frame.kind {
            FrameType::Message => return self.deliver(frame, now),
            FrameType::Ack => self.acked(&frame),
            FrameType::Error => self.refused(&frame, now),
            FrameType::HeartbeatAck => self.heartbeat_acked(&frame),
            FrameType::ReplayDone => {
                self.is_replaying = false;
                self.is_overlapping = false;
            }
            FrameType::Drain => {
                let fields: FarewellFields = frame.body.parse().unwrap_or_default();
                self.leave_at = Some(now + Duration::from_millis(fields.reconnect_after));
            }
            FrameType::Close => self.farewell = Some(farewell(&frame)),
            FrameType::Gap => {
                if let Ok(fields) = frame.body.parse::<GapFields>() {
                    self.lose(&fields.loss(frame.topic.as_deref().unwrap_or_default()));
                }
            }
            FrameType::Join | FrameType::Leave => self.presence(&frame),
            FrameType::Ping
            | FrameType::ConnectAck
            | FrameType::ResumeAck
            | FrameType::ResumeFailed
            | FrameType::Other(_) => {}
        }
        self.acknowledge_control(&frame);
    }

    /// A frame with a control id wants a `ws:ack`.
    pub(super) fn acknowledge_control(&mut self, frame: &ServerFrame) {
        if let Some(id) = frame.id.as_deref().filter(|id| id.starts_with('c')) {
            self.say("ws:ack", &json!({ "ackId": id }));
        }
    }

    fn acked(&mut self, frame: &ServerFrame) {
        let Ok(fields) = frame.body.parse::<AckFields>() else {
            return self.tally.oddities.one();
        };
        let Some(pending) = self.requests.take(&fields.ack_id) else {
            return;
        };
        match &pending.request.kind {
            Kind::Publish => {
                self.tally.published.one();
                if is_duplicate(&fields.result) {
                    self.tally.publish_duplicates.one();
                }
            }
            Kind::Subscribe(topics) => self.granted(topics, &fields.result),
            Kind::Unsubscribe(topics) => self.left(topics),
            Kind::Repeatable | Kind::Once => {}
        }
        pending.request.answer(Ok(fields.result));
    }

    fn refused(&mut self, frame: &ServerFrame, now: Instant) {
        let fields: ErrorFields = frame.body.parse().unwrap_or_default();
        let Some(pending) = fields
            .ack_id
            .as_deref()
            .and_then(|id| self.requests.take(id))
        else {
            return self.tally.oddities.one();
        };
        if fields.retryable {
            let hint = Duration::from_millis(fields.retry_after.unwrap_or(0));
            let wait = hint + self.options.backoff.delay(pending.attempt, &mut self.rng);
            self.requests.later(pending, now + wait);
        } else {
            self.follow_refused(&pending.request.kind, &fields.code);
            pending.request.answer(Err(fields.error()));
        }
    }

    fn heartbeat_acked(&mut self, frame: &ServerFrame) {
        let fields: HeartbeatFields = frame.body.parse().unwrap_or_default();
        let beat = self.heartbeat.owed.take();
        if let (Some(token), Some(ticket)) = (fields.updated_token, self.ticket.as_mut()) {
            ticket.token = token;
            self.tally.rotations.one();
        }
        if let Some(interval) = fields.updated_heartbeat_interval {
            self.heartbeat.interval = Duration::from_millis(interval.max(1));
            if let Some(beat) = beat {
                self.heartbeat.due = beat + self.heartbeat.interval;
            }
        }
    }

    fn presence(&mut self, frame: &ServerFrame) {
        let Some((topic, state)) = frame
            .topic
            .as_deref()
            .and_then(|name| self.topics.get_key_value(name))
        else {
            return;
        };
        let (topic, who) = (Arc::clone(topic), frame.data());
        let event = if frame.kind == FrameType::Join {
            Event::Joined { topic, who }
        } else {
            Event::Left { topic, who }
        };
        // Presence is never kept: a full queue drops it, and `presence` tells who is there.
        let _ = state.events.try_send(event);
    }

    /// What follows after the connection ended like this.
    pub(super) fn after(&mut self, closed: &Closed) -> Ending {
        if let Some(ending) = self.farewell.take() {
            return ending;
        }
        match next_after(closed.code) {
            Next::Stop => Ending::Stop(Error::Closed {
                code: closed.code,
                reason: closed.reason.as_str().into(),
            }),
            next @ (Next::Resume | Next::Backoff) => Ending::again(next),
        }
    }
}

/// What the gateway's last words ask for.
fn farewell(frame: &ServerFrame) -> Ending {
    let fields: FarewellFields = frame.body.parse().unwrap_or_default();
    match next_after(Some(fields.code)) {
        Next::Stop if !fields.resume => Ending::Stop(Error::Closed {
            code: Some(fields.code),
            reason: fields.reason,
        }),
        Next::Stop => Ending::Again {
            next: Next::Backoff,
            wait: wait(fields.retry_after),
        },
        next @ (Next::Resume | Next::Backoff) => Ending::Again {
            next,
            wait: wait(fields.retry_after),
        },
    }
}

fn wait(retry_after: Option<u64>) -> Duration {
    Duration::from_millis(retry_after.unwrap_or(0))
}
