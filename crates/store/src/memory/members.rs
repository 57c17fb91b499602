//! The members of the topics of one partition, under one lock, and presence over them.

use std::collections::{BTreeMap, BTreeSet};

use sparkway_protocol::{Epoch, NodeId, Partition, PresenceChange, SessionId, TopicName, UserId};

use super::hasher::{QuickMap, Seed};
use super::nodes::Nodes;
use super::{MemoryStore, lock};
use crate::presence::{Members as Page, Move, Presence, Standing, Step, Swept};
use crate::{BoxFuture, StoreError};

/// One session in one topic.
type Place = (TopicName, SessionId);

/// Everything of a partition that is about members.
#[derive(Debug)]
pub(super) struct Members {
    topics: QuickMap<TopicName, Topic>,
    /// Members with a connection, by its node; ordered, so that a sweep is repeatable.
    owned: BTreeMap<NodeId, BTreeSet<Place>>,
    /// Members without one, by the time at which they leave.
    leaving: BTreeSet<(u64, Place)>,
    seed: Seed,
}

#[derive(Debug)]
struct Topic {
    members: QuickMap<SessionId, Member>,
    /// How many sessions each user has here.
    users: BTreeMap<UserId, usize>,
    seen: BTreeMap<UserId, u64>,
}

#[derive(Debug)]
struct Member {
    user: UserId,
    epoch: Epoch,
    /// The node of its connection, also while only the node's lease has run out.
    node: Option<NodeId>,
    leaves: Option<Leaves>,
}

#[derive(Clone, Copy, Debug)]
struct Leaves {
    /// When the connection went.
    since_ms: u64,
    at_ms: u64,
}

impl Members {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            topics: QuickMap::with_hasher(seed),
            owned: BTreeMap::new(),
            leaving: BTreeSet::new(),
            seed,
        }
    }

    fn carry_out(&mut self, step: Move, now_ms: u64) -> Option<PresenceChange> {
        let place = (step.topic.clone(), step.session);
        let known = self.member(&place).map(|member| member.epoch);
        if known.is_some_and(|epoch| epoch > step.epoch) {
            return None;
        }
        match step.step {
            Step::Join(node) => self.join(place, step.user, step.epoch, node),
            Step::Away { grace_ms: 0 } | Step::Leave => self.leave(&place, now_ms),
            Step::Away { grace_ms } => {
                self.away(&place, now_ms, now_ms.saturating_add(grace_ms));
                None
            }
        }
    }

    fn member(&self, (topic, session): &Place) -> Option<&Member> {
        self.topics.get(topic)?.members.get(session)
    }

    fn join(
        &mut self,
        place: Place,
        user: UserId,
        epoch: Epoch,
        node: NodeId,
    ) -> Option<PresenceChange> {
        self.unhook(&place);
        let seed = self.seed;
        let topic = self.topics.entry(place.0.clone()).or_insert_with(|| Topic {
            members: QuickMap::with_hasher(seed),
            users: BTreeMap::new(),
            seen: BTreeMap::new(),
        });
        let member = Member {
            user: user.clone(),
            epoch,
            node: Some(node.clone()),
            leaves: None,
        };
        let is_new = topic.members.insert(place.1, member).is_none();
        let mut change = None;
        if is_new {
            let sessions = topic.users.entry(user.clone()).or_default();
            *sessions += 1;
            change = (*sessions == 1).then(|| PresenceChange {
                topic: place.0.clone(),
                user,
                present: true,
            });
        }
        self.owned.entry(node).or_default().insert(place);
        change
    }

    /// Lets a member with a connection leave later.
    fn away(&mut self, place: &Place, now_ms: u64, at_ms: u64) {
        if self
            .member(place)
            .is_none_or(|member| member.node.is_none())
        {
            return;
        }
        self.unhook(place);
        self.leave_later(place, now_ms, at_ms);
        if let Some(member) = self.member_mut(place) {
            member.node = None;
        }
    }

    fn leave_later(&mut self, place: &Place, since_ms: u64, at_ms: u64) {
        if let Some(member) = self.member_mut(place) {
            member.leaves = Some(Leaves { since_ms, at_ms });
            self.leaving.insert((at_ms, place.clone()));
        }
    }

    fn member_mut(&mut self, (topic, session): &Place) -> Option<&mut Member> {
        self.topics.get_mut(topic)?.members.get_mut(session)
    }

    /// Takes a member out of the indexes.
    fn unhook(&mut self, place: &Place) {
        let Some(member) = self.member(place) else {
            return;
        };
        let (node, leaves) = (member.node.clone(), member.leaves);
        if let Some(leaves) = leaves {
            self.leaving.remove(&(leaves.at_ms, place.clone()));
        }
        if let Some(node) = node
            && let Some(owned) = self.owned.get_mut(&node)
        {
            owned.remove(place);
            if owned.is_empty() {
                self.owned.remove(&node);
            }
        }
    }

    fn leave(&mut self, place: &Place, now_ms: u64) -> Option<PresenceChange> {
        self.unhook(place);
        let topic = self.topics.get_mut(&place.0)?;
        let member = topic.members.remove(&place.1)?;
        let since_ms = member.leaves.map_or(now_ms, |leaves| leaves.since_ms);
        let sessions = topic.users.get_mut(&member.user)?;
        *sessions -= 1;
        let is_last = *sessions == 0;
        if is_last {
            topic.users.remove(&member.user);
            if place.0.is_reserved() {
                topic.seen.insert(member.user.clone(), since_ms);
            }
        }
        if topic.members.is_empty() && topic.seen.is_empty() {
            self.topics.remove(&place.0);
        }
        is_last.then(|| PresenceChange {
            topic: place.0.clone(),
            user: member.user,
            present: false,
        })
    }

    /// Gives members of dead nodes a time. Returns how many, and whose time is over.
    fn lapse(
        &mut self,
        now_ms: u64,
        grace_ms: u64,
        limit: usize,
        nodes: &Nodes,
    ) -> (usize, Vec<Place>) {
        let lapsed: Vec<(Place, u64)> = self
            .owned
            .iter()
            .filter(|(node, _)| !nodes.holds(node, now_ms))
            .flat_map(|(node, places)| {
                let since_ms = nodes.renewed_ms(node).unwrap_or(now_ms).min(now_ms);
                places.iter().map(move |place| (place.clone(), since_ms))
            })
            .take(limit)
            .collect();
        let handled = lapsed.len();
        for (place, since_ms) in lapsed {
            self.unhook(&place);
            self.leave_later(&place, since_ms, now_ms.saturating_add(grace_ms));
        }
        let late = self
            .leaving
            .iter()
            .take_while(|(at_ms, _)| *at_ms <= now_ms)
            .map(|(_, place)| place.clone())
            .take(limit);
        (handled, late.collect())
    }

    /// Takes out a member whose time is over, unless its node lives after all.
    fn expire(&mut self, place: &Place, now_ms: u64, nodes: &Nodes) -> Option<PresenceChange> {
        if self.take_back(place, now_ms, nodes) {
            return None;
        }
        self.leave(place, now_ms)
    }

    /// Whether the user of a change that has just been made is the first one in the topic, or was
    /// the last.
    fn is_edge(&self, change: &PresenceChange) -> bool {
        let users = self.topics.get(&change.topic);
        users.map_or(0, |topic| topic.users.len()) == usize::from(change.present)
    }

    /// Keeps a member whose node lives after all.
    fn take_back(&mut self, place: &Place, now_ms: u64, nodes: &Nodes) -> bool {
        let Some(node) = self.member(place).and_then(|member| member.node.clone()) else {
            return false;
        };
        if !nodes.holds(&node, now_ms) {
            return false;
        }
        self.unhook(place);
        if let Some(member) = self.member_mut(place) {
            member.leaves = None;
        }
        self.owned.entry(node).or_default().insert(place.clone());
        true
    }

    fn page(&self, topic: &TopicName, after: Option<&UserId>, limit: usize) -> Page {
        let Some(topic) = self.topics.get(topic) else {
            return Page {
                users: Vec::new(),
                count: 0,
                next: None,
            };
        };
        let mut rest = topic
            .users
            .keys()
            .filter(|&user| after.is_none_or(|after| user > after));
        let users: Vec<UserId> = rest.by_ref().take(limit).cloned().collect();
        let more = rest.next().is_some();
        Page {
            next: users.last().filter(|_| more).map(ToString::to_string),
            count: topic.users.len() as u64,
            users,
        }
    }

    fn standing(&self, topic: &TopicName, user: &UserId) -> Standing {
        let topic = self.topics.get(topic);
        Standing {
            present: topic.is_some_and(|topic| topic.users.contains_key(user)),
            last_seen_ms: topic.and_then(|topic| topic.seen.get(user).copied()),
        }
    }
}

#[cfg(test)]
impl Members {
    /// Whether nothing is left, not even an index.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.owned.is_empty() && self.leaving.is_empty()
    }
}

impl Presence for MemoryStore {
    fn move_members(
        &self,
        partition: Partition,
        moves: Vec<Move>,
    ) -> BoxFuture<'_, Result<Vec<PresenceChange>, StoreError>> {
        Box::pin(async move {
            self.check_topics(partition, moves.iter().map(|step| &step.topic))?;
            let cell = self.cell(partition)?;
            let now_ms = self.now_ms();
            // All, so that changes are told in the order in which they happen.
            let mut logs = lock(&cell.logs);
            let events = &mut lock(&cell.sessions).events;
            let mut members = lock(&cell.members);
            let mut changes = Vec::new();
            for step in moves {
                if let Some(change) = members.carry_out(step, now_ms) {
                    logs.tell_presence(&change);
                    events.add_change(&change, members.is_edge(&change), now_ms);
                    changes.push(change);
                }
            }
            Ok(changes)
        })
    }

    fn members(
        &self,
        topic: TopicName,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            let after = match after.as_deref().map(UserId::parse) {
                None => None,
                Some(Ok(after)) => Some(after),
                Some(Err(_)) => return Err(StoreError::Layout("no end of a page".to_owned())),
            };
            let members = lock(&self.cell_of(&topic)?.members);
            Ok(members.page(&topic, after.as_ref(), limit))
        })
    }

    fn standings(
        &self,
        topic: TopicName,
        users: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move {
            let members = lock(&self.cell_of(&topic)?.members);
            let standing = |user| members.standing(&topic, user);
            Ok(users.iter().map(standing).collect())
        })
    }

    fn sweep_members(
        &self,
        partition: Partition,
        grace_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            let cell = self.cell(partition)?;
            let mut logs = lock(&cell.logs);
            let events = &mut lock(&cell.sessions).events;
            let mut members = lock(&cell.members);
            let (handled, late) = members.lapse(now_ms, grace_ms, limit, &lock(&self.nodes));
            let mut swept = Swept {
                changes: Vec::new(),
                is_full: handled >= limit || late.len() >= limit,
            };
            for place in late {
                if let Some(change) = members.expire(&place, now_ms, &lock(&self.nodes)) {
                    logs.tell_presence(&change);
                    events.add_change(&change, members.is_edge(&change), now_ms);
                    swept.changes.push(change);
                }
            }
            Ok(swept)
        })
    }
}
