//! Events of one partition, in memory: they end with the process.

use std::collections::VecDeque;

use sparkway_protocol::{NodeId, Partition, PresenceChange, SessionId, UserId};

use super::{MemoryStore, lock};
use crate::outbox::{DEAD_LETTERS, EVENTS_MAX, Happened, KeptEvent, Matters, Outbox, TakenEvents};
use crate::{BoxFuture, StoreError};

/// What waits to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    kept: Matters,
    count: u64,
    waiting: VecDeque<KeptEvent>,
    dead: VecDeque<KeptEvent>,
    /// Who delivers, and until when nobody else does.
    turn: Option<(NodeId, u64)>,
}

/// An event that has no name yet and is about nothing.
fn blank(kind: Happened, now_ms: u64) -> KeptEvent {
    KeptEvent {
        id: Box::default(),
        at_ms: now_ms,
        kind,
        session: None,
        topic: None,
        user: None,
    }
}

impl Events {
    pub(super) fn add(
        &mut self,
        kind: Happened,
        session: SessionId,
        user: Option<&UserId>,
        now_ms: u64,
    ) {
        if self.kept.sessions {
            self.push(KeptEvent {
                session: Some(session.to_string().into()),
                user: user.map(|user| user.as_str().into()),
                ..blank(kind, now_ms)
            });
        }
    }

    /// Who came or left; `is_edge` when nobody was there before, or is after.
    pub(super) fn add_change(&mut self, change: &PresenceChange, is_edge: bool, now_ms: u64) {
        if change.topic.is_reserved() {
            return;
        }
        let (of_topic, of_user) = if change.present {
            (Happened::TopicOccupied, Happened::PresenceJoined)
        } else {
            (Happened::TopicVacated, Happened::PresenceLeft)
        };
        let topic: Option<Box<str>> = Some(change.topic.as_str().into());
        let edge = (self.kept.topics && is_edge).then(|| KeptEvent {
            topic: topic.clone(),
            ..blank(of_topic, now_ms)
        });
        let moved = self.kept.presence.then(|| KeptEvent {
            topic,
            user: Some(change.user.as_str().into()),
            ..blank(of_user, now_ms)
        });
        let told = if change.present {
            [edge, moved]
        } else {
            [moved, edge]
        };
        for event in told.into_iter().flatten() {
            self.push(event);
        }
    }

    fn push(&mut self, event: KeptEvent) {
        self.count += 1;
        if self.waiting.len() >= EVENTS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(KeptEvent {
            id: format!("{}-{}", event.at_ms, self.count).into(),
            ..event
        });
    }

    fn take(&mut self, node: NodeId, hold_ms: u64, limit: usize, now_ms: u64) -> TakenEvents {
        let is_held = |(holder, until_ms): &(NodeId, u64)| *holder != node && *until_ms > now_ms;
        if self.turn.as_ref().is_some_and(is_held) {
            return TakenEvents::default();
        }
        self.turn = (!self.waiting.is_empty()).then(|| (node, now_ms.saturating_add(hold_ms)));
        TakenEvents {
            events: self.waiting.iter().take(limit).cloned().collect(),
            waiting: self.waiting.len() as u64,
        }
    }

    fn settle(&mut self, ids: &[Box<str>], dead: bool) {
        let is_settled = |event: &KeptEvent| ids.contains(&event.id);
        if dead {
            let dying: Vec<_> = self
                .waiting
                .iter()
                .filter(|event| is_settled(event))
                .cloned()
                .collect();
            self.dead.extend(dying);
            let excess = self.dead.len().saturating_sub(DEAD_LETTERS);
            self.dead.drain(..excess);
        }
        self.waiting.retain(|event| !is_settled(event));
    }
}

impl Outbox for MemoryStore {
    fn keep_events(&self, matters: Matters) {
        for cell in &self.cells {
            let kept = &mut lock(&cell.sessions).events.kept;
            kept.sessions |= matters.sessions;
            kept.topics |= matters.topics;
            kept.presence |= matters.presence;
        }
    }

    fn take_events(
        &self,
        partition: Partition,
        node: NodeId,
        hold_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<TakenEvents, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            let mut sessions = lock(&self.cell(partition)?.sessions);
            Ok(sessions.events.take(node, hold_ms, limit, now_ms))
        })
    }

    fn settle_events(
        &self,
        partition: Partition,
        ids: Vec<Box<str>>,
        dead: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.cell(partition)?.sessions)
                .events
                .settle(&ids, dead);
            Ok(())
        })
    }

    fn dead_events(&self, partition: Partition) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let sessions = lock(&self.cell(partition)?.sessions);
            Ok(sessions.events.dead.len() as u64)
        })
    }
}
