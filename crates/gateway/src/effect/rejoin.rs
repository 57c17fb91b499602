//! A session takes its places again, behind a closed seat, and looks at what it missed.

use std::sync::Arc;

use futures_util::future::try_join_all;
use sparkway_protocol::{Gap, GapReason, MessageId, Partition, TopicName};
use sparkway_session::{Cursors, Restored, StoreFailure};
use sparkway_store::planted::Defect;
use sparkway_store::{StoreError, Subscription};

use crate::attached::{Attached, Sub};
use crate::catchup::{Gathered, Lane, rewound};

impl Attached {
    /// Joins the session's topics behind a closed seat, then looks at what it missed.
    pub(super) async fn rejoin(
        self: &Arc<Self>,
        subscriptions: Vec<Subscription>,
        positions: Option<Cursors>,
    ) -> Result<(Restored, Vec<(Lane, Gathered)>), StoreFailure> {
        let shared = Arc::clone(&self.worker.shared);
        let topics: Vec<TopicName> = subscriptions.iter().map(|sub| sub.topic.clone()).collect();
        let known = match &positions {
            Some(known) => known.clone(),
            None => self.newest().await?,
        };
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
        let partitions = shared.layout.iter();
        partitions.for_each(|at| self.set_named(at, known.of(at)));
        // What a backend took away meanwhile, or gave again, is not joined here.
        let coming = self.coming();
        for sub in subscriptions {
            let is_held = self.subs().iter().any(|held| held.topic == sub.topic);
            if is_held || !coming.iter().any(|one| one.topic == sub.topic) {
                shared.unwant(&sub.topic);
                continue;
            }
            self.join(sub);
        }
        self.has_come();
        let Some(positions) = positions else {
            return Ok(self.join_from(&known));
        };
        if Defect::NoGate.is_planted() {
            let partitions = shared.layout.iter();
            partitions.for_each(|partition| self.seat.hook(partition));
        }
        let mut restored = Restored::default();
        let mut first = Vec::new();
        for partition in shared.layout.iter() {
            let (lane, gathered) = self.look(partition, &positions, &mut restored).await?;
            first.push((lane, gathered));
        }
        Ok((restored, first))
    }

    /// Where the partitions stand now. This node may have seen less of them: what it learns of
    /// later was published before the client asked.
    async fn newest(&self) -> Result<Cursors, StoreFailure> {
        let shared = &self.worker.shared;
        let clocks = shared.layout.iter().map(|at| shared.store.clock(at));
        let clocks = try_join_all(clocks).await.map_err(|error| {
            tracing::debug!(session = %self.session, %error, "position not read");
            StoreFailure::Unavailable
        })?;
        Ok(Cursors::from_ids(&clocks))
    }

    /// The client named no position: nothing is replayed, live delivery goes on from `now`, once
    /// `resume_ack` is queued.
    fn join_from(&self, now: &Cursors) -> (Restored, Vec<(Lane, Gathered)>) {
        let hub = self.worker.hub();
        let mut positions = Cursors::default();
        let first = self.worker.shared.layout.iter().map(|partition| {
            let position = hub.position(partition).max(now.of(partition));
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

    fn join(&self, sub: Subscription) {
        let Subscription {
            topic,
            start,
            echo,
            presence,
            by_backend,
        } = sub;
        let named = self.named(self.worker.shared.layout.of(topic.as_str()));
        let mut hub = self.worker.hub();
        let (slot, _) = hub.join(&topic, &self.seat, start.max(named), echo);
        hub.watch(&topic, slot, presence);
        self.enter_topic(&topic);
        self.subs().push(Sub {
            topic,
            start,
            echo,
            presence,
            by_backend,
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
        self.set_named(partition, to);
        let mut hub = self.worker.hub();
        for sub in self.subs().iter_mut() {
            if layout.of(sub.topic.as_str()) == partition {
                hub.leave(&sub.topic, sub.slot);
                sub.start = sub.start.min(to);
                (sub.slot, _) = hub.join(&sub.topic, &self.seat, to, sub.echo);
                hub.watch(&sub.topic, sub.slot, sub.presence);
            }
        }
    }
}
