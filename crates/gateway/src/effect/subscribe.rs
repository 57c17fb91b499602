//! Join topics, and leave them.

use std::sync::Arc;

use sparkway_metrics::SubscribeResult;
use sparkway_protocol::event::{Rejected, Subscribed};
use sparkway_protocol::{Code, MessageId, Since, TopicName};
use sparkway_session::{Input, StoreFailure, SubscribeOutcome, SubscribeRequest};
use sparkway_store::{Remember, StoreError, Subscription, Want};

use super::place::Place;
use super::since::From;
use crate::appender::failure_of;
use crate::attached::Attached;
use crate::connection::Connection;

/// How topics are subscribed.
#[derive(Debug)]
struct Way {
    since: Since,
    since_each: Vec<(Box<str>, MessageId)>,
    echo: bool,
    presence: bool,
    by_backend: bool,
}

impl Way {
    fn since(&self, topic: &TopicName) -> Since {
        let named = |(name, _): &&(Box<str>, MessageId)| **name == *topic.as_str();
        let own = self.since_each.iter().find(named);
        own.map_or(self.since, |(_, id)| Since::Id(*id))
    }
}

impl Connection {
    pub(super) fn subscribe(&mut self, request: SubscribeRequest) {
        let Some(attached) = self.in_use() else {
            return;
        };
        self.worker.shared.tasks.run(async move {
            let id = request.id.clone();
            let used = attached.epoch();
            let result = attached.subscribe(request).await.map(Box::new);
            if result == Err(StoreFailure::Gone) {
                attached.restore(used);
            }
            let result = result.map_err(|failure| match failure {
                StoreFailure::Gone => StoreFailure::Unavailable,
                other => other,
            });
            attached.count_subscribe(result.as_deref());
            attached.handle.post(Input::Subscribed { id, result });
        });
    }
}

impl Attached {
    fn count_subscribe(&self, result: Result<&SubscribeOutcome, &StoreFailure>) {
        let metrics = &self.worker.shared.metrics.session.subscribes;
        let Ok(outcome) = result else {
            metrics.at(SubscribeResult::Unavailable).inc();
            return;
        };
        metrics
            .at(SubscribeResult::Ok)
            .inc_by(outcome.granted.len() as u64);
        for rejected in &outcome.rejected {
            let label = match rejected.code {
                Code::LimitExceeded => SubscribeResult::Limit,
                Code::Invalid => SubscribeResult::Invalid,
                _ => SubscribeResult::Denied,
            };
            metrics.at(label).inc();
        }
    }

    async fn subscribe(
        self: &Arc<Self>,
        request: SubscribeRequest,
    ) -> Result<SubscribeOutcome, StoreFailure> {
        let grants = self.grants.load_full();
        let mut rejected = request.rejected;
        let mut topics = request.topics;
        if request.by_backend {
            // What the client holds already stays as the client wanted it.
            topics.retain(|topic| self.start_held(topic).is_none());
        } else {
            let refused = self.refused(&grants, &mut topics).await;
            rejected.extend(refused.into_iter().map(|(topic, code)| Rejected {
                topic: topic.as_str().into(),
                code,
            }));
        }
        let held: Vec<TopicName> = self.subs().iter().map(|sub| sub.topic.clone()).collect();
        let mut granted = Vec::with_capacity(topics.len());
        let way = Way {
            since: request.since,
            since_each: request.since_each,
            echo: request.echo,
            presence: request.presence,
            by_backend: request.by_backend,
        };
        if let Err(failure) = self.join_all(&topics, way, &mut granted).await {
            self.undo(&topics, granted.len(), &held).await;
            return Err(failure);
        }
        let shared = &self.worker.shared;
        for topic in topics.iter().filter(|topic| shared.has_presence(topic)) {
            // So that whoever is told that he is in a topic finds himself there.
            shared.presence_written(topic).await;
        }
        Ok(SubscribeOutcome { granted, rejected })
    }

    /// Makes the topics live, writes them into the record, then joins each: a crash in between
    /// leaves a subscription that begins earlier than the client was told, never later.
    async fn join_all(
        self: &Arc<Self>,
        topics: &[TopicName],
        way: Way,
        granted: &mut Vec<Subscribed>,
    ) -> Result<(), StoreFailure> {
        let shared = Arc::clone(&self.worker.shared);
        shared
            .make_live_unless_planted(topics)
            .await
            .map_err(|_| StoreFailure::Unavailable)?;
        for topic in topics {
            let Some(lot) = shared.lot_of(topic) else {
                continue;
            };
            let reached = lot.log().position();
            self.worker
                .wait_for(shared.layout.of(topic.as_str()), reached)
                .await;
        }
        // A topic that is held already keeps its start: what was published since then may still be
        // on its way to the client.
        let starts: Vec<MessageId> = topics
            .iter()
            .map(|topic| {
                self.start_held(topic)
                    .unwrap_or_else(|| self.start_of(topic))
            })
            .collect();
        if self.is_over() {
            // Its subscriptions are gone, so the starts are not those it has: written, they would
            // skip what the client has not seen.
            return Err(StoreFailure::Unavailable);
        }
        self.remember(topics, &starts, &way).await?;
        for (topic, start) in topics.iter().zip(starts) {
            let from = self.replay_from(topic, way.since(topic), start).await?;
            let sub = Subscription {
                topic: topic.clone(),
                start,
                echo: way.echo,
                presence: way.presence,
                by_backend: way.by_backend,
            };
            let (new, is_later) = self.join_one(sub, from).await?;
            granted.push(new.clone());
            if is_later {
                // The record has to begin where the client is told, or a resume brings more.
                let (topic, position) = (new.topic, new.position);
                self.remember(&[topic], &[position], &way).await?;
            }
        }
        Ok(())
    }

    fn start_held(&self, topic: &TopicName) -> Option<MessageId> {
        self.subs()
            .iter()
            .find(|sub| sub.topic == *topic)
            .map(|sub| sub.start)
    }

    /// Where a subscription made now begins: this worker's position, or the topic's newest id, or
    /// what the client named on resume, where one of them is known to be later.
    fn start_of(&self, topic: &TopicName) -> MessageId {
        let shared = &self.worker.shared;
        let position = self.worker.hub().position(shared.layout.of(topic.as_str()));
        let newest = shared
            .lot_of(topic)
            .map(|lot| lot.log().newest_until(topic, position));
        let named = self.named_of(topic);
        position.max(newest.unwrap_or_default()).max(named)
    }

    pub(super) fn named_of(&self, topic: &TopicName) -> MessageId {
        self.named(self.worker.shared.layout.of(topic.as_str()))
    }

    async fn remember(
        &self,
        topics: &[TopicName],
        starts: &[MessageId],
        way: &Way,
    ) -> Result<(), StoreFailure> {
        let mut change = Remember::nothing(self.session, self.epoch());
        change.subscribed = topics
            .iter()
            .zip(starts)
            .map(|(topic, &start)| Subscription {
                topic: topic.clone(),
                start,
                echo: way.echo,
                presence: way.presence,
                by_backend: way.by_backend,
            })
            .collect();
        if change.subscribed.is_empty() {
            return Ok(());
        }
        self.write(change).await.map_err(|error| failure_of(&error))
    }

    /// Replays what was asked for, then joins the topic at exactly the position reached. Says
    /// whether that is later than what is written.
    async fn join_one(
        self: &Arc<Self>,
        sub: Subscription,
        from: Option<From>,
    ) -> Result<(Subscribed, bool), StoreFailure> {
        let recovered = from.is_none_or(|from| from.recovered);
        let mut replayed = from.map(|from| from.after);
        let placed = loop {
            if let Some(after) = replayed {
                replayed = Some(self.replay_topic(&sub, after).await?);
            }
            match self.take_place(&sub, replayed)? {
                Place::Taken { position, is_new } => break (position, is_new),
                // The ring moved on while the replay waited for the socket.
                Place::Behind => {}
            }
        };
        let (position, is_new) = placed;
        let (is_later, topic) = (is_new && position > sub.start, sub.topic);
        let subscribed = Subscribed {
            topic,
            position,
            recovered,
        };
        Ok((subscribed, is_later))
    }

    /// Queues what the log holds of a topic after an id, up to this worker's position. Returns up
    /// to where. A session that is being brought up to date is waited for: what it is sent must
    /// not make the client believe that it has everything before.
    async fn replay_topic(
        &self,
        sub: &Subscription,
        mut after: MessageId,
    ) -> Result<MessageId, StoreFailure> {
        let shared = &self.worker.shared;
        let partition = shared.layout.of(sub.topic.as_str());
        loop {
            let room = self.handle.room.notified();
            if self.seat.is_hooked(partition) || self.is_over() {
                break;
            }
            room.await;
        }
        // This node may have seen less than the client: what lies between is not delivered live.
        let named = self.named(partition);
        self.worker.wait_for(partition, named).await;
        let bound = self.worker.hub().position(partition);
        while after < bound && !self.is_over() {
            let want = Want {
                topic: sub.topic.clone(),
                after,
            };
            let pages = shared
                .store
                .read(partition, vec![want], shared.sizes.page)
                .await;
            let Some(page) = pages.map_err(unavailable)?.into_iter().next() else {
                break;
            };
            let mut last = None;
            for entry in page.entries.into_iter().filter(|entry| entry.id <= bound) {
                last = Some(entry.id);
                self.push_replayed(sub, entry).await;
            }
            match last {
                Some(last) if page.more => after = last,
                Some(_) | None => break,
            }
        }
        Ok(bound.max(after))
    }
}

pub(super) fn unavailable(error: StoreError) -> StoreFailure {
    failure_of(&error.into())
}
