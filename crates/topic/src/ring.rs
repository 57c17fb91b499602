//! The newest entries of a live topic, kept in memory for replays and repairs.

use std::collections::VecDeque;
use std::sync::Arc;

use sparkway_protocol::{Entry, MessageId};

/// How much a ring may hold. The older end goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBounds {
    /// Entries.
    pub entries: usize,
    /// Payload bytes.
    pub bytes: usize,
}

/// How many entries one push may drop: after a wide backfill the ring shrinks push by push, so
/// that sessions which wait for the same entries still find them.
const EVICTIONS_PER_PUSH: usize = 8;

/// A contiguous piece of a topic log: every entry after [`Ring::start`] up to [`Ring::last`].
#[derive(Debug, Default)]
pub struct Ring {
    start: MessageId,
    last: MessageId,
    bytes: usize,
    entries: VecDeque<Arc<Entry>>,
}

impl Ring {
    /// An empty ring of a topic whose newest id is `tip`.
    #[must_use]
    pub fn new(tip: MessageId) -> Self {
        Self {
            start: tip,
            last: tip,
            bytes: 0,
            entries: VecDeque::new(),
        }
    }

    /// The ring holds everything after this id.
    #[must_use]
    pub const fn start(&self) -> MessageId {
        self.start
    }

    /// The newest id of the topic that the node has applied.
    #[must_use]
    pub const fn last(&self) -> MessageId {
        self.last
    }

    /// Payload bytes held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether everything after `cursor` is here.
    #[must_use]
    pub fn covers(&self, cursor: MessageId) -> bool {
        cursor >= self.start
    }

    /// Adds the topic's next entry and drops the oldest ones over the bounds. An entry that is not
    /// newer than the last one is ignored.
    pub fn push(&mut self, entry: Arc<Entry>, bounds: RingBounds) {
        if entry.id <= self.last {
            return;
        }
        self.last = entry.id;
        self.bytes += entry.payload.bytes.len();
        self.entries.push_back(entry);
        self.trim(bounds, EVICTIONS_PER_PUSH);
    }

    /// Drops entries up to an id: they are gone from the log on purpose.
    pub fn forget(&mut self, until: MessageId) {
        while let Some(oldest) = self.entries.front().filter(|oldest| oldest.id <= until) {
            self.bytes -= oldest.payload.bytes.len();
            self.start = oldest.id;
            self.entries.pop_front();
        }
    }

    /// Drops the oldest entries over the bounds, at most `most` of them.
    pub fn trim(&mut self, bounds: RingBounds, most: usize) {
        for _ in 0..most {
            if self.entries.len() <= bounds.entries && self.bytes <= bounds.bytes {
                return;
            }
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.start = oldest.id;
            self.bytes -= oldest.payload.bytes.len();
        }
    }

    /// Puts older entries in front: the whole of the log between `after` and [`Ring::start`]. The
    /// caller has read them from the log, in order; entries that are here already are ignored.
    /// Does nothing when they do not reach up to the start, or would not reach further back. `bounds` may be wider than those of
    /// [`Ring::push`]: what a storm of resumes wants goes again slowly, with the pushes after it.
    pub fn backfill(&mut self, after: MessageId, older: &[Arc<Entry>], bounds: RingBounds) {
        // Read before the ring moved on: between the page and the ring something would be missing.
        let reaches = older.last().is_some_and(|newest| newest.id >= self.start);
        if after >= self.start || !reaches {
            return;
        }
        let start = self.start;
        for entry in older.iter().rev().filter(|entry| entry.id <= start) {
            self.bytes += entry.payload.bytes.len();
            self.entries.push_front(Arc::clone(entry));
        }
        self.start = after;
        self.trim(bounds, usize::MAX);
    }

    /// Forgets everything held and starts again at `tip`: after a repair that jumped over a hole.
    pub fn restart(&mut self, tip: MessageId) {
        *self = Self::new(tip);
    }

    /// The entries with `after < id <= until`, in order.
    pub fn between(&self, after: MessageId, until: MessageId) -> impl Iterator<Item = &Arc<Entry>> {
        let from = self.entries.partition_point(|entry| entry.id <= after);
        let to = self.entries.partition_point(|entry| entry.id <= until);
        self.entries.range(from..to.max(from))
    }

    /// The topic's newest id at or below `until`, as far as the ring knows: [`Ring::start`] when
    /// none of its entries is that old.
    #[must_use]
    pub fn newest_until(&self, until: MessageId) -> MessageId {
        let count = self.entries.partition_point(|entry| entry.id <= until);
        count
            .checked_sub(1)
            .and_then(|at| self.entries.get(at))
            .map_or(self.start, |entry| entry.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::tests::entry;

    const BOUNDS: RingBounds = RingBounds {
        entries: 3,
        bytes: 1000,
    };

    fn id(raw: u64) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    fn ids<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Vec<u64> {
        entries.map(|entry| entry.id.get()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_start_follows_them() {
        let mut ring = Ring::new(id(16));
        for at in 2..8 {
            ring.push(Arc::new(entry("t", at * 16, at * 16 - 16)), BOUNDS);
        }
        assert_eq!(
            ids(ring.between(MessageId::ZERO, MessageId::MAX)),
            [80, 96, 112]
        );
        assert_eq!(ring.start(), id(64));
        assert!(ring.covers(id(64)) && !ring.covers(id(63)));
        assert_eq!(ids(ring.between(id(80), id(96))), [96]);
        assert_eq!(ring.newest_until(id(100)), id(96));
        assert_eq!(ring.newest_until(id(70)), id(64));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut ring = Ring::new(MessageId::ZERO);
        let bounds = RingBounds {
            entries: 100,
            bytes: 5,
        };
        for at in 1..10 {
            ring.push(Arc::new(entry("t", at * 16, at * 16 - 16)), bounds);
        }
        assert!(ring.bytes() <= 5);
        assert!(ring.len() < 9);
    }

    #[test]
    fn backfill_that_does_not_reach_the_ring_is_refused() {
        let mut ring = Ring::new(id(16));
        for at in 2..8 {
            ring.push(Arc::new(entry("t", at * 16, at * 16 - 16)), BOUNDS);
        }
        let start = ring.start();
        let older = [Arc::new(entry("t", 32, 16))];
        ring.backfill(
            id(16),
            &older,
            RingBounds {
                entries: 10,
                bytes: 1000,
            },
        );
        assert_eq!(ring.start(), start, "32 to the start is missing");
        ring.backfill(
            id(16),
            &[],
            RingBounds {
                entries: 10,
                bytes: 1000,
            },
        );
        assert_eq!(ring.start(), start);
    }

    #[test]
    fn backfill_joins_without_hole_or_repetition() {
        let mut ring = Ring::new(id(48));
        ring.push(Arc::new(entry("t", 64, 48)), BOUNDS);
        let older: Vec<_> = [32, 48, 64]
            .map(|raw| Arc::new(entry("t", raw, raw - 16)))
            .to_vec();
        ring.backfill(
            id(16),
            &older,
            RingBounds {
                entries: 10,
                bytes: 1000,
            },
        );
        assert_eq!(
            ids(ring.between(MessageId::ZERO, MessageId::MAX)),
            [32, 48, 64]
        );
        assert_eq!(ring.start(), id(16));
        assert_eq!(ring.last(), id(64));
    }
}
