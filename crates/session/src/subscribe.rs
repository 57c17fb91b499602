//! Receive topics, or no longer.

use std::collections::VecDeque;

use sparkway_protocol::event::Rejected;
use sparkway_protocol::{Code, FrameId, MessageId, Outcome, Since, Subscribe, TopicName, limits};

use crate::command::acked;
use crate::effect::{Effect, SubscribeRequest};
use crate::input::{StoreFailure, SubscribeOutcome, Surroundings};
use crate::machine::{Effects, Live, Session};

/// A client's wish to join topics, or to leave them.
#[derive(Debug)]
pub(crate) enum Wish {
    Join(Option<FrameId>, Subscribe),
    Leave(Option<FrameId>, Vec<Box<str>>),
    /// A backend's: not answered, grants do not count.
    Enlist(Subscribe),
}

/// How an unsubscribe ended.
#[derive(Debug)]
pub(crate) struct Left {
    /// As the client wrote them.
    pub(crate) topics: Vec<Box<str>>,
    pub(crate) result: Result<(), StoreFailure>,
}

/// Keeps the order of a client's wishes: subscribes run together, and so do unsubscribes, but one
/// kind waits for the other. Else a topic that is left while it is being joined stays joined, and
/// one that is joined again while its leaving is being written is missing in the record.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionQueue {
    under_way: usize,
    /// Whether those under way are subscribes.
    joining: bool,
    waiting: VecDeque<Wish>,
    /// New topics that are asked for and not yet granted.
    reserved: usize,
}

#[cfg(test)]
impl SubscriptionQueue {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Wish {
    const fn joins(&self) -> bool {
        matches!(self, Self::Join(..) | Self::Enlist(_))
    }
}

impl Session {
    pub(crate) fn subscription(
        &mut self,
        wish: Wish,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        self.begin();
        let Some(live) = self.live_mut() else { return };
        live.queue.waiting.push_back(wish);
        live.start_wishes(around, effects);
    }

    /// A backend's subscriptions take their turn among those of the client.
    pub(crate) fn enlist(
        &mut self,
        topics: &[(TopicName, MessageId)],
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let since_each = topics
            .iter()
            .map(|(topic, after)| (topic.as_str().into(), *after));
        let request = Subscribe {
            since_each: since_each.collect(),
            topics: topics
                .iter()
                .map(|(topic, _)| topic.as_str().into())
                .collect(),
            since: Since::Now,
            echo: true,
            presence: false,
        };
        self.subscription(Wish::Enlist(request), around, effects);
    }

    pub(crate) fn subscribed(
        &mut self,
        id: Option<FrameId>,
        result: Result<Box<SubscribeOutcome>, StoreFailure>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if !self.finish() {
            return;
        }
        let Some(live) = self.live_mut() else { return };
        match result {
            Ok(outcome) => {
                let held = live.topics.len();
                for granted in &outcome.granted {
                    if !live.topics.contains(&granted.topic) {
                        if live.topics.is_empty() {
                            // The common case; a vector begins with room for four.
                            live.topics.reserve_exact(1);
                        }
                        live.topics.push(granted.topic.clone());
                    }
                }
                let new = live.topics.len() - held;
                live.queue.reserved = live.queue.reserved.saturating_sub(new);
                let outcome = Outcome::Subscribed {
                    topics: outcome.granted,
                    rejected: outcome.rejected,
                };
                acked(effects, id, outcome);
            }
            Err(failure) => self.failed(id, failure, effects),
        }
        self.next_wishes(around, effects);
    }

    pub(crate) fn unsubscribed(
        &mut self,
        id: Option<FrameId>,
        left: Left,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if !self.finish() {
            return;
        }
        let Some(live) = self.live_mut() else { return };
        let Left { topics, result } = left;
        match result {
            Ok(()) => {
                live.topics
                    .retain(|topic| !topics.iter().any(|text| **text == *topic.as_str()));
                acked(effects, id, Outcome::Unsubscribed { topics });
            }
            Err(failure) => self.failed(id, failure, effects),
        }
        self.next_wishes(around, effects);
    }

    /// One wish is answered: starts those that waited for it.
    fn next_wishes(&mut self, around: &Surroundings<'_>, effects: &mut Effects) {
        let Some(live) = self.live_mut() else { return };
        live.queue.under_way = live.queue.under_way.saturating_sub(1);
        if live.queue.under_way == 0 {
            live.queue.reserved = 0;
        }
        live.start_wishes(around, effects);
    }
}

impl Live {
    /// Starts what may run beside the wishes under way.
    fn start_wishes(&mut self, around: &Surroundings<'_>, effects: &mut Effects) {
        while let Some(wish) = self.queue.waiting.front() {
            if self.queue.under_way > 0 && wish.joins() != self.queue.joining {
                return;
            }
            self.queue.joining = wish.joins();
            self.queue.under_way += 1;
            match self.queue.waiting.pop_front() {
                Some(Wish::Join(id, request)) => {
                    let most = around.settings.topics_per_session;
                    let request = self.checked(id, request, most);
                    effects.push(Effect::Subscribe(Box::new(request)));
                }
                Some(Wish::Enlist(request)) => {
                    let most = around.settings.topics_per_session;
                    let mut request = self.checked(None, request, most);
                    request.by_backend = true;
                    effects.push(Effect::Subscribe(Box::new(request)));
                }
                Some(Wish::Leave(id, topics)) => effects.push(Effect::Unsubscribe { id, topics }),
                None => return,
            }
        }
        // Most sessions subscribe once: an idle one holds no memory for what does not wait.
        self.queue.waiting = VecDeque::new();
    }

    /// The well-formed names of a request, each once, as far as there is room for them.
    fn checked(
        &mut self,
        id: Option<FrameId>,
        request: Subscribe,
        most: usize,
    ) -> SubscribeRequest {
        let mut topics: Vec<TopicName> = Vec::with_capacity(request.topics.len());
        let mut rejected = Vec::new();
        for (at, text) in request.topics.into_iter().enumerate() {
            let code = match TopicName::parse(&text) {
                _ if at >= limits::TOPICS_PER_REQUEST => Code::LimitExceeded,
                Err(_) => Code::Invalid,
                Ok(topic) if topics.contains(&topic) => continue,
                Ok(topic) if self.topics.contains(&topic) => {
                    topics.push(topic);
                    continue;
                }
                Ok(_) if self.topics.len() + self.queue.reserved >= most => Code::LimitExceeded,
                Ok(topic) => {
                    self.queue.reserved += 1;
                    topics.push(topic);
                    continue;
                }
            };
            rejected.push(Rejected { topic: text, code });
        }
        SubscribeRequest {
            id,
            topics,
            rejected,
            since: request.since,
            since_each: request.since_each,
            echo: request.echo,
            presence: request.presence,
            by_backend: false,
        }
    }
}
