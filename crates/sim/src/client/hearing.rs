//! What a client hears, and what it makes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaos::checker::history::{
    Answer, Conn, Gap, Key, Reason, Request, Session, Topic, What, partition_of,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{Client, Leaving};
use crate::line::Heard;

fn id_of(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn text<'a>(data: &'a Value, name: &str) -> &'a str {
    data.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn ids_of(data: &Value, name: &str) -> Vec<u64> {
    match data.get(name) {
        Some(Value::Array(ids)) => ids.iter().filter_map(id_of).collect(),
        Some(one) => id_of(one).into_iter().collect(),
        None => Vec::new(),
    }
}

fn gap_of(topic: &str, data: &Value) -> Gap {
    let reason = match text(data, "reason") {
        "trimmed" => Reason::Trimmed,
        "expired" => Reason::Expired,
        _ => Reason::Rewound,
    };
    let id = |name| data.get(name).and_then(id_of);
    Gap {
        topic: topic.into(),
        reason,
        after: id("after").unwrap_or_default(),
        before: id("before").unwrap_or(u64::MAX),
    }
}

impl Client {
    pub(super) fn hear(&mut self, conn: Conn, heard: Heard) {
        match heard {
            Heard::Frame(frame) => self.frame(conn, &frame),
            Heard::Closed(code) => {
                self.note(conn, What::Closed { code });
                self.lines.retain(|line| line.number != conn);
                self.stale.retain(|stale| stale.number != conn);
                if self.current == Some(conn) {
                    self.current = None;
                    self.greeted = None;
                    self.again_at = self.soon(60);
                }
            }
        }
    }

    fn frame(&mut self, conn: Conn, frame: &Value) {
        let nothing = Value::Null;
        let data = frame.get("data").unwrap_or(&nothing);
        let in_use = self.current == Some(conn);
        match text(frame, "type") {
            "topic:message" => self.message(conn, frame, data),
            "topic:gap" => {
                let gap = gap_of(text(frame, "topic"), data);
                if in_use && gap.reason == Reason::Rewound {
                    // The last changes of subscriptions may be lost as well.
                    self.held.clear();
                }
                self.note(conn, What::Gap(gap));
            }
            "ws:connect_ack" if in_use => {
                self.take_ticket(data);
                self.last.clear();
                for id in ids_of(data, "last_message_id") {
                    self.raise(id);
                }
                self.note(conn, What::Connected);
                self.resend();
            }
            "ws:resume_ack" => self.resumed(conn, data),
            "ws:resume_failed" if in_use => self.refused(conn, data),
            "ws:ack" | "ws:error" => self.answer(conn, frame, data),
            _ => {}
        }
    }

    fn take_ticket(&mut self, data: &Value) {
        let ticket = (text(data, "session_id"), text(data, "heartbeat_token"));
        self.session = Some((ticket.0.to_owned(), ticket.1.to_owned()));
        self.greeted = None;
    }

    fn raise(&mut self, id: u64) {
        if id > 0 {
            let last = self.last.entry(partition_of(id)).or_default();
            *last = (*last).max(id);
        }
    }

    fn resumed(&mut self, conn: Conn, data: &Value) {
        let list = |name| data.get(name).and_then(Value::as_array);
        let gaps = list("gaps").into_iter().flatten();
        let gaps: Vec<Gap> = gaps.map(|gap| gap_of(text(gap, "topic"), gap)).collect();
        let dropped = list("dropped_topics").into_iter().flatten();
        let dropped = dropped.filter_map(Value::as_str).map(Topic::from).collect();
        if self.current == Some(conn) {
            if gaps.iter().any(|gap| gap.reason == Reason::Rewound) {
                self.held.clear();
            }
            self.note(conn, What::Resumed { gaps, dropped });
            self.take_ticket(data);
            self.resend();
        } else {
            self.note(conn, What::Resumed { gaps, dropped });
        }
    }

    fn refused(&mut self, conn: Conn, data: &Value) {
        if text(data, "reason") == "unavailable" {
            self.leave(Leaving::Reset);
            self.again_at = self.soon(200);
            return;
        }
        self.note(conn, What::ResumeFailed);
        self.hang_up(conn);
        self.begin_anew();
    }

    /// The session is gone: another one, for which everything is asked again.
    fn begin_anew(&mut self) {
        for stale in std::mem::take(&mut self.stale) {
            self.hang_up(stale.number);
        }
        self.done.push(Session {
            steps: std::mem::take(&mut self.steps),
            is_whole: false,
            names_one: self.names_one,
            is_replicated: false,
        });
        self.session = None;
        self.held.clear();
        self.leaving.clear();
        self.asked.clear();
        // Whether they were stored is not known, and no new session can ask.
        self.outstanding.clear();
        self.current = None;
        self.greeted = None;
        self.again_at = Instant::now();
    }

    fn message(&mut self, conn: Conn, frame: &Value, data: &Value) {
        let Some(id) = frame.get("id").and_then(id_of) else {
            return;
        };
        let topic = Topic::from(text(frame, "topic"));
        let number = |at: usize| {
            let number = data.get(at).and_then(Value::as_u64);
            number.and_then(|number| u32::try_from(number).ok())
        };
        let key = Key {
            publisher: number(0).unwrap_or(u32::MAX),
            number: number(1).unwrap_or(u32::MAX),
        };
        let now_ms = self.field.cluster.weather.now_ms();
        self.field.moved_ms.store(now_ms, Ordering::Relaxed);
        self.note(conn, What::Message { topic, id, key });
        if self.current == Some(conn) {
            self.raise(id);
            if self.dice.happens(300)
                && let Some(line) = self.line(conn)
            {
                line.send(&format!(r#"{{"type":"ws:ack","data":{{"ackId":"{id}"}}}}"#));
            }
        }
    }

    fn answer(&mut self, conn: Conn, frame: &Value, data: &Value) {
        let Some(id) = data.get("ackId").and_then(Value::as_str) else {
            return;
        };
        let id: Arc<str> = id.into();
        let asked = if self.current == Some(conn) {
            self.asked.remove(&id)
        } else {
            None
        };
        let nothing = Value::Null;
        let result = data.get("result").unwrap_or(&nothing);
        let answer = if text(frame, "type") == "ws:error" {
            Answer::Refused {
                code: text(data, "code").into(),
            }
        } else if let Some(stored) = result.get("id").and_then(id_of) {
            Answer::Stored { id: stored }
        } else if let Some(topics) = result.get("topics").and_then(Value::as_array) {
            let position = |topic: &Value| {
                let position = topic.get("position").and_then(id_of);
                (
                    Topic::from(text(topic, "topic")),
                    position.unwrap_or_default(),
                )
            };
            Answer::Subscribed(topics.iter().map(position).collect())
        } else {
            Answer::Done
        };
        let noted = What::Answered {
            id: Arc::clone(&id),
            answer: answer.clone(),
        };
        self.note(conn, noted);
        if let Some(request) = asked {
            let is_retryable = data.get("retryable") == Some(&Value::Bool(true));
            self.answered(&id, request, answer, is_retryable);
        }
    }

    fn answered(&mut self, id: &Arc<str>, request: Request, answer: Answer, is_retryable: bool) {
        match (request, answer) {
            (Request::Subscribe(_), Answer::Subscribed(granted)) => {
                self.held
                    .extend(granted.into_iter().map(|(topic, _)| topic));
            }
            (Request::Unsubscribe(topics), Answer::Done) => {
                for topic in topics {
                    self.held.remove(&topic);
                    self.leaving.remove(&topic);
                }
            }
            (Request::Publish { .. }, Answer::Refused { .. }) if is_retryable => {
                let again_at = Some(self.soon(200));
                let mut waiting = self.outstanding.iter_mut();
                if let Some(publish) = waiting.find(|publish| publish.frame == *id) {
                    publish.again_at = again_at;
                }
            }
            (Request::Publish { .. }, Answer::Stored { .. } | Answer::Refused { .. }) => {
                self.outstanding.retain(|publish| publish.frame != *id);
            }
            (Request::Subscribe(_) | Request::Unsubscribe(_), Answer::Refused { .. }) => {
                self.follow_at = self.soon(150);
            }
            _ => {}
        }
    }
}
