//! What all connections heard together.

use serde_json::{Map, Value, json};

use crate::histogram::Histogram;
use crate::payload::Stamp;

/// Counts over all connections.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Connections that are subscribed, or resumed and replayed.
    pub(crate) live: usize,
    /// Messages that came in their place.
    pub(crate) delivered: u64,
    /// Messages that never came.
    pub(crate) lost: u64,
    /// Messages that came again, or after a later one.
    pub(crate) repeated: u64,
    /// Messages of a topic that nobody asked for here.
    pub(crate) strayed: u64,
    /// Publishes that the server stored.
    pub(crate) stored: u64,
    /// Sessions taken up again.
    pub(crate) resumed: u64,
    /// Messages that the server counted as replayed.
    pub(crate) replayed: u64,
    /// Connections that ended unasked.
    pub(crate) dropped: u64,
    /// Frames that should not occur, and the first of them.
    pub(crate) problems: u64,
    pub(crate) problem: Option<String>,
    /// Reads that brought something.
    pub(crate) reads: u64,
    pub(crate) latency: Histogram,
    /// Messages that all members of their topic have.
    pub(crate) complete: u64,
    /// Deliveries per topic.
    topics: Vec<u64>,
    members: u64,
}

impl Tally {
    /// Of `topics` topics with `members` connections each.
    pub(crate) fn new(topics: usize, members: u64) -> Self {
        Self {
            live: 0,
            delivered: 0,
            lost: 0,
            repeated: 0,
            strayed: 0,
            stored: 0,
            resumed: 0,
            replayed: 0,
            dropped: 0,
            problems: 0,
            problem: None,
            reads: 0,
            latency: Histogram::new(),
            complete: 0,
            topics: vec![0; topics],
            members,
        }
    }

    /// Counts a message for a connection that is on `topic` and expects number `next`; says which
    /// number it expects now.
    pub(crate) fn message(&mut self, stamp: Stamp, topic: u32, next: u64, now_ns: u64) -> u64 {
        if stamp.topic != topic {
            self.strayed += 1;
            return next;
        }
        if stamp.number < next {
            self.repeated += 1;
            return next;
        }
        self.lost += stamp.number - next;
        self.delivered += 1;
        self.latency.record(now_ns.saturating_sub(stamp.sent_ns));
        let count = usize::try_from(topic)
            .ok()
            .and_then(|topic| self.topics.get_mut(topic));
        if let Some(count) = count {
            *count += 1;
            self.complete += u64::from(*count % self.members == 0);
        }
        stamp.number + 1
    }

    pub(crate) fn problem(&mut self, what: String) {
        self.problems += 1;
        self.problem.get_or_insert(what);
    }

    /// A connection ended unasked.
    pub(crate) fn dropped(&mut self, what: impl FnOnce() -> String) {
        self.dropped += 1;
        self.problem.get_or_insert_with(what);
    }

    /// Whether everything went as it should.
    pub(crate) const fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.strayed + self.dropped + self.problems == 0
    }

    /// The counts that must be zero.
    pub(crate) fn defects(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("lost".into(), json!(self.lost));
        fields.insert("repeated".into(), json!(self.repeated));
        fields.insert("strayed".into(), json!(self.strayed));
        fields.insert("dropped".into(), json!(self.dropped));
        fields.insert("problems".into(), json!(self.problems));
        if let Some(problem) = &self.problem {
            fields.insert("problem".into(), json!(problem));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_repetitions_and_strays_are_told_apart() {
        let mut tally = Tally::new(2, 1);
        let stamp = |number, topic| Stamp {
            number,
            sent_ns: 0,
            topic,
        };
        let mut next = 0;
        for number in [0, 1, 4, 4, 2, 5] {
            next = tally.message(stamp(number, 1), 1, next, 10);
        }
        next = tally.message(stamp(9, 0), 1, next, 10);
        assert_eq!(next, 6);
        assert_eq!((tally.delivered, tally.lost), (4, 2));
        assert_eq!((tally.repeated, tally.strayed), (2, 1));
        assert!(!tally.is_clean());
    }

    #[test]
    fn a_message_is_complete_when_all_members_have_it() {
        let mut tally = Tally::new(1, 3);
        let stamp = Stamp {
            number: 0,
            sent_ns: 0,
            topic: 0,
        };
        for complete in [0, 0, 1] {
            tally.message(stamp, 0, 0, 0);
            assert_eq!(tally.complete, complete);
        }
        assert!(tally.is_clean());
    }
}
