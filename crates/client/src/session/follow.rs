//! Topics: asking for them, handing their messages on, leaving and taking them up again.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sparkway_protocol::{MessageId, TopicName};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Control;
use super::machine::Machine;
use crate::Error;
use crate::frame::ServerFrame;
use crate::requests::Kind;
use crate::subscription::{Event, Loss, LossReason, Message, Start, Subscribe, rejected};
use crate::topics::{Stage, Topic, Verdict};

/// Most topics of one subscribe frame (protocol.md).
const TOPICS_PER_FRAME: usize = sparkway_protocol::limits::TOPICS_PER_REQUEST;

/// One topic in the result of a subscribe.
#[derive(Deserialize)]
struct Grant {
    topic: Box<str>,
    #[serde(default)]
    position: Box<str>,
    #[serde(default)]
    recovered: bool,
}

type Reply = oneshot::Sender<Result<Value, Error>>;

impl Machine {
    /// Takes on what the handle asks about topics.
    pub(super) fn follow(&mut self, control: Control) {
        match control {
            Control::Subscribe {
                topics,
                wish,
                events,
                reply,
            } => {
                if let Err(error) = self.check(&topics) {
                    let _ = reply.send(Err(error));
                    return;
                }
                for topic in &topics {
                    self.topics
                        .insert(Arc::clone(topic), Topic::new(events.clone(), wish));
                }
                self.ask_for(topics, wish, Some(reply));
            }
            Control::Unsubscribe { topics, reply } => {
                for topic in &topics {
                    self.topics.remove(topic);
                }
                self.leave(topics, Some(reply));
            }
            Control::Cut { .. } | Control::Close { .. } | Control::Abandon { .. } => {}
        }
    }

    fn check(&self, topics: &[Arc<str>]) -> Result<(), Error> {
        if topics.is_empty() || topics.len() > TOPICS_PER_FRAME {
            let text = format!(
                "topics must be 1 to {TOPICS_PER_FRAME}, not {}",
                topics.len()
            );
            return Err(Error::Invalid(text.into()));
        }
        for topic in topics {
            TopicName::parse(topic)
                .map_err(|error| Error::Invalid(format!("topic {topic:?} {error}").into()))?;
            // A subscription that was dropped is over, also where its topic was not left yet.
            if self
                .topics
                .get(topic)
                .is_some_and(|known| !known.events.is_closed())
            {
                return Err(Error::AlreadySubscribed((**topic).into()));
            }
        }
        Ok(())
    }

    fn ask_for(&mut self, topics: Vec<Arc<str>>, wish: Subscribe, reply: Option<Reply>) {
        let mut data = Map::new();
        data.insert("topics".to_owned(), json!(topics));
        match wish.start {
            Start::Now => {}
            Start::Since(id) => drop(data.insert("since".to_owned(), json!(id.to_string()))),
            Start::Rewind(newest) => drop(data.insert("rewind".to_owned(), json!(newest))),
        }
        if wish.presence {
            data.insert("presence".to_owned(), json!(true));
        }
        if !wish.echo {
            data.insert("echo".to_owned(), json!(false));
        }
        for topic in &topics {
            if let Some(topic) = self.topics.get_mut(topic) {
                topic.asked = wish.start;
            }
        }
        self.ask("topic:subscribe", &data, Kind::Subscribe(topics), reply);
    }

    fn leave(&mut self, topics: Vec<Arc<str>>, reply: Option<Reply>) {
        let data = json!({ "topics": topics });
        self.ask("topic:unsubscribe", &data, Kind::Unsubscribe(topics), reply);
    }

    /// The gateway granted some of `topics` and refused others.
    pub(super) fn granted(&mut self, topics: &[Arc<str>], result: &Value) {
        let grants: Vec<Grant> = result
            .get("topics")
            .and_then(|grants| Vec::deserialize(grants).ok())
            .unwrap_or_default();
        for grant in grants {
            let Some(name) = topics.iter().find(|name| ***name == *grant.topic) else {
                continue;
            };
            let Some(topic) = self.topics.get_mut(name) else {
                continue;
            };
            topic.granted(MessageId::parse(&grant.position).unwrap_or_default());
            if let (false, Start::Since(after)) = (grant.recovered, topic.asked) {
                self.lose(&Loss {
                    topic: Arc::clone(name),
                    reason: LossReason::NotRecovered,
                    after: Some(after),
                    before: None,
                });
            }
        }
        for refused in rejected(result) {
            self.end_topic(&refused.topic, &refused.code);
        }
    }

    /// A subscribe or unsubscribe was refused as a whole.
    pub(super) fn follow_refused(&mut self, kind: &Kind, code: &str) {
        if let Kind::Subscribe(topics) = kind {
            for topic in topics {
                self.end_topic(topic, code);
            }
        }
    }

    /// Topics were left: those that only wait for room may come back.
    pub(super) fn left(&mut self, topics: &[Arc<str>]) {
        for name in topics {
            if let Some(topic) = self.topics.get_mut(name)
                && topic.stage == Stage::Leaving
            {
                topic.stage = Stage::Away;
            }
        }
    }

    /// Nothing more comes from this topic.
    pub(super) fn end_topic(&mut self, name: &str, code: &str) {
        if let Some((name, topic)) = self.topics.remove_entry(name) {
            // A full queue means the application will find the end of the stream instead.
            let _ = topic.events.try_send(Event::Ended {
                topic: name,
                code: code.into(),
            });
        }
    }

    /// Hands a message on.
    pub(super) fn deliver(&mut self, frame: ServerFrame, now: Instant) {
        let Some(name) = frame.topic.as_deref() else {
            return self.tally.oddities.one();
        };
        let Some((name, _)) = self.topics.get_key_value(name) else {
            return; // left a moment ago
        };
        let name = Arc::clone(name);
        let id = frame.id.as_deref().and_then(MessageId::parse);
        let Some(topic) = self.topics.get_mut(&name) else {
            return;
        };
        if matches!(topic.stage, Stage::Leaving | Stage::Away) {
            return; // asked for again once there is room
        }
        match id.map(|id| topic.judge(id)) {
            Some(Verdict::Duplicate) => {
                if !self.is_overlapping && !topic.may_repeat {
                    self.tally.duplicates.one();
                }
                return;
            }
            Some(Verdict::Late) => self.tally.reordered.one(),
            Some(Verdict::New) | None => {}
        }
        let message = Message {
            topic: Arc::clone(&name),
            id,
            from: frame.from,
            ts: frame.ts,
            replayed: self.is_replaying,
            is_base64: frame.is_base64,
            body: frame.body,
        };
        match topic.events.try_send(Event::Message(message)) {
            Ok(()) => {
                self.tally.delivered.one();
                if self.is_replaying {
                    self.tally.replayed.one();
                }
                if let Some(id) = id {
                    topic.delivered(id);
                    self.note_for_ack(id, now);
                }
            }
            Err(TrySendError::Full(_)) => {
                if let Some(id) = id {
                    topic.forget(id);
                }
                self.pause(&name);
            }
            Err(TrySendError::Closed(_)) => {
                self.topics.remove(&name);
                self.leave(vec![name], None);
            }
        }
    }

    /// Leaves a topic whose application does not read: its messages wait in the log, not here.
    fn pause(&mut self, name: &Arc<str>) {
        if let Some(topic) = self.topics.get_mut(name)
            && topic.stage != Stage::Leaving
        {
            topic.stage = Stage::Leaving;
            self.has_paused = true;
            self.tally.pauses.one();
            self.leave(vec![Arc::clone(name)], None);
        }
    }

    /// Takes up topics whose queue has room again, and tells losses that found none.
    pub(super) fn take_up_again(&mut self) {
        let mut ready = Vec::new();
        let mut has_paused = false;
        for (name, topic) in &mut self.topics {
            let is_told = topic.tell_owed();
            match topic.stage {
                Stage::Away if topic.has_room() => {
                    topic.stage = Stage::Asked;
                    ready.push((Arc::clone(name), topic.again()));
                }
                Stage::Away | Stage::Leaving => has_paused = true,
                Stage::Asked | Stage::Live => {}
            }
            has_paused |= !is_told;
        }
        self.has_paused = has_paused;
        for (name, wish) in ready {
            self.ask_for(vec![name], wish, None);
        }
    }

    /// Something of a topic is gone for good.
    pub(super) fn lose(&mut self, loss: &Loss) {
        self.tally.losses.one();
        if loss.reason == LossReason::Rewound
            && let Some(id) = loss.before.or(loss.after)
        {
            self.positions.lower(id);
        }
        if let Some(topic) = self.topics.get_mut(&loss.topic) {
            topic.lost(loss);
            self.has_paused |= !topic.tell_owed();
        }
    }

    /// The session is a new one: every topic is asked for again from where it stands.
    pub(super) fn ask_for_all(&mut self) {
        for topic in self.topics.values_mut() {
            if topic.stage == Stage::Leaving {
                topic.stage = Stage::Away;
            }
        }
        self.ask_again(|topic| topic.stage == Stage::Live);
    }

    /// A resumed session: topics whose history was cut off before its first message are asked for
    /// again, for no id says where they stand.
    pub(super) fn ask_for_unplaced(&mut self) {
        self.ask_again(|topic| topic.stage == Stage::Live && topic.cursor.is_none());
    }

    fn ask_again(&mut self, wanted: impl Fn(&Topic) -> bool) {
        let mut groups: HashMap<Subscribe, Vec<Arc<str>>> = HashMap::new();
        for (name, topic) in self.topics.iter_mut().filter(|(_, topic)| wanted(topic)) {
            topic.stage = Stage::Asked;
            groups
                .entry(topic.again())
                .or_default()
                .push(Arc::clone(name));
        }
        for (wish, topics) in groups {
            for chunk in topics.chunks(TOPICS_PER_FRAME) {
                self.ask_for(chunk.to_vec(), wish, None);
            }
        }
    }
}
