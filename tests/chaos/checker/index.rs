//! What the rules look up again and again.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{
    Answer, Gap, History, Key, Reason, Request, Session, Stored, Topic, What, partition_of,
};

/// A history by topic, key and id.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Entries of each log by id.
    pub(super) stored: BTreeMap<Topic, BTreeMap<u64, Key>>,
    /// All that clients tried to publish.
    pub(super) published: BTreeSet<(Topic, Key)>,
    /// Ids that were acknowledged or delivered to anybody.
    pub(super) known: BTreeMap<Topic, BTreeSet<u64>>,
    /// The partition of each topic of which anything was seen.
    pub(super) partitions: BTreeMap<Topic, u64>,
    /// What anybody was told of the store's losses.
    pub(super) rewound: Vec<Gap>,
    /// Publishes that were never answered with an id on the connection that asked, and when.
    unanswered: BTreeMap<Topic, Vec<(u64, Key)>>,
    /// What was answered with one at last.
    answered: BTreeSet<(Topic, Key)>,
    /// Since when the store may be another.
    pub(super) losses: Vec<u64>,
    /// From when to when a server that may have lost its newest writes was gone or was replaced.
    pub(super) outages: Vec<(u64, u64)>,
    /// Per partition, when which id was acknowledged or delivered to anybody.
    seen: BTreeMap<u64, Vec<(u64, u64)>>,
}

impl Index {
    pub(super) fn new(history: &History) -> Self {
        let mut index = Self {
            losses: history.losses.clone(),
            outages: history.outages.clone(),
            ..Self::default()
        };
        for (topic, log) in &history.logs {
            for Stored { id, key } in log {
                index.note(topic, *id);
                let stored = index.stored.entry(topic.clone()).or_default();
                stored.insert(*id, *key);
            }
        }
        for session in &history.sessions {
            index.add(session);
        }
        index
    }

    fn add(&mut self, session: &Session) {
        let mut asked = BTreeMap::new();
        for step in &session.steps {
            match &step.what {
                What::Asked {
                    id,
                    request: Request::Publish { topic, key },
                } => {
                    let publish = (topic.clone(), *key, step.at_us);
                    asked.insert((step.conn, id.clone()), publish);
                    self.published.insert((topic.clone(), *key));
                }
                What::Answered {
                    id,
                    answer: Answer::Stored { id: stored },
                } => {
                    if let Some((topic, key, _)) = asked.remove(&(step.conn, id.clone())) {
                        self.note(&topic, *stored);
                        self.answered.insert((topic, key));
                        self.see(*stored, step.at_us);
                    }
                }
                What::Message { topic, id, .. } => {
                    self.note(topic, *id);
                    self.see(*id, step.at_us);
                }
                What::Gap(gap) => self.tell(gap),
                What::Resumed { gaps, .. } => gaps.iter().for_each(|gap| self.tell(gap)),
                _ => {}
            }
        }
        for (topic, key, at_us) in asked.into_values() {
            self.unanswered.entry(topic).or_default().push((at_us, key));
        }
    }

    /// Whether the topic may have held, by this time, something under an id that nobody was told:
    /// a repeat names the same id, unless the store lost what it knew of the first try.
    pub(super) fn may_have_held_more(&self, topic: &Topic, at_us: u64) -> bool {
        let tries = self.unanswered.get(topic).into_iter().flatten();
        let mut before = tries.filter(|(tried_us, _)| *tried_us < at_us);
        let is_unknown = |key: Key| {
            self.may_have_lost_by(at_us) || !self.answered.contains(&(topic.clone(), key))
        };
        before.any(|(_, key)| is_unknown(*key))
    }

    fn note(&mut self, topic: &Topic, id: u64) {
        self.known.entry(topic.clone()).or_default().insert(id);
        self.partitions
            .entry(topic.clone())
            .or_insert(partition_of(id));
    }

    fn see(&mut self, id: u64, at_us: u64) {
        let seen = self.seen.entry(partition_of(id)).or_default();
        seen.push((at_us, id));
    }

    /// The newest id of a topic's partition that anybody knew of before this time: what is
    /// published from then on has a newer one, also after the store lost some.
    pub(super) fn newest_before(&self, topic: &Topic, at_us: u64) -> u64 {
        let partition = self.partitions.get(topic);
        let seen = partition.and_then(|partition| self.seen.get(partition));
        let before = seen.into_iter().flatten().filter(|(at, _)| *at < at_us);
        before.map(|(_, id)| *id).max().unwrap_or_default()
    }

    /// Since when this id may have been lost: the first loss after anybody received it for the last
    /// time, or so long before.
    pub(super) fn lost_since(&self, id: u64, before_us: u64) -> Option<u64> {
        let seen = self.seen.get(&partition_of(id)).into_iter().flatten();
        let known = seen.filter(|(_, seen)| *seen == id);
        let known_us = known.map(|(at_us, _)| *at_us).max()?;
        let losses = self.losses.iter().copied();
        losses.filter(|loss| loss + before_us > known_us).min()
    }

    fn tell(&mut self, gap: &Gap) {
        if gap.reason == Reason::Rewound && !self.rewound.contains(gap) {
            self.rewound.push(gap.clone());
        }
    }

    /// What is stored under this id.
    pub(super) fn at(&self, topic: &Topic, id: u64) -> Option<Key> {
        self.stored.get(topic)?.get(&id).copied()
    }

    /// Whether anybody was told that the store lost what it had around this id. A hole is one of a
    /// whole partition.
    pub(super) fn is_in_a_hole(&self, id: u64) -> bool {
        let of_partition = |gap: &&Gap| {
            self.partitions
                .get(&gap.topic)
                .is_some_and(|partition| *partition == partition_of(id))
        };
        let mut gaps = self.rewound.iter().filter(of_partition);
        gaps.any(|gap| gap.covers(id))
    }

    /// Whether a bounded log has let go of this id.
    pub(super) fn is_trimmed(&self, history: &History, topic: &Topic, id: u64) -> bool {
        let oldest = self.stored.get(topic).and_then(|log| log.keys().next());
        history.bounded.contains(topic) && oldest.is_none_or(|oldest| id < *oldest)
    }

    /// Whether the store may have become another at or before this time.
    pub(super) fn may_have_lost_by(&self, at_us: u64) -> bool {
        self.losses.iter().any(|loss| *loss <= at_us)
    }
}
