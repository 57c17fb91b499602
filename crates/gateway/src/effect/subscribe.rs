//! Join topics, and leave them.

use std::sync::Arc;

use sparkway_metrics::SubscribeResult;
use sparkway_protocol::event::{Rejected, Subscribed};
use sparkway_protocol::{Code, MessageId, Since, TopicName};
use sparkway_session::{Input, StoreFailure, SubscribeOutcome, SubscribeRequest};
use sparkway_store::{Remember, StoreError, Subscription, Want};

use super::since::From;
use crate::appender::failure_of;
use crate::attached::{Attached, Sub};
use crate::connection::Connection;

/// Entries per page of a `since` replay.
const PAGE: usize = 64;

/// How topics are subscribed.
#[derive(Debug)]
struct Way {
    since: Since,
    since_each: Vec<(Box<str>, MessageId)>,
    echo: bool,
    presence: bool,
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
        self.worker.shared.tasks.spawn(async move {
            let id = request.id.clone();
            let result = attached.subscribe(request).await.map(Box::new);
            if result == Err(StoreFailure::Gone) {
                attached.restore();
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
        let shared = Arc::clone(&self.worker.shared);
        let grants = self.grants.load_full();
        let mut rejected = request.rejected;
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            if shared.may_subscribe(&grants, &topic, self.user.as_ref(), self.session) {
                topics.push(topic);
            } else {
                rejected.push(Rejected {
                    topic: topic.as_str().into(),
                    code: Code::Forbidden,
                });
            }
        }
        let held: Vec<TopicName> = self.subs().iter().map(|sub| sub.topic.clone()).collect();
        let mut granted = Vec::with_capacity(topics.len());
        let way = Way {
            since: request.since,
            since_each: request.since_each,
            echo: request.echo,
            presence: request.presence,
        };
        if let Err(failure) = self.join_all(&topics, way, &mut granted).await {
            self.undo(&topics, granted.len(), &held).await;
            return Err(failure);
        }
        Ok(SubscribeOutcome { granted, rejected })
    }

    /// The request failed as a whole: leaves what it joined, and takes the other interests back.
    async fn undo(&self, topics: &[TopicName], joined: usize, held: &[TopicName]) {
        let (joined, rest) = topics.split_at_checked(joined).unwrap_or((topics, &[]));
        for topic in rest {
            self.worker.shared.unwant(topic);
        }
        let new: Vec<TopicName> = joined
            .iter()
            .filter(|topic| !held.contains(topic))
            .cloned()
            .collect();
        self.leave_topics(&new);
        let mut change = Remember::nothing(self.session, self.epoch());
        change.unsubscribed = topics
            .iter()
            .filter(|topic| !held.contains(topic))
            .cloned()
            .collect();
        if let Err(error) = self.worker.shared.store.remember(change).await {
            tracing::debug!(session = %self.session, %error, "subscribe not undone in the record");
        }
    }

    /// Makes the topics live, writes them into the record, then joins each: a crash in between
    /// leaves a subscription that begins earlier than the client was told, never later.
    async fn join_all(
        self: &Arc<Self>,
        topics: &[TopicName],
        way: Way,
        granted: &mut Vec<Subscribed>,
    ) -> Result<(), StoreFailure> {
        let (echo, presence) = (way.echo, way.presence);
        let shared = Arc::clone(&self.worker.shared);
        shared
            .make_live(topics)
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
        let starts: Vec<MessageId> = topics.iter().map(|topic| self.start_of(topic)).collect();
        self.remember(topics, &starts, echo, presence).await?;
        for (topic, start) in topics.iter().zip(starts) {
            let from = self.replay_from(topic, way.since(topic), start).await?;
            let sub = Subscription {
                topic: topic.clone(),
                start,
                echo,
                presence,
            };
            granted.push(self.join_one(sub, from).await?);
        }
        Ok(())
    }

    /// Where a subscription made now begins: this worker's position, or the topic's newest id
    /// where that is known to be later.
    fn start_of(&self, topic: &TopicName) -> MessageId {
        let shared = &self.worker.shared;
        let position = self.worker.hub().position(shared.layout.of(topic.as_str()));
        let newest = shared
            .lot_of(topic)
            .map(|lot| lot.log().newest_until(topic, position));
        position.max(newest.unwrap_or_default())
    }

    async fn remember(
        &self,
        topics: &[TopicName],
        starts: &[MessageId],
        echo: bool,
        presence: bool,
    ) -> Result<(), StoreFailure> {
        let mut change = Remember::nothing(self.session, self.epoch());
        change.subscribed = topics
            .iter()
            .zip(starts)
            .map(|(topic, &start)| Subscription {
                topic: topic.clone(),
                start,
                echo,
                presence,
            })
            .collect();
        if change.subscribed.is_empty() {
            return Ok(());
        }
        self.worker
            .shared
            .store
            .remember(change)
            .await
            .map_err(|error| failure_of(&error))
    }

    /// Replays what was asked for, then joins the topic at exactly the position reached.
    async fn join_one(
        self: &Arc<Self>,
        sub: Subscription,
        from: Option<From>,
    ) -> Result<Subscribed, StoreFailure> {
        let recovered = from.is_none_or(|from| from.recovered);
        let mut after = from.map_or(sub.start, |from| from.after);
        let partition = self.worker.shared.layout.of(sub.topic.as_str());
        let bound = self.worker.hub().position(partition);
        while from.is_some() && after < bound {
            let want = Want {
                topic: sub.topic.clone(),
                after,
            };
            let pages = self
                .worker
                .shared
                .store
                .read(partition, vec![want], PAGE)
                .await;
            let Some(page) = pages.map_err(unavailable)?.into_iter().next() else {
                break;
            };
            let last = page
                .entries
                .iter()
                .map(|entry| entry.id)
                .filter(|id| *id <= bound)
                .max();
            for entry in page.entries.into_iter().filter(|entry| entry.id <= bound) {
                self.push_replayed(&sub, entry).await;
            }
            match last {
                Some(last) if page.more => after = last,
                Some(_) | None => break,
            }
        }
        let replayed = from.is_some().then(|| bound.max(after));
        Ok(self.enter(sub, replayed, recovered).await)
    }

    /// Takes the place in the hub: one step without an await. With `replayed`, entries between it
    /// and this worker's position are queued in the same step; everything later comes from the hub.
    async fn enter(
        self: &Arc<Self>,
        sub: Subscription,
        replayed: Option<MessageId>,
        recovered: bool,
    ) -> Subscribed {
        let position = self.take_place(&sub, replayed);
        if position > sub.start {
            // Something came in between: let the record begin where the client's view does.
            let topics = std::slice::from_ref(&sub.topic);
            let written = self
                .remember(topics, &[position], sub.echo, sub.presence)
                .await;
            if let Err(failure) = written {
                tracing::debug!(session = %self.session, ?failure, "start not written");
            }
        }
        Subscribed {
            topic: sub.topic,
            position,
            recovered,
        }
    }

    fn take_place(&self, sub: &Subscription, replayed: Option<MessageId>) -> MessageId {
        let Subscription {
            topic,
            start,
            echo,
            presence,
        } = sub;
        let shared = &self.worker.shared;
        let mut hub = self.worker.hub();
        let position = hub.position(shared.layout.of(topic.as_str()));
        let Some(lot) = shared.lot_of(topic) else {
            return position;
        };
        let (newest, between) = {
            let log = lot.log();
            let between = replayed.map(|from| log.between(topic, from, position));
            (
                log.newest_until(topic, position),
                between.unwrap_or_default(),
            )
        };
        for entry in between
            .into_iter()
            .filter(|entry| entry.is_for(self.session, *echo))
        {
            self.tell(&sparkway_protocol::Event::Message(entry));
        }
        let mut subs = self.subs();
        if let Some(known) = subs.iter_mut().find(|known| known.topic == *topic) {
            // Subscribed already: only the way of it changes.
            hub.leave(topic, known.slot);
            (known.slot, _) = hub.join(topic, &self.seat, known.start, *echo);
            (known.echo, known.presence) = (*echo, *presence);
            shared.unwant(topic);
        } else {
            let start = position.max(*start);
            let (slot, _) = hub.join(topic, &self.seat, start, *echo);
            let topic = topic.clone();
            subs.push(Sub {
                topic,
                start,
                echo: *echo,
                presence: *presence,
                slot,
            });
        }
        newest
    }
}

pub(super) fn unavailable(error: StoreError) -> StoreFailure {
    failure_of(&error.into())
}
