//! The logs of one partition, under one lock: ids, order, repeats, and who is told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry as Place;
use std::sync::Arc;

use sparkway_protocol::{Entry, Ephemeral, MessageId, Partition, PresenceChange, TopicName};

use super::followers::{FeedSlot, Feeds, Following};
use super::hasher::{QuickMap, Seed};
use super::repeats::Repeats;
use super::topic_log::TopicLog;
use crate::feed::FeedRequest;
use crate::record::Range;
use crate::{Append, Appended, FeedEvent, Hole, Page, Want};

/// How many lost intervals are remembered.
const HOLES: usize = 16;
/// How many idle topics one append looks at: more than one append can add.
const IDLE_PER_APPEND: usize = 2;

/// Everything of a partition that is about messages.
#[derive(Debug)]
pub(super) struct Logs {
    partition: Partition,
    clock: MessageId,
    pub(super) topics: QuickMap<TopicName, TopicLog>,
    repeats: Repeats,
    holes: Vec<Hole>,
    /// When to look at a topic again, soonest first: each topic stands here at most once.
    idle: BinaryHeap<Reverse<(u64, TopicName)>>,
    pub(super) feeds: Feeds,
}

impl Logs {
    pub(super) fn new(partition: Partition, window_ms: u64, seed: Seed) -> Self {
        Self {
            partition,
            clock: MessageId::ZERO,
            topics: QuickMap::with_hasher(seed),
            repeats: Repeats::new(window_ms, seed),
            holes: Vec::new(),
            idle: BinaryHeap::new(),
            feeds: Feeds::new(seed),
        }
    }

    pub(super) const fn clock(&self) -> MessageId {
        self.clock
    }

    pub(super) fn holes(&self) -> Vec<Hole> {
        self.holes.clone()
    }

    /// The first answer to a publish that was stored before.
    pub(super) fn find_repeat(&mut self, digest: &[u8; 16], now_ms: u64) -> Option<Appended> {
        self.repeats.turn(now_ms);
        let id = self.repeats.find(digest)?;
        self.repeats.note(*digest, id);
        Some(Appended {
            id,
            duplicate: true,
        })
    }

    /// Stores a message that is no repeat, and tells every feed that follows its topic.
    pub(super) fn store(&mut self, message: Append, now_ms: u64) -> Appended {
        let id = MessageId::next(self.clock, now_ms, MessageId::ZERO, self.partition);
        self.clock = id;
        self.repeats.note(message.digest, id);
        let log = match self.topics.entry(message.topic.clone()) {
            Place::Occupied(place) => place.into_mut(),
            Place::Vacant(place) => place.insert(TopicLog::default()),
        };
        let entry = Arc::new(Entry {
            id,
            prev: log.tip(),
            topic: message.topic,
            from: message.from,
            origin: message.origin,
            exclude_origin: message.exclude_origin,
            trace: message.trace.map(Box::new),
            payload: message.payload,
        });
        for &slot in &log.followers {
            self.feeds.offer(slot, FeedEvent::Entry(Arc::clone(&entry)));
        }
        let topic = (!log.is_queued).then(|| entry.topic.clone());
        log.push(entry, message.retention, now_ms);
        if let Some(topic) = topic {
            log.is_queued = true;
            self.idle.push(Reverse((log.due_ms(), topic)));
        }
        self.drop_idle(now_ms, IDLE_PER_APPEND);
        Appended {
            id,
            duplicate: false,
        }
    }

    pub(super) fn announce(&mut self, message: Ephemeral) {
        let Some(log) = self.topics.get(&message.topic) else {
            return;
        };
        let message = Arc::new(message);
        for &slot in &log.followers {
            let event = FeedEvent::Ephemeral(Arc::clone(&message));
            self.feeds.offer_once(slot, event);
        }
    }

    /// Tells every feed that follows the topic who came or left.
    pub(super) fn tell_presence(&mut self, change: &PresenceChange) {
        let Some(log) = self.topics.get(&change.topic) else {
            return;
        };
        let change = Arc::new(change.clone());
        for &slot in &log.followers {
            let event = FeedEvent::Presence(Arc::clone(&change));
            self.feeds.offer_once(slot, event);
        }
    }

    pub(super) fn read(&mut self, want: Want, limit: usize, now_ms: u64) -> Page {
        match self.topics.get_mut(&want.topic) {
            Some(log) => {
                log.trim_aged(now_ms);
                log.page_after(want.topic, want.after, limit)
            }
            None => empty(want.topic),
        }
    }

    pub(super) fn history(&mut self, range: Range, now_ms: u64) -> Page {
        match self.topics.get_mut(&range.topic) {
            Some(log) => {
                log.trim_aged(now_ms);
                log.page_between(range)
            }
            None => empty(range.topic),
        }
    }

    pub(super) fn tip(&self, topic: &TopicName) -> MessageId {
        self.topics
            .get(topic)
            .map_or(MessageId::ZERO, TopicLog::tip)
    }

    /// Looks at up to `limit` topics that were due: drops their aged entries, and those topics of
    /// which nothing has to be kept.
    pub(super) fn drop_idle(&mut self, now_ms: u64, limit: usize) {
        for _ in 0..limit {
            let is_due = |Reverse((due_ms, _)): &Reverse<(u64, TopicName)>| *due_ms <= now_ms;
            if !self.idle.peek().is_some_and(is_due) {
                return;
            }
            let Some(Reverse((_, topic))) = self.idle.pop() else {
                return;
            };
            let Some(log) = self.topics.get_mut(&topic) else {
                continue;
            };
            log.trim_aged(now_ms);
            log.shrink();
            if log.due_ms() > now_ms {
                self.idle.push(Reverse((log.due_ms(), topic)));
            } else if log.followers.is_empty() {
                self.topics.remove(&topic);
            } else {
                // Comes back with the next entry, or when the last follower goes.
                log.is_queued = false;
            }
        }
    }

    pub(super) fn carry_out(&mut self, slot: FeedSlot, request: FeedRequest) {
        match request {
            FeedRequest::Follow(topics) => {
                for topic in topics {
                    self.follow(slot, topic);
                }
                self.tell_live(slot);
            }
            FeedRequest::Renew => {
                let clock = self.clock;
                self.feeds.offer(slot, FeedEvent::Restored { clock });
            }
            FeedRequest::Forget(topics) => {
                for topic in topics {
                    if self.feeds.forget(slot, &topic) {
                        self.unhook(slot, &topic);
                    }
                }
            }
        }
    }

    fn follow(&mut self, slot: FeedSlot, topic: TopicName) {
        if self.feeds.follow(slot, &topic) == Following::New {
            self.topics.entry(topic).or_default().followers.push(slot);
        }
    }

    fn unhook(&mut self, slot: FeedSlot, topic: &TopicName) {
        if let Some(log) = self.topics.get_mut(topic) {
            log.followers.retain(|&follower| follower != slot);
            if log.followers.is_empty() && !log.is_queued {
                log.is_queued = true;
                self.idle.push(Reverse((log.due_ms(), topic.clone())));
            }
        }
    }

    fn tell_live(&mut self, slot: FeedSlot) {
        while let Some(topic) = self.feeds.next_owed(slot) {
            let live = FeedEvent::Live {
                tip: self.tip(&topic),
                topic: topic.clone(),
                since: Vec::new(),
            };
            self.feeds.offer_live(slot, live, topic);
        }
    }

    /// Lets entries flow again to a feed whose reader has taken everything.
    pub(super) fn catch_up(&mut self, slot: FeedSlot) {
        let clock = self.clock;
        self.feeds.catch_up(slot, FeedEvent::Restored { clock });
        self.tell_live(slot);
    }

    pub(super) fn close_feed(&mut self, slot: FeedSlot) {
        for topic in self.feeds.remove(slot) {
            self.unhook(slot, &topic);
        }
    }

    /// The newest id that is left when the newest `entries` entries of the partition are lost.
    pub(super) fn cut_before_newest(&self, entries: usize) -> MessageId {
        if entries == 0 {
            return self.clock;
        }
        let mut ids: Vec<_> = self
            .topics
            .values()
            .flat_map(|log| log.entries().map(|entry| entry.id))
            .collect();
        ids.sort_unstable_by_key(|&id| Reverse(id));
        ids.get(entries).copied().unwrap_or_default()
    }

    /// Loses everything after `id`, raises the clock above all that was given, and tells it.
    pub(super) fn lose_after(&mut self, id: MessageId, now_ms: u64) -> Hole {
        for log in self.topics.values_mut() {
            log.lose_after(id);
        }
        self.repeats.forget_after(id);
        let before = MessageId::next(self.clock, now_ms, MessageId::ZERO, self.partition);
        self.clock = before;
        let hole = Hole { after: id, before };
        if self.holes.len() == HOLES {
            self.holes.remove(0);
        }
        self.holes.push(hole);
        self.feeds.rewound(hole);
        hole
    }
}

#[cfg(test)]
impl Logs {
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn followers(&self) -> usize {
        self.topics.values().map(|log| log.followers.len()).sum()
    }
}

const fn empty(topic: TopicName) -> Page {
    Page {
        topic,
        entries: Vec::new(),
        more: false,
    }
}
