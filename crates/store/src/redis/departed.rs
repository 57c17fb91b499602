//! Which server process the feed of a partition hears, and which ones it has left.
//!
//! After a failover the connections of a node do not change servers at one moment, and a former
//! master may go on answering. Its logs lack what the feed has said to be in them, and what it takes
//! comes undone. So a command does not go to a process that the feed has left. One that is ahead of
//! the feed is no harm: the feed comes there later, and tells what was lost.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many processes are remembered.
const REMEMBERED: usize = 8;

/// What the feed of one partition has left.
#[derive(Debug, Default)]
pub(super) struct Departed {
    sides: Mutex<Sides>,
    doubted: Notify,
}

#[derive(Debug, Default)]
struct Sides {
    now: Option<Box<str>>,
    /// With the moment at which the feed came to the next one, oldest first.
    left: VecDeque<(Box<str>, Instant)>,
}

impl Departed {
    fn sides(&self) -> MutexGuard<'_, Sides> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the feed tells what this process has.
    pub(super) fn arrive(&self, run_id: &str) {
        let mut sides = self.sides();
        let is_here = |one: &str| one == run_id;
        let before = sides.now.replace(run_id.into());
        if let Some(before) = before.filter(|before| !is_here(before)) {
            if sides.left.len() >= REMEMBERED {
                sides.left.pop_front();
            }
            sides.left.push_back((before, Instant::now()));
        }
        sides.left.retain(|(one, _)| !is_here(one));
    }

    /// The feed is read no more.
    pub(super) fn end(&self) {
        *self.sides() = Sides::default();
    }

    /// When the feed left this process, if it has.
    pub(super) fn left_at(&self, run_id: &str) -> Option<Instant> {
        let sides = self.sides();
        let mut left = sides.left.iter();
        let found = left.find(|(one, _)| **one == *run_id);
        found.map(|(_, at)| *at)
    }

    /// Commands lead to a process that the feed has left: it may be the feed that is wrong.
    pub(super) fn doubt(&self) {
        self.doubted.notify_waiters();
    }

    /// Ends when the feed is doubted.
    pub(super) async fn is_doubted(&self) {
        self.doubted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_feed_has_left_is_refused() {
        let departed = Departed::default();
        let is_left = |run_id: &str| departed.left_at(run_id).is_some();
        departed.arrive("a");
        departed.arrive("a");
        assert!(!is_left("a") && !is_left("b"), "b is ahead of it");
        departed.arrive("b");
        assert!(is_left("a") && !is_left("b"));
        departed.arrive("a");
        assert!(is_left("b") && !is_left("a"), "it came back");
        departed.end();
        assert!(!is_left("b"));
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let departed = Departed::default();
        for number in 0..20 {
            departed.arrive(&number.to_string());
        }
        let left = (0..20).filter(|number| departed.left_at(&number.to_string()).is_some());
        assert!(left.eq(11..19));
    }
}
