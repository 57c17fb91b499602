//! What is recorded in any case, for a while, because an operator wants to see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sparkway_protocol::{SessionId, TopicName};
use sparkway_store::Marked;

/// Marks that a node keeps at once; of more the one that ends first gives way.
const MOST: usize = 64;

/// The marks of one node.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Without any mark a publish pays for this look alone.
    any: AtomicBool,
    all: Mutex<Vec<(Marked, Instant)>>,
}

impl Marks {
    /// Marks something from now on, or ends its mark when the time is zero.
    pub(crate) fn set(&self, what: Marked, lasts: Duration) {
        let now = Instant::now();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(known, until)| *known != what && *until > now);
        if lasts > Duration::ZERO {
            if all.len() >= MOST
                && let Some(first) = (0..all.len()).min_by_key(|&at| all.get(at).map(|mark| mark.1))
            {
                all.swap_remove(first);
            }
            all.push((what, now + lasts));
        }
        self.any.store(!all.is_empty(), Ordering::Relaxed);
    }

    /// Whether a publish into this topic, perhaps of this session, is marked.
    pub(crate) fn cover(&self, topic: &TopicName, session: Option<SessionId>) -> bool {
        self.any.load(Ordering::Relaxed) && self.find(topic, session)
    }

    fn find(&self, topic: &TopicName, session: Option<SessionId>) -> bool {
        let now = Instant::now();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, until)| *until > now);
        self.any.store(!all.is_empty(), Ordering::Relaxed);
        all.iter().any(|(what, _)| match what {
            Marked::Topic(marked) => marked == topic,
            Marked::Session(marked) => Some(*marked) == session,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    #[test]
    fn what_is_marked_is_covered_until_its_time_is_over_or_it_is_unmarked() {
        let marks = Marks::default();
        let (one, other) = (topic("a:1"), topic("a:2"));
        assert!(!marks.cover(&one, None));
        marks.set(Marked::Topic(one.clone()), MINUTE);
        assert!(marks.cover(&one, None) && !marks.cover(&other, None));
        marks.set(Marked::Topic(one.clone()), Duration::ZERO);
        assert!(!marks.cover(&one, None));
        let session = SessionId::from_random([7; 16], sparkway_protocol::Partition::default());
        marks.set(Marked::Session(session), MINUTE);
        assert!(marks.cover(&other, Some(session)) && !marks.cover(&other, None));
        marks.set(Marked::Session(session), Duration::from_nanos(1));
        while marks.cover(&other, Some(session)) {}
    }

    #[test]
    fn a_node_keeps_no_more_marks_than_its_bound_and_drops_the_one_that_ends_first() {
        let marks = Marks::default();
        marks.set(Marked::Topic(topic("first")), MINUTE);
        for number in 0..MOST {
            marks.set(Marked::Topic(topic(&format!("later:{number}"))), 2 * MINUTE);
        }
        assert!(!marks.cover(&topic("first"), None));
        assert!(marks.cover(&topic("later:0"), None));
        assert_eq!(marks.all.lock().unwrap().len(), MOST);
    }
}
