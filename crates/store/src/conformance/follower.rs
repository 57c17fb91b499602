//! A reader of a feed that behaves as the feed's contract asks, and notes what it saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use sparkway_protocol::{Entry, Ephemeral, MessageId, PresenceChange, TopicName};

use super::fixture::PATIENCE;
use super::sample::Bench;
use crate::feed::FeedRequest;
use crate::{Feed, FeedEvent, Hole, Want};

/// One node's reader of the bench's partition.
pub(super) struct Follower {
    bench: Bench,
    feed: Feed,
    /// The newest id of each live topic.
    live: BTreeMap<TopicName, MessageId>,
    /// Entries of live topics, in the order in which they are handed on.
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) ephemerals: Vec<Arc<Ephemeral>>,
    pub(super) presence: Vec<PresenceChange>,
    pub(super) holes: Vec<Hole>,
    /// How often the reader had to repair.
    pub(super) repairs: usize,
}

impl Follower {
    pub(super) fn new(bench: &Bench) -> Self {
        Self {
            feed: bench.store.feed(bench.partition),
            bench: bench.clone(),
            live: BTreeMap::new(),
            entries: Vec::new(),
            ephemerals: Vec::new(),
            presence: Vec::new(),
            holes: Vec::new(),
            repairs: 0,
        }
    }

    /// A reader for which the topics are live.
    pub(super) async fn of(bench: &Bench, topics: &[&TopicName]) -> Self {
        let mut follower = Self::new(bench);
        follower.follow(topics).await;
        while follower.live.len() < topics.len() {
            follower.step().await;
        }
        follower
    }

    pub(super) async fn follow(&self, topics: &[&TopicName]) {
        self.request(FeedRequest::Follow(owned(topics))).await;
    }

    pub(super) async fn forget(&mut self, topics: &[&TopicName]) {
        for &topic in topics {
            self.live.remove(topic);
        }
        self.request(FeedRequest::Forget(owned(topics))).await;
    }

    async fn request(&self, request: FeedRequest) {
        assert!(self.feed.handle.request(request).await, "the feed lives");
    }

    /// The position at which a topic is.
    pub(super) fn position(&self, topic: &TopicName) -> Option<MessageId> {
        self.live.get(topic).copied()
    }

    /// Reads until the newest entry of `topic` is `id`, or a newer one.
    pub(super) async fn reach(&mut self, topic: &TopicName, id: MessageId) {
        while self.position(topic).is_none_or(|last| last < id) {
            self.step().await;
        }
    }

    /// Takes one event and does what the contract asks.
    pub(super) async fn step(&mut self) -> FeedEvent {
        let event = tokio::time::timeout(PATIENCE, self.feed.events.recv())
            .await
            .expect("an event in time")
            .expect("an open feed");
        match event.clone() {
            FeedEvent::Live { topic, tip, since } => {
                let last = self.live.entry(topic.clone()).or_insert(tip);
                *last = tip.max(*last);
                for entry in since {
                    assert_eq!(entry.topic, topic);
                    self.take(entry);
                }
            }
            FeedEvent::Entry(entry) => self.take(entry),
            FeedEvent::Ephemeral(message) => self.ephemerals.push(message),
            FeedEvent::Presence(change) => self.presence.push(PresenceChange::clone(&change)),
            FeedEvent::Restored { clock } => self.repair(clock).await,
            FeedEvent::Rewound(hole) => self.holes.push(hole),
        }
        event
    }

    fn take(&mut self, entry: Arc<Entry>) {
        let last = self
            .live
            .get_mut(&entry.topic)
            .expect("only live topics have entries");
        assert!(entry.id > *last, "{} comes after {last}", entry.id);
        if self.holes.is_empty() {
            assert_eq!(entry.prev, *last, "nothing is missing in between");
        }
        *last = entry.id;
        self.entries.push(entry);
    }

    async fn repair(&mut self, clock: MessageId) {
        self.repairs += 1;
        let wants = self.live.iter().map(|(topic, &after)| Want {
            topic: topic.clone(),
            after,
        });
        let pages = self
            .bench
            .store
            .read(self.bench.partition, wants.collect(), 100_000)
            .await
            .unwrap();
        let mut missed: Vec<_> = pages.into_iter().flat_map(|page| page.entries).collect();
        missed.retain(|entry| entry.id <= clock);
        missed.sort_by_key(|entry| entry.id);
        for entry in missed {
            self.take(entry);
        }
    }
}

fn owned(topics: &[&TopicName]) -> Vec<TopicName> {
    topics.iter().map(|&topic| topic.clone()).collect()
}
