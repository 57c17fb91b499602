//! A publisher and a reader that behave as the contract of the store asks, through every fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sparkway_protocol::{Durability, Entry, MessageId, Partition, Payload, TopicName};
use sparkway_store::feed::FeedRequest;
use sparkway_store::{
    Append, Appended, Feed, FeedEvent, Hole, Retention, Store, StoreError, Want, WriteError,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long something may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

/// A message with a digest of its own.
pub(crate) fn message(topic: &TopicName, text: &str) -> Append {
    Append {
        topic: topic.clone(),
        payload: Payload::json(Bytes::from(format!("\"{text}\""))),
        from: None,
        origin: None,
        exclude_origin: false,
        digest: rand::random(),
        fence: None,
        trace: None,
        durability: Durability::Stored,
        retention: Retention {
            entries: 100_000,
            age_ms: 600_000,
        },
    }
}

/// Appends one message once.
pub(crate) async fn append(store: &dyn Store, message: Append) -> Result<Appended, WriteError> {
    let partition = store.partitions().of(message.topic.as_str());
    let mut answers = store.append(partition, vec![message]).await?;
    answers.pop().unwrap()
}

/// Appends one message, and repeats it for as long as the store does not answer.
pub(crate) async fn publish(store: &dyn Store, message: Append) -> MessageId {
    let began = Instant::now();
    loop {
        match append(store, message.clone()).await {
            Ok(appended) => return appended.id,
            Err(WriteError::Store(StoreError::Unavailable(_) | StoreError::NotReplicated))
                if began.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("the store takes it in time: {error}"),
        }
    }
}

/// Publishes one message after the other, to each topic in turn, until it is stopped.
pub(crate) struct Publisher {
    done: Arc<AtomicBool>,
    task: JoinHandle<Vec<MessageId>>,
}

impl Publisher {
    pub(crate) fn start(
        store: Arc<dyn Store>,
        topics: &[TopicName],
        durability: Durability,
    ) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let (topics, stop) = (topics.to_vec(), Arc::clone(&done));
        let task = tokio::spawn(async move {
            let mut given = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let topic = &topics[given.len() % topics.len()];
                let message = Append {
                    durability,
                    ..message(topic, "x")
                };
                given.push(publish(&*store, message).await);
            }
            given
        });
        Self { done, task }
    }

    /// The ids of everything that was acknowledged, in the order in which it was published.
    pub(crate) async fn stop(self) -> Vec<MessageId> {
        self.done.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Reads the whole log of a topic.
pub(crate) async fn log(store: &dyn Store, topic: &TopicName) -> Vec<Arc<Entry>> {
    let partition = store.partitions().of(topic.as_str());
    let want = Want {
        topic: topic.clone(),
        after: MessageId::ZERO,
    };
    let mut pages = store.read(partition, vec![want], 1_000_000).await.unwrap();
    pages.pop().unwrap().entries
}

pub(crate) fn ids(entries: &[Arc<Entry>]) -> Vec<MessageId> {
    entries.iter().map(|entry| entry.id).collect()
}

/// Reads a feed and repairs it.
pub(crate) struct Reader {
    store: Arc<dyn Store>,
    partition: Partition,
    feed: Feed,
    live: BTreeMap<TopicName, MessageId>,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) holes: Vec<Hole>,
    pub(crate) repairs: usize,
}

impl Reader {
    /// A reader for which the topics, all of one partition, are live.
    pub(crate) async fn of(store: Arc<dyn Store>, topics: &[TopicName]) -> Self {
        let partition = store.partitions().of(topics[0].as_str());
        let mut reader = Self {
            feed: store.feed(partition),
            store,
            partition,
            live: BTreeMap::new(),
            entries: Vec::new(),
            holes: Vec::new(),
            repairs: 0,
        };
        let follow = FeedRequest::Follow(topics.to_vec());
        assert!(reader.feed.handle.request(follow).await);
        while reader.live.len() < topics.len() {
            reader.step().await;
        }
        reader
    }

    /// Takes one event.
    pub(crate) async fn step(&mut self) {
        let event = timeout(PATIENCE, self.feed.events.recv()).await;
        match event.expect("an event in time").expect("an open feed") {
            FeedEvent::Live { topic, tip, since } => {
                let last = self.live.entry(topic).or_insert(tip);
                *last = tip.max(*last);
                for entry in since {
                    self.take(entry);
                }
            }
            FeedEvent::Entry(entry) => self.take(entry),
            FeedEvent::Ephemeral(_) | FeedEvent::Presence(_) => {}
            FeedEvent::Restored { clock } => self.repair(clock).await,
            FeedEvent::Rewound(hole) => self.holes.push(hole),
        }
    }

    /// Reads until an entry with this id, or a later one, has been taken.
    pub(crate) async fn reach(&mut self, id: MessageId) {
        while self.entries.last().is_none_or(|last| last.id < id) {
            self.step().await;
        }
    }

    fn take(&mut self, entry: Arc<Entry>) {
        let newest = self.entries.last().map_or(MessageId::ZERO, |last| last.id);
        assert!(entry.id > newest, "{} after {newest}", entry.id);
        let last = self.live.get_mut(&entry.topic).expect("a live topic");
        if self.holes.is_empty() {
            assert_eq!(entry.prev, *last, "nothing is missing before {}", entry.id);
        }
        *last = entry.id;
        self.entries.push(entry);
    }

    async fn repair(&mut self, clock: MessageId) {
        self.repairs += 1;
        let reading = async {
            loop {
                let want = |(topic, &after): (&TopicName, &MessageId)| Want {
                    topic: topic.clone(),
                    after,
                };
                let wants = self.live.iter().map(want).collect();
                match self.store.read(self.partition, wants, 1_000_000).await {
                    Ok(pages) => return pages,
                    Err(StoreError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let pages = timeout(PATIENCE, reading).await.expect("the log in time");
        let mut missed: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
        missed.retain(|entry| entry.id <= clock);
        missed.sort_by_key(|entry| entry.id);
        for entry in missed {
            self.take(entry);
        }
    }
}
