//! Messages, names and records for checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sparkway_protocol::{
    Durability, Entry, Ephemeral, Epoch, Format, MessageId, NodeId, Partition, Partitions, Payload,
    SessionId, TopicName, UserId,
};

use super::fixture::{Fixture, first};
use crate::{
    Append, Appended, Claim, Detach, NodeLease, OnlyOne, Open, Page, Retention, SessionRecord,
    Store, Want, WriteError,
};

/// A lease that outlives every check, unless the check says otherwise.
pub(super) const LEASE_MS: u64 = 3_600_000;

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// A number that no other call of this process got.
pub(super) fn unique() -> u64 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// One node's view of the store under check.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    pub(super) layout: Partitions,
    pub(super) partition: Partition,
}

impl Bench {
    pub(super) fn new(fixture: &dyn Fixture) -> Self {
        let store = fixture.store();
        let layout = store.partitions();
        Self {
            store,
            layout,
            partition: first(layout),
        }
    }

    /// A new topic of the bench's partition whose name ends with `stem`.
    pub(super) fn topic(&self, stem: &str) -> TopicName {
        self.topic_of(stem, self.partition)
    }

    pub(super) fn topic_of(&self, stem: &str, partition: Partition) -> TopicName {
        loop {
            let name = TopicName::parse(&format!("t{}:{stem}", unique())).unwrap();
            if self.layout.of(name.as_str()) == partition {
                return name;
            }
        }
    }

    /// A new user whose sessions are in the bench's partition.
    pub(super) fn user(&self) -> UserId {
        loop {
            let user = UserId::parse(&format!("user-{}", unique())).unwrap();
            if self.layout.of(user.as_str()) == self.partition {
                return user;
            }
        }
    }

    /// Appends one message.
    pub(super) async fn append(&self, message: Append) -> Result<Appended, WriteError> {
        self.append_all(vec![message]).await.pop().unwrap()
    }

    pub(super) async fn append_all(&self, batch: Vec<Append>) -> Vec<Result<Appended, WriteError>> {
        let count = batch.len();
        let answers = self.store.append(self.partition, batch).await.unwrap();
        assert_eq!(answers.len(), count, "one answer per message");
        answers
    }

    /// Appends `text` to `topic` and answers its id.
    pub(super) async fn publish(&self, topic: &TopicName, text: &str) -> MessageId {
        let appended = self.append(message(topic, text)).await.unwrap();
        assert!(!appended.duplicate, "a new digest is no duplicate");
        appended.id
    }

    /// Detaches one session.
    pub(super) async fn detach(&self, detach: Detach) -> Result<(), WriteError> {
        let batch = vec![detach];
        let mut answers = self.store.detach(self.partition, batch).await.unwrap();
        assert_eq!(answers.len(), 1, "one answer per session");
        answers.pop().unwrap()
    }

    pub(super) async fn load(&self, session: SessionId) -> Option<SessionRecord> {
        self.store.load(session).await.unwrap()
    }

    /// The whole log of a topic.
    pub(super) async fn log(&self, topic: &TopicName) -> Vec<Arc<Entry>> {
        self.page(topic, MessageId::ZERO, 100_000).await.entries
    }

    pub(super) async fn page(&self, topic: &TopicName, after: MessageId, limit: usize) -> Page {
        let want = Want {
            topic: topic.clone(),
            after,
        };
        let mut pages = self
            .store
            .read(self.partition, vec![want], limit)
            .await
            .unwrap();
        assert_eq!(pages.len(), 1, "one page per want");
        pages.pop().unwrap()
    }

    /// A record of a new session of a new user, owned by `node`.
    pub(super) fn record(&self, node: &NodeId) -> SessionRecord {
        self.record_of(self.user(), node)
    }

    pub(super) fn record_of(&self, user: UserId, node: &NodeId) -> SessionRecord {
        SessionRecord {
            session: SessionId::from_random(rand::random(), self.partition),
            user: Some(user),
            grants: "{\"subscribe\":[\"#\"]}".into(),
            expires_at_ms: Some(1_900_000_000_123),
            generation: 1,
            confirmed: 1,
            epoch: Epoch(0),
            owner: node.clone(),
            attached: true,
            format: Format::SparkJson,
            cursors: Vec::new(),
            subscriptions: Vec::new(),
        }
    }

    /// Opens a new session of a new user on `node`.
    pub(super) async fn open(&self, node: &NodeId) -> SessionRecord {
        self.open_record(self.record(node)).await
    }

    pub(super) async fn open_record(&self, record: SessionRecord) -> SessionRecord {
        let open = Open {
            record,
            only_one: OnlyOne::No,
        };
        let session = open.record.session;
        self.store.open(open).await.unwrap();
        self.store.load(session).await.unwrap().unwrap()
    }

    /// A new node with a lease.
    pub(super) async fn node(&self) -> NodeId {
        let node = node();
        self.lease(&node, LEASE_MS).await;
        node
    }

    pub(super) async fn lease(&self, node: &NodeId, lease_ms: u64) {
        let lease = NodeLease {
            node: node.clone(),
            connections: 3,
            spare_accepts_per_second: 250,
            draining: false,
        };
        self.store.lease(lease, lease_ms).await.unwrap();
    }
}

/// The name of a new node.
pub(super) fn node() -> NodeId {
    NodeId::parse(&format!("node-{}", unique())).unwrap()
}

pub(super) fn text(text: &str) -> Payload {
    Payload::json(Bytes::from(format!("{{\"text\":\"{text}\"}}")))
}

/// A message with a digest of its own and no fence.
pub(super) fn message(topic: &TopicName, words: &str) -> Append {
    Append {
        topic: topic.clone(),
        payload: text(words),
        from: None,
        origin: None,
        exclude_origin: false,
        digest: rand::random(),
        fence: None,
        trace: None,
        durability: Durability::Stored,
        retention: Retention::default(),
    }
}

/// The message, in a log that trims nothing during a check.
pub(super) fn kept_long(message: Append) -> Append {
    let retention = Retention {
        entries: 1_000_000,
        age_ms: 600_000,
    };
    Append {
        retention,
        ..message
    }
}

/// A message of a session, which counts only under its epoch.
pub(super) fn fenced(topic: &TopicName, session: SessionId, epoch: Epoch) -> Append {
    Append {
        fence: Some((session, epoch)),
        trace: None,
        ..message(topic, "fenced")
    }
}

pub(super) fn ephemeral(topic: &TopicName, words: &str) -> Ephemeral {
    Ephemeral {
        topic: topic.clone(),
        from: Some(UserId::parse("ann").unwrap()),
        origin: Some(SessionId::from_random([7; 16], Partition::default())),
        exclude_origin: true,
        payload: text(words),
    }
}

/// The claim of a new connection on `node`.
pub(super) fn claim(session: SessionId, generation: u32, node: &NodeId) -> Claim {
    Claim {
        session,
        generation,
        node: node.clone(),
        nonce: unique(),
    }
}

pub(super) fn detach(session: SessionId, epoch: Epoch, window_ms: u64) -> Detach {
    Detach {
        session,
        epoch,
        cursors: Vec::new(),
        window_ms,
    }
}

pub(super) fn ids(entries: &[Arc<Entry>]) -> Vec<MessageId> {
    entries.iter().map(|entry| entry.id).collect()
}
