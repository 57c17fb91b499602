//! What a client sends: publishes with their retries, subscriptions, signs of life.

use std::sync::Arc;
use std::time::Duration;

use chaos::checker::history::{Key, Request, Topic, What};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Member, Phase};

/// A message until it is acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) frame: Arc<str>,
    pub(super) topic: Topic,
    pub(super) key: Key,
    /// When it is to be sent again, while it waits for that.
    pub(super) again_at: Option<Instant>,
}

/// Most messages without an answer.
const OUTSTANDING: usize = 16;

impl Member {
    fn name_frame(&mut self, kind: char) -> Arc<str> {
        self.next_frame += 1;
        format!("{kind}{}", self.next_frame).into()
    }

    pub(super) fn compose(&mut self, topic: Topic) -> Publish {
        self.next_number += 1;
        let key = Key {
            publisher: self.plan.number,
            number: self.next_number,
        };
        Publish {
            frame: self.name_frame('p'),
            topic,
            key,
            again_at: None,
        }
    }

    pub(super) fn frame_of(&self, publish: &Publish) -> Value {
        let Key { publisher, number } = publish.key;
        let filling = "x".repeat(self.plan.bytes);
        let mut frame = json!({
            "type": "topic:publish", "id": *publish.frame, "topic": *publish.topic,
            "data": [publisher, number, filling],
        });
        if self.plan.is_replicated {
            frame["durability"] = json!("replicated");
        }
        frame
    }

    /// Sends a frame and remembers that it is to be answered.
    fn ask(&mut self, id: &Arc<str>, request: Request, frame: &Value) {
        let Some(conn) = self.wire.as_ref().map(|wire| wire.number) else {
            return;
        };
        let noted = What::Asked {
            id: id.clone(),
            request: request.clone(),
        };
        self.note(conn, noted);
        self.asked.insert(id.clone(), (request, Instant::now()));
        if let Some(wire) = &self.wire {
            wire.send(frame);
        }
    }

    fn send(&mut self, publish: &Publish) {
        let frame = self.frame_of(publish);
        let request = Request::Publish {
            topic: publish.topic.clone(),
            key: publish.key,
        };
        self.ask(&publish.frame, request, &frame);
    }

    /// After a reconnect: everything that has no answer, in the order in which it was sent.
    pub(super) fn resend(&mut self) {
        let mut all: Vec<Publish> = self.outstanding.iter().cloned().collect();
        for publish in &mut all {
            publish.again_at = None;
            self.send(publish);
        }
        self.outstanding = all.into();
    }

    pub(super) fn retry(&mut self, frame: &Arc<str>, again_at: Instant) {
        let mut outstanding = self.outstanding.iter_mut();
        if let Some(publish) = outstanding.find(|publish| publish.frame == *frame) {
            publish.again_at = Some(again_at);
        }
    }

    pub(super) fn publish_due(&mut self, now: Instant) {
        let due: Vec<Publish> = self
            .outstanding
            .iter_mut()
            .filter(|publish| publish.again_at.is_some_and(|at| at <= now))
            .map(|publish| {
                publish.again_at = None;
                publish.clone()
            })
            .collect();
        for publish in &due {
            self.send(publish);
        }
        let Some((topics, range)) = self.plan.publishes.clone() else {
            self.has_marked = true;
            return;
        };
        if self.phase == Phase::Mark && !self.has_marked {
            self.has_marked = true;
            for topic in topics {
                self.begin(topic);
            }
        } else if self.phase == Phase::Run
            && self.agenda.publish <= now
            && self.outstanding.len() < OUTSTANDING
        {
            self.agenda.publish = self.after(&range);
            for _ in 0..self.plan.burst {
                let at = self.rng.random_range(0..topics.len().max(1));
                if let Some(topic) = topics.get(at) {
                    self.begin(topic.clone());
                }
            }
        }
    }

    fn begin(&mut self, topic: Topic) {
        let publish = self.compose(topic);
        self.send(&publish);
        self.outstanding.push_back(publish);
    }

    /// Asks for the topics that are wanted, and to be rid of those that are not.
    pub(super) fn follow(&mut self, now: Instant) {
        let under_way =
            |request: &Request| matches!(request, Request::Subscribe(_) | Request::Unsubscribe(_));
        if self.again_at > now || self.asked.values().any(|(request, _)| under_way(request)) {
            return;
        }
        // A refusal is not repeated at once.
        let again_at = now + Duration::from_millis(250);
        let missing: Vec<Topic> = self.wanted.difference(&self.held).cloned().collect();
        if !missing.is_empty() {
            self.again_at = again_at;
            let id = self.name_frame('s');
            let names: Vec<&str> = missing.iter().map(AsRef::as_ref).collect();
            let frame = json!({"type": "topic:subscribe", "id": *id, "data": {"topics": names}});
            self.ask(&id, Request::Subscribe(missing.clone()), &frame);
        }
        if !self.leaving.is_empty() {
            self.again_at = again_at;
            let topics: Vec<Topic> = self.leaving.iter().cloned().collect();
            let id = self.name_frame('u');
            let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
            let frame = json!({"type": "topic:unsubscribe", "id": *id, "data": {"topics": names}});
            self.ask(&id, Request::Unsubscribe(topics.clone()), &frame);
        }
    }

    pub(super) fn say_alive(&mut self, now: Instant) {
        if self.agenda.ping <= now && self.pinged.is_none() {
            self.agenda.ping = now + Duration::from_secs(1);
            self.pinged = Some(now);
            let id = self.name_frame('g');
            let frame = json!({"type": "ws:ping", "id": *id});
            self.ask(&id, Request::Ping, &frame);
        }
        let Some(wire) = &self.wire else { return };
        if self.agenda.heartbeat <= now
            && let Some((_, token)) = &self.session
        {
            self.agenda.heartbeat = now + Duration::from_secs(10);
            wire.send(&json!({"type": "ws:heartbeat", "data": {"heartbeat_token": token}}));
        }
        if self.agenda.acknowledge <= now
            && let Some(id) = self.to_acknowledge.take()
        {
            self.agenda.acknowledge = now + Duration::from_millis(500);
            wire.send(&json!({"type": "ws:ack", "data": {"ackId": id.to_string()}}));
        }
    }
}
