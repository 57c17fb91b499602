//! The log of one topic.

use std::collections::VecDeque;
use std::sync::Arc;

use sparkway_protocol::{Entry, MessageId, TopicName};

use super::followers::FeedSlot;
use crate::record::Range;
use crate::{Page, Retention};

/// Entries in id order, the newest id ever given, and who follows.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicLog {
    entries: VecDeque<Arc<Entry>>,
    tip: MessageId,
    retention: Retention,
    pub(super) followers: Vec<FeedSlot>,
    /// Whether it stands in the queue of topics to look at again.
    pub(super) is_queued: bool,
}

impl TopicLog {
    pub(super) const fn tip(&self) -> MessageId {
        self.tip
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>, retention: Retention, now_ms: u64) {
        self.tip = entry.id;
        self.retention = retention;
        self.entries.push_back(entry);
        let bound = usize::try_from(retention.entries).unwrap_or(usize::MAX);
        while self.entries.len() > bound {
            self.entries.pop_front();
        }
        self.trim_aged(now_ms);
    }

    /// Drops entries that are too old.
    pub(super) fn trim_aged(&mut self, now_ms: u64) {
        let age_ms = self.retention.age_ms;
        while let Some(oldest) = self.entries.front() {
            if oldest.id.unix_ms().saturating_add(age_ms) > now_ms {
                break;
            }
            self.entries.pop_front();
        }
    }

    /// Drops entries up to an id.
    pub(super) fn trim_until(&mut self, until: MessageId) {
        let gone = self.entries.partition_point(|entry| entry.id <= until);
        self.entries.drain(..gone);
    }

    /// Gives back the room of a log in which nothing happened for its age.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    /// When there is something to drop of a topic in which nothing happens any more: its entries
    /// by their age, its tip after the same time again, so that a resuming client can still see
    /// that there was something. Counted from its newest id, which may run ahead of the clock.
    pub(super) fn due_ms(&self) -> u64 {
        let ages = if self.entries.is_empty() { 2 } else { 1 };
        self.tip
            .unix_ms()
            .saturating_add(self.retention.age_ms.saturating_mul(ages))
    }

    pub(super) fn page_after(&self, topic: TopicName, after: MessageId, limit: usize) -> Page {
        let start = self.entries.partition_point(|entry| entry.id <= after);
        let entries: Vec<_> = self.entries.range(start..).take(limit).cloned().collect();
        let more = entries.len() == limit;
        Page {
            topic,
            entries,
            more,
        }
    }

    pub(super) fn page_between(&self, range: Range) -> Page {
        let start = self
            .entries
            .partition_point(|entry| entry.id <= range.after);
        let end = range.before.map_or(self.entries.len(), |before| {
            self.entries.partition_point(|entry| entry.id < before)
        });
        let end = end.max(start);
        let within = self.entries.range(start..end);
        let entries: Vec<_> = if range.reverse {
            within.rev().take(range.limit).cloned().collect()
        } else {
            within.take(range.limit).cloned().collect()
        };
        let more = end - start > entries.len();
        Page {
            topic: range.topic,
            entries,
            more,
        }
    }

    /// Forgets every entry after `id`, as a store does that restarts without them.
    pub(super) fn lose_after(&mut self, id: MessageId) {
        while let Some(newest) = self.entries.back() {
            if newest.id <= id {
                break;
            }
            self.tip = newest.prev;
            self.entries.pop_back();
        }
        // The back link of a trimmed log may still lie after the cut.
        self.tip = self.tip.min(id);
    }
}
