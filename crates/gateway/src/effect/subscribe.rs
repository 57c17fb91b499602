//! Join topics, and leave them.

use std::sync::Arc;

use sparkway_hub::{Coverage, Hub};
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
        if self.is_over() {
            return;
        }
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
        // A topic that is held already keeps its start: what was published since then may still be
        // on its way to the client.
        let starts: Vec<MessageId> = topics
            .iter()
            .map(|topic| {
                self.start_held(topic)
                    .unwrap_or_else(|| self.start_of(topic))
            })
            .collect();
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

    fn start_held(&self, topic: &TopicName) -> Option<MessageId> {
        self.subs()
            .iter()
            .find(|sub| sub.topic == *topic)
            .map(|sub| sub.start)
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
        self.write(change).await.map_err(|error| failure_of(&error))
    }

    /// Replays what was asked for, then joins the topic at exactly the position reached.
    async fn join_one(
        self: &Arc<Self>,
        sub: Subscription,
        from: Option<From>,
    ) -> Result<Subscribed, StoreFailure> {
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
        if is_new && position > sub.start {
            // Something came in between: let the record begin where the client's view does.
            let topics = std::slice::from_ref(&sub.topic);
            let written = self
                .remember(topics, &[position], sub.echo, sub.presence)
                .await;
            if let Err(failure) = written {
                tracing::debug!(session = %self.session, ?failure, "start not written");
            }
        }
        Ok(Subscribed {
            topic: sub.topic,
            position,
            recovered,
        })
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
        let bound = self.worker.hub().position(partition);
        while after < bound && !self.is_over() {
            let want = Want {
                topic: sub.topic.clone(),
                after,
            };
            let pages = shared.store.read(partition, vec![want], PAGE).await;
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

    /// Takes the place in the hub: one step without an await. With `replayed`, entries between it
    /// and this worker's position are queued in the same step; everything later comes from the hub.
    fn take_place(
        &self,
        sub: &Subscription,
        replayed: Option<MessageId>,
    ) -> Result<Place, StoreFailure> {
        let topic = &sub.topic;
        let shared = &self.worker.shared;
        let grants = self.grants.load();
        let granted = shared.may_subscribe(&grants, topic, self.user.as_ref(), self.session);
        if self.is_over() || !granted {
            // It ended, or lost the grant, while this was under way.
            return Err(StoreFailure::Unavailable);
        }
        let mut hub = self.worker.hub();
        let position = hub.position(shared.layout.of(topic.as_str()));
        let Some(lot) = shared.lot_of(topic) else {
            return Err(StoreFailure::Unavailable);
        };
        let (newest, between) = {
            let log = lot.log();
            if replayed.is_some_and(|from| log.coverage(topic, from) != Coverage::Whole) {
                return Ok(Place::Behind);
            }
            let between = replayed.map(|from| log.between(topic, from, position));
            (
                log.newest_until(topic, position),
                between.unwrap_or_default(),
            )
        };
        for entry in between {
            if entry.is_for(self.session, sub.echo) {
                self.tell(&sparkway_protocol::Event::Message(entry));
            }
        }
        let is_new = self.sit_down(&mut hub, sub, position);
        Ok(Place::Taken {
            position: newest,
            is_new,
        })
    }

    /// Joins the hub, or changes how the topic is received. Says whether it is new.
    fn sit_down(&self, hub: &mut Hub, sub: &Subscription, position: MessageId) -> bool {
        let Subscription {
            topic,
            start,
            echo,
            presence,
        } = sub;
        let mut subs = self.subs();
        if let Some(known) = subs.iter_mut().find(|known| known.topic == *topic) {
            hub.leave(topic, known.slot);
            (known.slot, _) = hub.join(topic, &self.seat, known.start, *echo);
            (known.echo, known.presence) = (*echo, *presence);
            self.worker.shared.unwant(topic);
            return false;
        }
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
        true
    }
}

/// How an attempt to take a place ended.
enum Place {
    /// The topic is joined; its newest id is `position`.
    Taken { position: MessageId, is_new: bool },
    /// The ring does not reach back to what was replayed: replay more.
    Behind,
}

pub(super) fn unavailable(error: StoreError) -> StoreFailure {
    failure_of(&error.into())
}
