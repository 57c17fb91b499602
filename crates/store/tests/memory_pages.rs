//! Whatever was appended, trimmed and lost: pages and back links tell a reader exactly whether it
//! missed something.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use sparkway_protocol::{Durability, MessageId, Partitions, Payload, TopicName};
use sparkway_store::memory::{MemorySettings, MemoryStore};
use sparkway_store::record::Range;
use sparkway_store::{Append, Retention, Store, Want};

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// Append to a topic with this bound of entries and of age.
    Append {
        topic: usize,
        entries: u32,
        age_ms: u64,
    },
    /// Time passes.
    Wait(u64),
    /// A reader of a topic that has got as far as the nth id ever given (of any topic) reads on
    /// in pages of this length.
    Read {
        topic: usize,
        position: usize,
        page: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append =
        (0..6_usize, 1..8_u32, 1500..6000_u64).prop_map(|(topic, entries, age_ms)| Step::Append {
            topic,
            entries,
            age_ms,
        });
    let wait = (0..800_u64).prop_map(Step::Wait);
    let read =
        (0..6_usize, 0..1000_usize, 1..5_usize).prop_map(|(topic, position, page)| Step::Read {
            topic,
            position,
            page,
        });
    prop::collection::vec(prop_oneof![4 => append, 1 => wait, 3 => read], 1..150)
}

/// What was given in one topic.
#[derive(Default)]
struct Given {
    ids: Vec<MessageId>,
    /// When the tip may be forgotten, unless something is appended before.
    spent_ms: u64,
    /// A tip that may have been forgotten: only a reader that has got that far can be sure.
    forgotten: MessageId,
}

impl Given {
    fn turn(&mut self, now_ms: u64) {
        if self.spent_ms <= now_ms {
            self.forgotten = self.tip();
        }
    }

    fn tip(&self) -> MessageId {
        self.ids.last().copied().unwrap_or_default()
    }
}

/// The store under test and all that was ever given.
struct Run {
    store: MemoryStore,
    now_ms: Arc<AtomicU64>,
    topics: Vec<TopicName>,
    given: BTreeMap<TopicName, Given>,
    positions: Vec<MessageId>,
}

impl Run {
    fn new(partitions: u8) -> Self {
        let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
        let time = Arc::clone(&now_ms);
        let store = MemoryStore::new(MemorySettings {
            partitions: Partitions::new(partitions).unwrap(),
            clock: Arc::new(move || time.load(Ordering::Relaxed)),
            ..MemorySettings::default()
        });
        let topics = (0..6).map(|at| TopicName::parse(&format!("t{at}")).unwrap());
        Self {
            store,
            now_ms,
            topics: topics.collect(),
            given: BTreeMap::new(),
            positions: vec![MessageId::ZERO],
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Append {
                topic,
                entries,
                age_ms,
            } => self.append(topic, Retention { entries, age_ms }).await,
            Step::Wait(ms) => {
                self.now_ms.fetch_add(ms, Ordering::Relaxed);
            }
            Step::Read {
                topic,
                position,
                page,
            } => {
                let topic = self.topics[topic].clone();
                // A position in the topic's partition, often one of a neighbour.
                let partition = self.store.partitions().of(topic.as_str());
                let near: Vec<_> = self
                    .positions
                    .iter()
                    .copied()
                    .filter(|id| *id == MessageId::ZERO || id.partition() == partition)
                    .collect();
                let after = near[position % near.len()];
                self.read(&topic, after, page).await;
            }
        }
    }

    async fn append(&mut self, topic: usize, retention: Retention) {
        let topic = self.topics[topic].clone();
        let partition = self.store.partitions().of(topic.as_str());
        let message = Append {
            topic: topic.clone(),
            payload: Payload::json(Bytes::from_static(b"1")),
            from: None,
            origin: None,
            exclude_origin: false,
            digest: rand::random(),
            fence: None,
            trace: None,
            durability: Durability::Stored,
            retention,
        };
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let given = self.given.entry(topic).or_default();
        given.turn(now_ms);
        let answers = self.store.append(partition, vec![message]).await.unwrap();
        let id = answers[0].clone().unwrap().id;
        assert!(
            self.positions
                .iter()
                .all(|&other| other.partition() != partition || other < id)
        );
        given.ids.push(id);
        given.spent_ms = now_ms + 2 * retention.age_ms;
        self.positions.push(id);
    }

    /// Reads to the end and compares what the links tell with what was given.
    async fn read(&mut self, topic: &TopicName, after: MessageId, limit: usize) {
        let partition = self.store.partitions().of(topic.as_str());
        let mut entries = Vec::new();
        let mut from = after;
        loop {
            let want = Want {
                topic: topic.clone(),
                after: from,
            };
            let mut pages = self.store.read(partition, vec![want], limit).await.unwrap();
            let page = pages.pop().unwrap();
            assert!(page.entries.len() <= limit);
            assert_eq!(page.more, page.entries.len() == limit);
            entries.extend(page.entries);
            assert!(
                entries.len() <= self.positions.len(),
                "each entry is in one page"
            );
            match entries.last() {
                Some(newest) if page.more => from = newest.id,
                _ => break,
            }
        }
        let read: Vec<_> = entries.iter().map(|entry| entry.id).collect();
        let given = self.given.entry(topic.clone()).or_default();
        given.turn(self.now_ms.load(Ordering::Relaxed));
        let wanted: Vec<_> = given.ids.iter().copied().filter(|&id| id > after).collect();
        assert!(wanted.ends_with(&read), "a log loses its oldest first");
        assert!(entries.is_sorted_by(|older, newer| newer.prev == older.id));
        let tip = self.store.tip(topic.clone()).await.unwrap();
        if after >= given.forgotten {
            // What a receiver can see: the first link, every link between, the tip.
            let first = entries.first().map_or(tip, |first| first.prev);
            let is_lossy = read.len() < wanted.len();
            assert_eq!(first > after, is_lossy, "the links tell a loss exactly");
        }
        let is_forgotten = tip == MessageId::ZERO && given.forgotten == given.tip();
        assert!(is_forgotten || tip == given.tip());
        let range = Range {
            topic: topic.clone(),
            after,
            before: None,
            limit: 1000,
            reverse: true,
        };
        let mut backwards = self.store.history(range).await.unwrap().entries;
        backwards.reverse();
        assert_eq!(backwards, entries, "both directions tell the same");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn links_and_tips_tell_a_loss_exactly(partitions in 1..5_u8, steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(partitions);
            for step in steps {
                run.step(step).await;
            }
        });
    }
}
