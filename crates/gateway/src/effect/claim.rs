//! Take a session over, and bring it up to date.

use std::sync::Arc;

use sparkway_auth::Grants;
use sparkway_protocol::{Epoch, Gap, GapReason, MessageId, Partition, SessionId, TopicName};
use sparkway_session::{
    AttachRequest, Claimed, Cursors, Input, Restored, StoreFailure, StoredSession,
};
use sparkway_store::{Claim, ClaimError, Remember, SessionRecord, StoreError, Subscription};
use tokio::sync::oneshot;

use crate::attached::{Attached, Owned, Sub};
use crate::catchup::{Gathered, Lane, rewound};
use crate::connection::Connection;
use crate::registry::Claiming;
use crate::shared::Shared;

/// A session that this connection claimed, until it is attached.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) attached: Arc<Attached>,
    pub(crate) subscriptions: Vec<Subscription>,
    claiming: Claiming,
}

impl Connection {
    /// Unknown session, foreign session, wrong token, old token: one answer, after the same work.
    pub(super) fn claim(&mut self, session: Option<SessionId>, heartbeat_token: Box<str>) {
        let worker = Arc::clone(&self.worker);
        let handle = Arc::clone(&self.handle);
        let format = self.format;
        let (sender, receiver) = oneshot::channel();
        self.taken = Some(receiver);
        self.worker.shared.tasks.spawn(async move {
            let shared = Arc::clone(&worker.shared);
            match take_over(&shared, session, &heartbeat_token).await {
                Ok(Some((record, claiming))) => {
                    let (claimed, attached, subscriptions) =
                        split(&worker, &handle, format, record);
                    attached.forget(&claimed.dropped_topics);
                    let taken = Taken {
                        attached,
                        subscriptions,
                        claiming,
                    };
                    // The connection may have ended meanwhile; then nobody attaches, and the
                    // session is detached again by its own end below.
                    if let Err(taken) = sender.send(taken) {
                        taken.attached.give_back();
                    }
                    handle.post(Input::Claimed(Ok(Some(Box::new(claimed)))));
                }
                Ok(None) => handle.post(Input::Claimed(Ok(None))),
                Err(error) => {
                    tracing::debug!(%error, "claim not answered");
                    handle.post(Input::Claimed(Err(StoreFailure::Unavailable)));
                }
            }
        });
    }

    pub(super) fn attach(&mut self, request: AttachRequest) {
        let Some(taken) = self
            .taken
            .take()
            .and_then(|mut taken| taken.try_recv().ok())
        else {
            self.handle
                .post(Input::Attached(Err(StoreFailure::Unavailable)));
            return;
        };
        let attached = Arc::clone(&taken.attached);
        self.attached = Some(Arc::clone(&attached));
        if let Some(former) = self.worker.shared.registry.enter(&attached) {
            former.handle.post(Input::Superseded {
                epoch: Epoch(u64::MAX),
            });
        }
        // Entered first: from here on the register finds it.
        let epoch = taken.claiming.heard();
        if epoch > attached.epoch() {
            attached.handle.post(Input::Superseded { epoch });
        }
        let (sender, replay) = oneshot::channel();
        self.replay = Some(sender);
        self.worker.shared.tasks.spawn(async move {
            match attached
                .rejoin(taken.subscriptions, request.positions)
                .await
            {
                Ok((restored, first)) => {
                    attached
                        .handle
                        .post(Input::Attached(Ok(Box::new(restored))));
                    if replay.await.is_ok() {
                        attached.replay(first).await;
                    }
                }
                Err(failure) => attached.handle.post(Input::Attached(Err(failure))),
            }
        });
    }
}

async fn take_over(
    shared: &Arc<Shared>,
    session: Option<SessionId>,
    token: &str,
) -> Result<Option<(SessionRecord, Claiming)>, StoreError> {
    // What is no session id is looked up like one, so that it takes as long.
    let looked_up =
        session.unwrap_or_else(|| SessionId::from_random(rand::random(), Partition::default()));
    let record = shared.store.load(looked_up).await?;
    let user = record.as_ref().and_then(|record| record.user.as_ref());
    let generation = shared.tokens.check(looked_up, user, token);
    let (Some(_), Some(generation), Some(session)) = (&record, generation, session) else {
        return Ok(None);
    };
    let node = shared.id.clone();
    let claiming = Claiming::begin(shared, session);
    let claim = Claim {
        session,
        generation,
        node,
        nonce: rand::random(),
    };
    let mut claimed = shared.store.claim(claim.clone()).await;
    if let Err(ClaimError::Store(_)) = claimed {
        // It may have happened: the nonce makes the second one answer as the first did.
        claimed = shared.store.claim(claim).await;
    }
    match claimed {
        Ok(claimed) => Ok(Some((claimed.record, claiming))),
        Err(ClaimError::Unknown | ClaimError::BadGeneration) => Ok(None),
        Err(ClaimError::Store(error)) => Err(error),
    }
}

fn split(
    worker: &Arc<crate::worker::Worker>,
    handle: &Arc<crate::handle::Handle>,
    format: sparkway_protocol::Format,
    record: SessionRecord,
) -> (Claimed, Arc<Attached>, Vec<Subscription>) {
    let now_ms = worker.shared.clock.now().unix_ms;
    let is_expired = record.expires_at_ms.is_some_and(|end| end <= now_ms);
    // What ran out grants nothing; a refresh brings new grants.
    let grants = match Grants::from_record(&record.grants) {
        Ok(grants) if !is_expired => grants,
        Ok(_) | Err(_) => Grants::none(),
    };
    let (granted, dropped): (Vec<_>, Vec<_>) = record.subscriptions.into_iter().partition(|sub| {
        worker
            .shared
            .may_subscribe(&grants, &sub.topic, record.user.as_ref(), record.session)
    });
    let owned = Owned {
        session: record.session,
        user: record.user.clone(),
        grants,
        expires_at_ms: record.expires_at_ms,
        epoch: record.epoch,
        generations: (record.generation, record.confirmed),
    };
    let names = |subs: &[Subscription]| subs.iter().map(|sub| sub.topic.clone()).collect();
    let claimed = Claimed {
        topics: names(&granted),
        dropped_topics: names(&dropped),
        stored: StoredSession {
            session: record.session,
            user: record.user,
            grants: record.grants,
            expires_at_ms: record.expires_at_ms,
            generation: record.generation,
            confirmed: record.confirmed,
            epoch: record.epoch,
            cursors: Cursors::from_ids(&record.cursors),
        },
    };
    let attached = Attached::new(worker, handle, format, owned);
    (claimed, attached, granted)
}

impl Attached {
    /// Joins the session's topics behind a closed seat, then looks at what it missed.
    async fn rejoin(
        self: &Arc<Self>,
        subscriptions: Vec<Subscription>,
        positions: Option<Cursors>,
    ) -> Result<(Restored, Vec<(Lane, Gathered)>), StoreFailure> {
        let shared = Arc::clone(&self.worker.shared);
        let topics: Vec<TopicName> = subscriptions.iter().map(|sub| sub.topic.clone()).collect();
        if shared.make_live(&topics).await.is_err() || self.is_over() {
            for topic in &topics {
                shared.unwant(topic);
            }
            return Err(StoreFailure::Unavailable);
        }
        for partition in shared.layout.iter() {
            let Some(lot) = shared.lot(partition) else {
                continue;
            };
            let reached = lot.log().position();
            self.worker.wait_for(partition, reached).await;
        }
        if self.is_over() {
            // It ended meanwhile: whoever joins now is never taken out again.
            for topic in &topics {
                shared.unwant(topic);
            }
            return Err(StoreFailure::Unavailable);
        }
        for sub in subscriptions {
            let partition = shared.layout.of(sub.topic.as_str());
            let named = positions
                .as_ref()
                .map_or(MessageId::ZERO, |known| known.of(partition));
            self.join(sub, named);
        }
        let Some(positions) = positions else {
            return Ok(self.join_from_now());
        };
        let mut restored = Restored::default();
        let mut first = Vec::new();
        for partition in shared.layout.iter() {
            let (lane, gathered) = self.look(partition, &positions, &mut restored).await?;
            first.push((lane, gathered));
        }
        Ok((restored, first))
    }

    /// The client named no position: nothing is replayed, live delivery goes on from here, once
    /// `resume_ack` is queued.
    fn join_from_now(&self) -> (Restored, Vec<(Lane, Gathered)>) {
        let hub = self.worker.hub();
        let mut positions = Cursors::default();
        let first = self.worker.shared.layout.iter().map(|partition| {
            let position = hub.position(partition);
            positions.advance(position);
            let gathered = Gathered {
                position,
                ..Gathered::default()
            };
            (
                Lane {
                    partition,
                    position,
                },
                gathered,
            )
        });
        let first = first.collect();
        let positions = positions.ids().to_vec();
        (
            Restored {
                positions,
                ..Restored::default()
            },
            first,
        )
    }

    fn join(&self, sub: Subscription, named: MessageId) {
        let Subscription {
            topic,
            start,
            echo,
            presence,
        } = sub;
        let mut hub = self.worker.hub();
        let (slot, _) = hub.join(&topic, &self.seat, start.max(named), echo);
        self.subs().push(Sub {
            topic,
            start,
            echo,
            presence,
            slot,
        });
    }

    /// The first piece of what the session missed in a partition, and what of it is gone.
    async fn look(
        &self,
        partition: Partition,
        positions: &Cursors,
        restored: &mut Restored,
    ) -> Result<(Lane, Gathered), StoreFailure> {
        let shared = &self.worker.shared;
        let topics = self.topics_of(partition);
        let mut position = positions.of(partition);
        let unavailable = |error: StoreError| {
            tracing::debug!(session = %self.session, %error, "replay not read");
            StoreFailure::Unavailable
        };
        if !topics.is_empty() {
            let holes = shared.store.holes(partition).await.map_err(unavailable)?;
            restored.gaps.extend(rewound(&holes, position, &topics));
        }
        if position > self.worker.hub().position(partition) {
            // Newer than what this node has seen: from another node, or from a store that lost it.
            let clock = shared.store.clock(partition).await.map_err(unavailable)?;
            if position > clock {
                restored.gaps.extend(topics.iter().map(|(topic, _)| Gap {
                    topic: topic.clone(),
                    reason: GapReason::Rewound,
                    after: clock,
                    before: position,
                }));
                position = clock;
                self.lower(partition, clock);
            }
        }
        let lane = Lane {
            partition,
            position,
        };
        let bound = self.worker.hub().position(partition);
        let mut gathered = self.gather(lane).await.map_err(unavailable)?;
        let missed = self.count_missed(lane, &gathered, bound).await;
        restored.replay_count += missed.map_err(unavailable)?;
        restored.gaps.append(&mut gathered.gaps);
        let mut known = Cursors::from_ids(&restored.positions);
        known.advance(position);
        restored.positions = known.ids().to_vec();
        Ok((lane, gathered))
    }

    /// The client named an id that the store does not know: it must not mute the session.
    fn lower(&self, partition: Partition, to: MessageId) {
        let layout = self.worker.shared.layout;
        let mut hub = self.worker.hub();
        for sub in self.subs().iter_mut() {
            if layout.of(sub.topic.as_str()) == partition {
                hub.leave(&sub.topic, sub.slot);
                sub.start = sub.start.min(to);
                (sub.slot, _) = hub.join(&sub.topic, &self.seat, to, sub.echo);
            }
        }
    }

    /// Topics that are no longer granted: they must not come back with the next resume.
    fn forget(self: &Arc<Self>, dropped: &[TopicName]) {
        if dropped.is_empty() {
            return;
        }
        let attached = Arc::clone(self);
        let mut change = Remember::nothing(self.session, self.epoch());
        change.unsubscribed = dropped.to_vec();
        self.worker.shared.tasks.spawn(async move {
            let used = change.epoch;
            let written = attached.write(change).await;
            attached.after_write(used, &written);
        });
    }

    /// Ends the subscriptions that the present grants do not cover, and names them.
    pub(super) fn drop_ungranted(&self) -> Vec<TopicName> {
        let grants = self.grants.load();
        let shared = &self.worker.shared;
        let mut dropped = Vec::new();
        let mut hub = self.worker.hub();
        self.subs().retain(|sub| {
            let kept = shared.may_subscribe(&grants, &sub.topic, self.user.as_ref(), self.session);
            if !kept {
                hub.leave(&sub.topic, sub.slot);
                shared.unwant(&sub.topic);
                dropped.push(sub.topic.clone());
            }
            kept
        });
        dropped
    }
}
