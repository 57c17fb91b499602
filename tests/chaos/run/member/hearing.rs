//! What a client hears, and what it makes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chaos::checker::history::{
    Answer, Conn, Gap, Key, Reason, Request, Session, Topic, What, partition_of,
};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Member;
use crate::wire::Heard;

fn id_of(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn gap_of(topic: &str, data: &Value) -> Gap {
    let reason = match data["reason"].as_str() {
        Some("trimmed") => Reason::Trimmed,
        Some("expired") => Reason::Expired,
        _ => Reason::Rewound,
    };
    Gap {
        topic: topic.into(),
        reason,
        after: id_of(&data["after"]).unwrap_or_default(),
        before: id_of(&data["before"]).unwrap_or(u64::MAX),
    }
}

fn topics_of(value: &Value) -> Vec<Topic> {
    let names = value.as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(Topic::from).collect()
}

impl Member {
    pub(super) fn hear(&mut self, conn: Conn, heard: Heard) {
        if conn < self.first_conn {
            // Of a session that is no more: not this one's history.
            return;
        }
        match heard {
            Heard::Frame(frame) => self.frame(conn, &frame),
            Heard::Closed(code) => self.closed(conn, code),
        }
    }

    fn is_in_use(&self, conn: Conn) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.number == conn)
    }

    fn closed(&mut self, conn: Conn, code: Option<u16>) {
        self.note(conn, What::Closed { code });
        if self.is_in_use(conn) {
            self.wire = None;
            self.greeted = None;
            self.pinged = None;
            self.again_at = Instant::now() + Duration::from_millis(self.rng.random_range(5..120));
        }
        self.stale.retain(|stale| stale.wire.number != conn);
        if let Some(racing) = &mut self.racing {
            racing.over.push(conn);
        }
    }

    fn frame(&mut self, conn: Conn, frame: &Value) {
        let data = &frame["data"];
        match frame["type"].as_str().unwrap_or_default() {
            "topic:message" => self.message(conn, frame),
            "topic:gap" => {
                let gap = gap_of(frame["topic"].as_str().unwrap_or_default(), data);
                let reason = gap.reason;
                self.note(conn, What::Gap(gap));
                if self.is_in_use(conn) {
                    self.make_sure(reason);
                }
            }
            "ws:connect_ack" => self.connected(conn, data),
            "ws:resume_ack" => self.resumed(conn, data),
            "ws:resume_failed" => self.refused(conn, data),
            "ws:ack" | "ws:error" => self.answer(conn, frame),
            "ws:heartbeat_ack" => {
                if let Some(token) = data["updated_token"].as_str()
                    && self.is_in_use(conn)
                    && let Some((_, old)) = &mut self.session
                {
                    token.clone_into(old);
                }
            }
            _ => {}
        }
        // Control frames that want an answer.
        if let Some(id) = frame["id"].as_str()
            && id.starts_with('c')
            && let Some(wire) = &self.wire
            && wire.number == conn
        {
            wire.send(&json!({"type": "ws:ack", "data": {"ackId": id}}));
        }
    }

    pub(super) fn take_ticket(&mut self, data: &Value) {
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        self.session = Some((text("session_id"), text("heartbeat_token")));
    }

    fn connected(&mut self, conn: Conn, data: &Value) {
        self.take_ticket(data);
        self.greeted = None;
        self.last.clear();
        let begins = &data["last_message_id"];
        let one = std::slice::from_ref(begins);
        let ids = begins.as_array().map_or(one, Vec::as_slice).iter();
        for id in ids.filter_map(id_of).filter(|id| *id > 0) {
            self.raise(id);
        }
        self.note(conn, What::Connected);
    }

    pub(super) fn raise(&mut self, id: u64) {
        let last = self.last.entry(partition_of(id)).or_default();
        *last = (*last).max(id);
    }

    fn resumed(&mut self, conn: Conn, data: &Value) {
        let gaps = data["gaps"].as_array().into_iter().flatten();
        let gaps = gaps.map(|gap| gap_of(gap["topic"].as_str().unwrap_or_default(), gap));
        let what = What::Resumed {
            gaps: gaps.collect(),
            dropped: topics_of(&data["dropped_topics"]),
        };
        self.note(conn, what);
        if self.is_in_use(conn) {
            self.take_ticket(data);
            self.greeted = None;
            self.resend();
            self.haunt();
            if data["gaps"].to_string().contains("rewound") {
                self.make_sure(Reason::Rewound);
            }
        } else if let Some(racing) = &mut self.racing {
            racing.welcomed.push((conn, data.clone()));
        }
    }

    /// A store that lost messages may have lost the last changes of subscriptions as well.
    fn make_sure(&mut self, reason: Reason) {
        if reason == Reason::Rewound {
            self.held.clear();
        }
    }

    fn refused(&mut self, conn: Conn, data: &Value) {
        let is_final = data["reason"] != "unavailable";
        *self
            .field
            .refusals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .entry(format!("resume {}", data["reason"]))
            .or_default() += 1;
        if let Some(racing) = &mut self.racing {
            racing.over.push(conn);
            let wire = racing.wires.iter().find(|wire| wire.number == conn);
            wire.into_iter().for_each(crate::wire::Wire::reset);
            return;
        }
        if !self.is_in_use(conn) {
            return;
        }
        if !is_final {
            self.leave(super::link::Leaving::Reset);
            self.again_at = Instant::now() + Duration::from_millis(200);
            return;
        }
        self.note(conn, What::ResumeFailed);
        self.begin_anew();
    }

    /// The session is gone: another one, for which everything is asked again.
    fn begin_anew(&mut self) {
        let left = std::mem::take(&mut self.stale);
        for stale in &left {
            self.note(stale.wire.number, What::Closed { code: None });
        }
        let steps = std::mem::take(&mut self.steps);
        let (is_whole, names_one) = (false, self.plan.names_one);
        self.done.push(Session {
            steps,
            is_whole,
            names_one,
            is_replicated: self.plan.is_replicated,
        });
        self.session = None;
        self.first_conn = self.next_conn + 1;
        self.held.clear();
        self.leaving.clear();
        self.asked.clear();
        // Whether they were stored is not known, and no new session can ask.
        self.outstanding.clear();
        self.wire = None;
        self.greeted = None;
        self.again_at = Instant::now();
    }

    fn message(&mut self, conn: Conn, frame: &Value) {
        let Some(id) = id_of(&frame["id"]) else {
            return;
        };
        let topic = Topic::from(frame["topic"].as_str().unwrap_or_default());
        let number = |at: usize| {
            let number = frame["data"][at].as_u64();
            number.and_then(|number| u32::try_from(number).ok())
        };
        let key = Key {
            publisher: number(0).unwrap_or(u32::MAX),
            number: number(1).unwrap_or(u32::MAX),
        };
        let now = self.field.now_us();
        self.field.moved_us.store(now, Ordering::Relaxed);
        self.note(conn, What::Message { topic, id, key });
        if self.is_in_use(conn) {
            self.raise(id);
            self.to_acknowledge = Some(id);
        }
    }

    fn answer(&mut self, conn: Conn, frame: &Value) {
        let data = &frame["data"];
        let Some(id) = data["ackId"].as_str().map(Arc::<str>::from) else {
            return;
        };
        let asked = if self.is_in_use(conn) {
            self.asked.remove(&id)
        } else {
            None
        };
        let result = &data["result"];
        let answer = if frame["type"] == "ws:error" {
            let code: Arc<str> = data["code"].as_str().unwrap_or_default().into();
            *self
                .field
                .refusals
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .entry(code.to_string())
                .or_default() += 1;
            Answer::Refused { code }
        } else if let Some(stored) = id_of(&result["id"]) {
            Answer::Stored { id: stored }
        } else if let Some(topics) = result["topics"].as_array() {
            let position = |topic: &Value| {
                let name = Topic::from(topic["topic"].as_str()?);
                Some((name, id_of(&topic["position"]).unwrap_or_default()))
            };
            Answer::Subscribed(topics.iter().filter_map(position).collect())
        } else {
            Answer::Done
        };
        let noted = What::Answered {
            id: id.clone(),
            answer: answer.clone(),
        };
        self.note(conn, noted);
        if let Some((request, _)) = asked {
            self.answered(&id, request, answer, data["retryable"] == true);
        }
    }

    fn answered(&mut self, id: &Arc<str>, request: Request, answer: Answer, is_retryable: bool) {
        match (request, answer) {
            (Request::Ping, _) => self.pinged = None,
            (Request::Subscribe(_), Answer::Subscribed(granted)) => {
                for (topic, _) in granted {
                    self.held.insert(topic);
                }
            }
            (Request::Unsubscribe(topics), Answer::Done) => {
                for topic in topics {
                    self.held.remove(&topic);
                    self.leaving.remove(&topic);
                }
            }
            (Request::Publish { .. }, Answer::Refused { .. }) if is_retryable => {
                let again_at = Instant::now() + Duration::from_millis(300);
                self.retry(id, again_at);
            }
            (Request::Publish { .. }, Answer::Stored { .. } | Answer::Refused { .. }) => {
                self.outstanding.retain(|publish| publish.frame != *id);
            }
            _ => {}
        }
    }
}
