//! Receive topics, or no longer.

use sparkway_protocol::event::Rejected;
use sparkway_protocol::{Code, FrameId, Outcome, Subscribe, TopicName};

use crate::command::acked;
use crate::effect::{Effect, SubscribeRequest};
use crate::input::{StoreFailure, SubscribeOutcome, Surroundings};
use crate::machine::{Effects, Session};

impl Session {
    pub(crate) fn subscribe(
        &mut self,
        id: Option<FrameId>,
        request: Subscribe,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let most = around.settings.topics_per_session;
        let Some(live) = self.live_mut() else { return };
        let mut topics: Vec<TopicName> = Vec::with_capacity(request.topics.len());
        let mut rejected = Vec::new();
        let mut held = live.topics.len();
        for text in request.topics {
            let code = match TopicName::parse(&text) {
                Err(_) => Code::Invalid,
                Ok(topic) if topics.contains(&topic) => continue,
                Ok(topic) if live.topics.contains(&topic) => {
                    topics.push(topic);
                    continue;
                }
                Ok(_) if held >= most => Code::LimitExceeded,
                Ok(topic) => {
                    held += 1;
                    topics.push(topic);
                    continue;
                }
            };
            rejected.push(Rejected { topic: text, code });
        }
        self.begin();
        effects.push(Effect::Subscribe(Box::new(SubscribeRequest {
            id,
            topics,
            rejected,
            since: request.since,
            echo: request.echo,
            presence: request.presence,
        })));
    }

    pub(crate) fn subscribed(
        &mut self,
        id: Option<FrameId>,
        result: Result<Box<SubscribeOutcome>, StoreFailure>,
        effects: &mut Effects,
    ) {
        self.finish();
        let Some(live) = self.live_mut() else { return };
        match result {
            Ok(outcome) => {
                for granted in &outcome.granted {
                    if !live.topics.contains(&granted.topic) {
                        live.topics.push(granted.topic.clone());
                    }
                }
                let outcome = Outcome::Subscribed {
                    topics: outcome.granted,
                    rejected: outcome.rejected,
                };
                acked(effects, id, outcome);
            }
            Err(failure) => self.failed(id, failure, effects),
        }
    }

    pub(crate) fn unsubscribed(
        &mut self,
        id: Option<FrameId>,
        topics: Vec<Box<str>>,
        result: Result<(), StoreFailure>,
        effects: &mut Effects,
    ) {
        self.finish();
        let Some(live) = self.live_mut() else { return };
        match result {
            Ok(()) => {
                live.topics
                    .retain(|topic| !topics.iter().any(|text| **text == *topic.as_str()));
                acked(effects, id, Outcome::Unsubscribed { topics });
            }
            Err(failure) => self.failed(id, failure, effects),
        }
    }
}
