//! Which topics of a partition are live on this node, and the ring of each.

use std::collections::HashMap;
use std::sync::Arc;

use sparkway_protocol::{Entry, MessageId, TopicName};
use sparkway_topic::{Ring, RingBounds, Verdict, judge};

/// How much memory the rings of one partition may take.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    /// Entries per topic.
    pub entries: usize,
    /// Payload bytes per topic, while the partition's budget allows it.
    pub bytes: usize,
    /// Payload bytes of all topics of the partition together.
    pub total_bytes: usize,
    /// How much wider than a ring a backfill may make it, for a storm of resumes.
    pub backfill_factor: usize,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self {
            entries: 256,
            bytes: 256 * 1024,
            total_bytes: 64 << 20,
            backfill_factor: 4,
        }
    }
}

/// How far back the memory of this node reaches for a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The topic is not live (yet).
    NotLive,
    /// Everything after the asked id is in the ring.
    Whole,
    /// The ring begins only after this id.
    From(MessageId),
}

/// The live topics of a partition on this node. Written by the partition's reader; workers read
/// rings and count their interest. Behind a lock that is held for microseconds.
#[derive(Debug)]
pub struct PartitionLog {
    position: MessageId,
    bounds: LogBounds,
    bytes: usize,
    evicted: u64,
    topics: HashMap<TopicName, Topic>,
}

#[derive(Debug)]
struct Topic {
    ring: Option<Ring>,
    /// Workers with seats, and operations that need the topic live.
    interest: u32,
    /// The reader was asked to follow it.
    asked: bool,
    /// The reader is about to let it go; whoever wants it now is served after that.
    leaving: bool,
    /// When the interest ended, in monotonic milliseconds.
    idle_since_ms: u64,
}

impl PartitionLog {
    /// No topic yet; the partition's newest id is `position`.
    #[must_use]
    pub fn new(position: MessageId, bounds: LogBounds) -> Self {
        Self {
            position,
            bounds,
            bytes: 0,
            evicted: 0,
            topics: HashMap::new(),
        }
    }

    /// Everything up to this id is applied for all live topics.
    #[must_use]
    pub const fn position(&self) -> MessageId {
        self.position
    }

    /// Moves the position forward.
    pub fn reached(&mut self, position: MessageId) {
        self.position = self.position.max(position);
    }

    /// How many want a topic.
    #[must_use]
    pub fn interest(&self, topic: &TopicName) -> u64 {
        let known = self.topics.get(topic);
        known.map_or(0, |known| u64::from(known.interest))
    }

    /// Notes an interest in a topic. Says whether the reader has to follow it.
    #[must_use]
    pub fn want(&mut self, topic: &TopicName) -> bool {
        if let Some(known) = self.topics.get_mut(topic) {
            known.interest += 1;
            return !known.leaving && !std::mem::replace(&mut known.asked, true);
        }
        let new = Topic {
            ring: None,
            interest: 1,
            asked: true,
            leaving: false,
            idle_since_ms: 0,
        };
        self.topics.insert(topic.clone(), new);
        true
    }

    /// The topic did not become live in time: whoever wants it next asks the reader again.
    pub fn forsake(&mut self, topic: &TopicName) {
        if let Some(known) = self.topics.get_mut(topic)
            && known.ring.is_none()
        {
            known.asked = false;
        }
    }

    /// Drops what the ring of a topic holds up to an id: it is gone from the log on purpose.
    pub fn forget_until(&mut self, topic: &TopicName, until: MessageId) {
        let known = self.topics.get_mut(topic);
        if let Some(ring) = known.and_then(|known| known.ring.as_mut()) {
            let before = ring.bytes();
            ring.forget(until);
            self.bytes -= before - ring.bytes();
        }
    }

    /// Takes an interest back.
    pub fn unwant(&mut self, topic: &TopicName, now_mono_ms: u64) {
        if let Some(known) = self.topics.get_mut(topic) {
            known.interest = known.interest.saturating_sub(1);
            known.idle_since_ms = now_mono_ms;
        }
    }

    /// Names the topics that nobody wanted for `linger_ms`, and drops their rings. The reader tells
    /// the feed, then calls [`PartitionLog::let_go`]: a topic that is wanted in between must not be
    /// followed before it was forgotten.
    #[must_use]
    pub fn begin_forgetting(&mut self, now_mono_ms: u64, linger_ms: u64) -> Vec<TopicName> {
        let mut idle = Vec::new();
        for (name, topic) in &mut self.topics {
            let since = now_mono_ms.saturating_sub(topic.idle_since_ms);
            if topic.interest == 0 && !topic.leaving && since >= linger_ms {
                topic.leaving = true;
                self.bytes -= topic.ring.take().map_or(0, |ring| ring.bytes());
                idle.push(name.clone());
            }
        }
        idle.sort_unstable();
        idle
    }

    /// The feed was told to forget these topics. Returns those that are wanted again: to be
    /// followed anew.
    #[must_use]
    pub fn let_go(&mut self, forgotten: Vec<TopicName>) -> Vec<TopicName> {
        let mut wanted = Vec::new();
        for name in forgotten {
            match self.topics.get_mut(&name) {
                Some(topic) if topic.interest > 0 => {
                    (topic.leaving, topic.asked) = (false, true);
                    wanted.push(name);
                }
                Some(_) => {
                    self.topics.remove(&name);
                }
                None => {}
            }
        }
        wanted
    }

    /// The topic is live at `tip`.
    pub fn live(&mut self, topic: &TopicName, tip: MessageId) {
        self.reached(tip);
        if let Some(known) = self.topics.get_mut(topic)
            && known.ring.is_none()
            && !known.leaving
        {
            known.ring = Some(Ring::new(tip));
        }
    }

    /// Judges an entry against what is known of its topic; `None` for a topic that is not live.
    #[must_use]
    pub fn judge(&self, entry: &Entry) -> Option<Verdict> {
        let ring = self.topics.get(&entry.topic)?.ring.as_ref()?;
        Some(judge(ring.last(), entry))
    }

    /// Keeps an entry that continues its topic.
    pub fn push(&mut self, entry: Arc<Entry>) {
        self.reached(entry.id);
        let bounds = self.ring_bounds(1);
        if let Some(Topic {
            ring: Some(ring), ..
        }) = self.topics.get_mut(&entry.topic)
        {
            let (before, held) = (ring.bytes(), ring.len());
            ring.push(entry, bounds);
            self.bytes = self.bytes + ring.bytes() - before;
            self.evicted += (held + 1).saturating_sub(ring.len()) as u64;
        }
    }

    /// The log no longer has everything between a topic's ring and what follows: the ring begins
    /// again behind `tip`, so that whoever is before it reads the log and finds the gap.
    pub fn restart(&mut self, topic: &TopicName, tip: MessageId) {
        if let Some(Topic {
            ring: Some(ring), ..
        }) = self.topics.get_mut(topic)
            && ring.last() < tip
        {
            self.bytes -= ring.bytes();
            ring.restart(tip);
        }
    }

    /// The newest id of a live topic that is applied; `None` when it is not live.
    #[must_use]
    pub fn last(&self, topic: &TopicName) -> Option<MessageId> {
        self.topics.get(topic)?.ring.as_ref().map(Ring::last)
    }

    /// The live topics with the newest id of each.
    #[must_use]
    pub fn live_topics(&self) -> Vec<(TopicName, MessageId)> {
        let topics = self.topics.iter();
        let live =
            |(name, topic): (&TopicName, &Topic)| Some((name.clone(), topic.ring.as_ref()?.last()));
        let mut live: Vec<_> = topics.filter_map(live).collect();
        // In one order always, so that a simulation can be repeated.
        live.sort_unstable();
        live
    }

    /// How many topics are live or about to be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether no topic is live or about to be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Payload bytes in all rings.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries that left a ring for newer ones since the start.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The live topics with how many entries the ring of each holds.
    pub fn rings(&self) -> impl Iterator<Item = (&TopicName, usize)> {
        self.topics
            .iter()
            .filter_map(|(name, topic)| Some((name, topic.ring.as_ref()?.len())))
    }

    /// How far back the ring of a topic reaches, seen from `after`.
    #[must_use]
    pub fn coverage(&self, topic: &TopicName, after: MessageId) -> Coverage {
        match self.topics.get(topic).and_then(|topic| topic.ring.as_ref()) {
            None => Coverage::NotLive,
            Some(ring) if ring.covers(after) => Coverage::Whole,
            Some(ring) => Coverage::From(ring.start()),
        }
    }

    /// Entries of a topic's ring with `after < id <= until`.
    #[must_use]
    pub fn between(
        &self,
        topic: &TopicName,
        after: MessageId,
        until: MessageId,
    ) -> Vec<Arc<Entry>> {
        self.topics
            .get(topic)
            .and_then(|topic| topic.ring.as_ref())
            .map(|ring| ring.between(after, until).cloned().collect())
            .unwrap_or_default()
    }

    /// The topic's newest id at or below `until`, as far as its ring knows.
    #[must_use]
    pub fn newest_until(&self, topic: &TopicName, until: MessageId) -> MessageId {
        self.topics
            .get(topic)
            .and_then(|topic| topic.ring.as_ref())
            .map_or(MessageId::ZERO, |ring| ring.newest_until(until))
    }

    /// Puts the whole of a log between `after` and the ring's start in front of the ring.
    pub fn backfill(&mut self, topic: &TopicName, after: MessageId, older: &[Arc<Entry>]) {
        let bounds = self.ring_bounds(self.bounds.backfill_factor);
        if let Some(Topic {
            ring: Some(ring), ..
        }) = self.topics.get_mut(topic)
        {
            let before = ring.bytes();
            ring.backfill(after, older, bounds);
            self.bytes = self.bytes + ring.bytes() - before;
        }
    }

    /// The bounds of one ring now: the budget of the partition is shared by its live topics.
    fn ring_bounds(&self, factor: usize) -> RingBounds {
        let share = self.bounds.total_bytes / self.topics.len().max(1);
        RingBounds {
            entries: self.bounds.entries * factor,
            bytes: (self.bounds.bytes * factor).min(share.max(4096)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    #[test]
    fn a_topic_wanted_while_it_is_let_go_is_followed_after_it_was_forgotten() {
        let mut log = PartitionLog::new(MessageId::ZERO, LogBounds::default());
        let name = topic("a");
        assert!(log.want(&name), "the first one asks");
        log.live(&name, MessageId::ZERO);
        assert!(!log.want(&name), "it is live already");
        log.unwant(&name, 10);
        log.unwant(&name, 10);
        assert!(log.begin_forgetting(1000, 5000).is_empty());
        let leaving = log.begin_forgetting(6000, 5000);
        assert_eq!(leaving, std::slice::from_ref(&name));
        assert!(!log.want(&name), "not before it was forgotten");
        log.live(&name, MessageId::ZERO);
        assert_eq!(
            log.coverage(&name, MessageId::MAX),
            Coverage::NotLive,
            "an old answer"
        );
        assert_eq!(log.let_go(leaving), std::slice::from_ref(&name));
        log.live(&name, MessageId::ZERO);
        assert_eq!(log.coverage(&name, MessageId::MAX), Coverage::Whole);
        log.unwant(&name, 6000);
        let leaving = log.begin_forgetting(60_000, 5000);
        assert!(log.let_go(leaving).is_empty());
        assert!(log.is_empty());
    }

    #[test]
    fn whoever_stands_before_a_hole_in_the_log_is_not_served_from_the_ring() {
        let id = |raw| MessageId::new(raw).unwrap();
        let entry = |raw, prev| {
            Arc::new(Entry {
                id: id(raw),
                prev: id(prev),
                topic: topic("a"),
                trace: None,
                from: None,
                origin: None,
                exclude_origin: false,
                payload: sparkway_protocol::Payload::json("1".into()),
            })
        };
        let mut log = PartitionLog::new(MessageId::ZERO, LogBounds::default());
        assert!(log.want(&topic("a")));
        log.live(&topic("a"), MessageId::ZERO);
        log.push(entry(16, 0));
        // 32 was trimmed before this node had read it.
        log.restart(&topic("a"), id(32));
        log.push(entry(48, 32));
        assert_eq!(log.coverage(&topic("a"), id(16)), Coverage::From(id(32)));
        assert_eq!(log.coverage(&topic("a"), id(32)), Coverage::Whole);
        log.restart(&topic("a"), id(32));
        assert_eq!(
            log.last(&topic("a")),
            Some(id(48)),
            "older news change nothing"
        );
    }

    #[test]
    fn a_topic_that_did_not_become_live_is_asked_for_again() {
        let mut log = PartitionLog::new(MessageId::ZERO, LogBounds::default());
        assert!(log.want(&topic("a")));
        assert!(!log.want(&topic("a")));
        log.forsake(&topic("a"));
        assert!(log.want(&topic("a")));
    }
}
