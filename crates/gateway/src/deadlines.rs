//! The one deadline mechanism of a worker: no timer task per connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use sparkway_session::Input;

use crate::handle::Handle;

/// How often a worker looks at its deadlines, in milliseconds: they are met this late at most.
pub(crate) const TICK_MS: u64 = 100;

/// Connections by the time at which they want to be looked at. Each has one entry that counts; a
/// heartbeat only moves the deadline in its handle, and the entry follows when it comes up. A
/// deadline that comes nearer gets a new entry; the old one is dropped when it comes up.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<Due>>,
}

#[derive(Debug)]
struct Due {
    at_ms: u64,
    handle: Weak<Handle>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}

impl Deadlines {
    /// Looks at a connection at its present deadline, and not at the time noted before.
    pub(crate) fn watch(&mut self, handle: &Arc<Handle>) {
        self.look_at(handle, handle.deadline_ms());
    }

    fn look_at(&mut self, handle: &Arc<Handle>, at_ms: u64) {
        handle.set_watched(at_ms);
        self.heap.push(Reverse(Due {
            at_ms,
            handle: Arc::downgrade(handle),
        }));
    }

    /// All connections of the worker that are still there.
    pub(crate) fn everybody(&self) -> Vec<Arc<Handle>> {
        self.heap
            .iter()
            .filter_map(|Reverse(due)| due.handle.upgrade())
            .collect()
    }

    /// Posts a tick to each connection whose deadline has passed.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        while let Some(Reverse(due)) = self.heap.peek()
            && due.at_ms <= now_ms
        {
            let Some(Reverse(due)) = self.heap.pop() else {
                return;
            };
            let Some(handle) = due.handle.upgrade() else {
                continue;
            };
            if due.at_ms != handle.watched_ms() {
                continue;
            }
            let wanted = handle.deadline_ms();
            let at_ms = if wanted <= now_ms {
                handle.post(Input::Tick);
                now_ms + 10 * TICK_MS
            } else {
                wanted
            };
            self.look_at(&handle, at_ms);
        }
        if self.heap.capacity() > 4 * self.heap.len().max(64) {
            self.heap.shrink_to(2 * self.heap.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_moved_is_not_told_early_and_one_that_passed_is_told() {
        let mut deadlines = Deadlines::default();
        let handle = Arc::new(Handle::new(1000, false));
        handle.set_deadline(1000);
        deadlines.watch(&handle);
        handle.set_deadline(5000);
        deadlines.tick(1000);
        assert!(handle.take_mail().is_empty());
        deadlines.tick(4999);
        assert!(handle.take_mail().is_empty());
        deadlines.tick(5000);
        assert_eq!(handle.take_mail().len(), 1);
        handle.set_deadline(7000);
        deadlines.watch(&handle);
        handle.set_deadline(6500);
        deadlines.watch(&handle);
        deadlines.tick(6499);
        assert!(handle.take_mail().is_empty());
        deadlines.tick(6500);
        assert_eq!(handle.take_mail().len(), 1, "a deadline may come nearer");
        handle.set_deadline(9000);
        deadlines.tick(8000);
        assert!(handle.take_mail().is_empty(), "and is told once");
        assert_eq!(deadlines.heap.len(), 1);
        drop(handle);
        deadlines.tick(100_000);
        assert!(deadlines.heap.is_empty());
    }
}
