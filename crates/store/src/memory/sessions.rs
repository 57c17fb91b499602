//! The session records of one partition, under one lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sparkway_protocol::{CloseReason, Epoch, MessageId, NodeId, SessionId, UserId};

use super::hasher::{QuickMap, Seed};
use super::nodes::Nodes;
use super::outbox::Events;
use crate::{
    Claim, ClaimError, Claimed, Detach, Happened, OnlyOne, Open, Opened, Remember, SessionRecord,
    WriteError,
};

/// Everything of a partition that is about sessions.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// Boxed: a table has up to twice as many places as entries.
    pub(super) kept: QuickMap<SessionId, Box<Kept>>,
    pub(super) users: QuickMap<UserId, BTreeSet<SessionId>>,
    /// Attached sessions by owner; ordered, so that a sweep is repeatable in simulation.
    pub(super) owned: BTreeMap<NodeId, BTreeSet<SessionId>>,
    pub(super) deadlines: BTreeSet<(u64, SessionId)>,
    pub(super) removed: QuickMap<SessionId, u64>,
    pub(super) removed_order: VecDeque<(u64, SessionId)>,
    pub(super) events: Events,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) record: SessionRecord,
    pub(super) deadline_ms: Option<u64>,
    /// It is detached only because its owner's lease ran out: the owner may still serve it.
    pub(super) is_orphan: bool,
    /// The claim that made the owner, so that its repeat is recognised.
    claim: Option<LastClaim>,
}

#[derive(Clone, Debug)]
struct LastClaim {
    nonce: u64,
    former_owner: Option<NodeId>,
}

impl Sessions {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            kept: QuickMap::with_hasher(seed),
            users: QuickMap::with_hasher(seed),
            owned: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            removed: QuickMap::with_hasher(seed),
            removed_order: VecDeque::new(),
            events: Events::default(),
        }
    }

    pub(super) fn open(&mut self, open: Open, now_ms: u64, nodes: &Nodes) -> Opened {
        self.forget_removed(now_ms);
        let epoch = Epoch(1);
        let mut record = open.record;
        record.epoch = epoch;
        let mut removed = Vec::new();
        if open.only_one != OnlyOne::No
            && let Some(user) = &record.user
        {
            let ends = |other: &SessionId| {
                let format = self.kept.get(other).map(|kept| kept.record.format);
                *other != record.session
                    && (open.only_one == OnlyOne::OfUser || format == Some(record.format))
            };
            let others = self.users.get(user).into_iter().flatten().copied();
            removed = others.filter(ends).collect();
            for &other in &removed {
                self.remove_for_another(other, CloseReason::Superseded, now_ms, nodes);
            }
        }
        // A repeated open must not take a session back that was claimed in between.
        let is_claimed = self
            .kept
            .get(&record.session)
            .is_some_and(|kept| kept.record.epoch > epoch);
        if !is_claimed {
            if !self.kept.contains_key(&record.session) {
                let (session, user) = (record.session, record.user.as_ref());
                let kind = Happened::SessionOpened;
                self.events.add(kind, session, user, now_ms);
            }
            self.put(record);
        }
        Opened { epoch, removed }
    }

    pub(super) fn load(&self, session: SessionId) -> Option<SessionRecord> {
        self.kept.get(&session).map(|kept| kept.record.clone())
    }

    pub(super) fn claim(
        &mut self,
        claim: Claim,
        now_ms: u64,
        nodes: &Nodes,
    ) -> Result<Claimed, ClaimError> {
        let kept = self
            .kept
            .get_mut(&claim.session)
            .ok_or(ClaimError::Unknown)?;
        let record = &mut kept.record;
        if let Some(last) = &kept.claim
            && last.nonce == claim.nonce
            && record.owner == claim.node
            && record.attached
        {
            return Ok(Claimed {
                record: record.clone(),
                former_owner: last.former_owner.clone(),
            });
        }
        if claim.generation < record.confirmed {
            return Err(ClaimError::BadGeneration);
        }
        record.confirmed = claim.generation;
        record.generation = claim.generation.saturating_add(1);
        // Microseconds: a store that went back must not give out the epoch of a lost claim again.
        record.epoch = Epoch((record.epoch.0 + 1).max(now_ms.saturating_mul(1000)));
        let before = std::mem::replace(&mut record.owner, claim.node.clone());
        let was_attached = std::mem::replace(&mut record.attached, true);
        let was_orphan = std::mem::replace(&mut kept.is_orphan, false);
        let former_owner = was_attached.then(|| before.clone());
        kept.claim = Some(LastClaim {
            nonce: claim.nonce,
            former_owner: former_owner.clone(),
        });
        let record = record.clone();
        if let Some(deadline_ms) = kept.deadline_ms.take() {
            self.deadlines.remove(&(deadline_ms, claim.session));
        }
        self.disown(&before, claim.session);
        if was_attached || was_orphan {
            nodes.tell_superseded(&before, claim.session, record.epoch);
        }
        self.own(claim.node, claim.session);
        Ok(Claimed {
            record,
            former_owner,
        })
    }

    /// Whether a write under this epoch counts.
    pub(super) fn check(&self, session: SessionId, epoch: Epoch) -> Result<(), WriteError> {
        match self.kept.get(&session) {
            Some(kept) if kept.record.epoch == epoch => Ok(()),
            Some(kept) if kept.record.epoch > epoch => Err(WriteError::Fenced),
            None if self.removed.contains_key(&session) => Err(WriteError::Fenced),
            // An older record than the caller's: the store lost the newer one.
            Some(_) | None => Err(WriteError::Gone),
        }
    }

    fn checked(&mut self, session: SessionId, epoch: Epoch) -> Result<&mut Kept, WriteError> {
        self.check(session, epoch)?;
        let kept = self.kept.get_mut(&session).map(Box::as_mut);
        kept.ok_or(WriteError::Gone)
    }

    pub(super) fn remember(&mut self, change: Remember) -> Result<(), WriteError> {
        let record = &mut self.checked(change.session, change.epoch)?.record;
        let topics = &mut record.subscriptions;
        topics.retain(|held| !change.unsubscribed.contains(&held.topic));
        for new in change.subscribed {
            if let Some(held) = topics.iter_mut().find(|held| held.topic == new.topic) {
                *held = new;
                continue;
            }
            topics.reserve_exact(usize::from(topics.is_empty())); // Most have one.
            topics.push(new);
        }
        if let Some((generation, confirmed)) = change.generations {
            record.generation = record.generation.max(generation);
            record.confirmed = record.confirmed.max(confirmed);
        }
        if let Some((grants, expires_at_ms)) = change.grants {
            record.grants = grants;
            record.expires_at_ms = expires_at_ms;
        }
        move_cursors(&mut record.cursors, change.cursors);
        Ok(())
    }

    pub(super) fn restore(
        &mut self,
        mut record: SessionRecord,
        nodes: &Nodes,
    ) -> Result<Epoch, WriteError> {
        let raised = Epoch(record.epoch.0 + 1);
        if self.removed.contains_key(&record.session) {
            return Err(WriteError::Fenced);
        }
        if let Some(kept) = self.kept.get(&record.session) {
            let is_repeat = kept.record.epoch == raised
                && kept.record.owner == record.owner
                && kept.claim.is_none();
            if is_repeat {
                return Ok(raised);
            }
            if kept.record.epoch >= record.epoch {
                return Err(WriteError::Fenced);
            }
            if kept.record.owner != record.owner {
                nodes.tell_superseded(&kept.record.owner, record.session, raised);
            }
        }
        record.epoch = raised;
        self.put(record);
        Ok(raised)
    }

    pub(super) fn detach(&mut self, detach: Detach, now_ms: u64) -> Result<(), WriteError> {
        let kept = self.checked(detach.session, detach.epoch)?;
        move_cursors(&mut kept.record.cursors, detach.cursors);
        kept.is_orphan = false;
        self.set_deadline(detach.session, now_ms.saturating_add(detach.window_ms));
        Ok(())
    }

    pub(super) fn end(
        &mut self,
        session: SessionId,
        epoch: Epoch,
        now_ms: u64,
    ) -> Result<(), WriteError> {
        match self.check(session, epoch) {
            Ok(()) => {
                self.close(session, now_ms);
                Ok(())
            }
            Err(WriteError::Gone) if !self.kept.contains_key(&session) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Detaches a session until a deadline.
    pub(super) fn set_deadline(&mut self, session: SessionId, deadline_ms: u64) {
        let Some(kept) = self.kept.get_mut(&session) else {
            return;
        };
        kept.record.attached = false;
        let owner = kept.record.owner.clone();
        if let Some(before_ms) = kept.deadline_ms.replace(deadline_ms) {
            self.deadlines.remove(&(before_ms, session));
        }
        self.deadlines.insert((deadline_ms, session));
        self.disown(&owner, session);
    }

    /// Writes a record as attached to its owner, in place of any other.
    fn put(&mut self, mut record: SessionRecord) {
        let session = record.session;
        self.take(session);
        record.attached = true;
        if let Some(user) = &record.user {
            self.users.entry(user.clone()).or_default().insert(session);
        }
        self.own(record.owner.clone(), session);
        self.kept.insert(
            session,
            Box::new(Kept {
                record,
                deadline_ms: None,
                is_orphan: false,
                claim: None,
            }),
        );
    }

    /// Removes a session that is over.
    pub(super) fn close(&mut self, session: SessionId, now_ms: u64) -> Option<Box<Kept>> {
        let kept = self.take(session)?;
        let user = kept.record.user.as_ref();
        let kind = Happened::SessionClosed;
        self.events.add(kind, session, user, now_ms);
        Some(kept)
    }

    /// Removes a record and all that points to it.
    pub(super) fn take(&mut self, session: SessionId) -> Option<Box<Kept>> {
        let kept = self.kept.remove(&session)?;
        if let Some(deadline_ms) = kept.deadline_ms {
            self.deadlines.remove(&(deadline_ms, session));
        }
        self.disown(&kept.record.owner, session);
        if let Some(user) = &kept.record.user
            && let Some(sessions) = self.users.get_mut(user)
        {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.users.remove(user);
            }
        }
        Some(kept)
    }

    pub(super) fn own(&mut self, node: NodeId, session: SessionId) {
        self.owned.entry(node).or_default().insert(session);
    }

    fn disown(&mut self, node: &NodeId, session: SessionId) {
        if let Some(sessions) = self.owned.get_mut(node) {
            sessions.remove(&session);
            if sessions.is_empty() {
                self.owned.remove(node);
            }
        }
    }
}

#[cfg(test)]
impl Sessions {
    /// Whether nothing is left, not even an index.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
            && self.users.is_empty()
            && self.owned.is_empty()
            && self.deadlines.is_empty()
            && self.removed.is_empty()
            && self.removed_order.is_empty()
    }
}

fn move_cursors(cursors: &mut Vec<MessageId>, moved: Vec<MessageId>) {
    for id in moved {
        let same = |held: &&mut MessageId| held.partition() == id.partition();
        match cursors.iter_mut().find(same) {
            Some(held) => *held = id,
            None => cursors.push(id),
        }
    }
}
