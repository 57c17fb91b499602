//! The store as one node sees it: the embedded one, behind a connection that is slow, fails before
//! or after a write, and is cut.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sparkway_protocol::{
    CloseReason, Ephemeral, Epoch, NodeId, Partition, Partitions, PresenceChange, SessionId,
    TopicName, UserId,
};
use sparkway_store::directory::{Listed, SessionQuery, TopicQuery, TopicSummary};
use sparkway_store::memory::MemoryStore;
use sparkway_store::presence::{Members, Move, Standing, Swept};
use sparkway_store::record::Range;
use sparkway_store::records::{Record, Records};
use sparkway_store::{
    Append, Appended, BoxFuture, Claim, ClaimError, Claimed, Control, Detach, Directory, Expired,
    Feed, Hole, Matters, NodeLease, Open, Opened, Outbox, Page, Presence, Remember, Revocation,
    SessionRecord, Store, StoreError, TakenEvents, Want, WriteError,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::relay;
use crate::weather::Weather;

/// One node's way to the store that all nodes share.
#[derive(Clone)]
pub struct Reach {
    inner: Arc<MemoryStore>,
    weather: Arc<Weather>,
    node: usize,
}

impl fmt::Debug for Reach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reach")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Reach {
    /// The way of a node.
    #[must_use]
    pub const fn new(inner: Arc<MemoryStore>, weather: Arc<Weather>, node: usize) -> Self {
        Self {
            inner,
            weather,
            node,
        }
    }

    /// A call: on its way, carried out or lost, and its answer on its way back, or lost.
    fn call<'a, T, E, F, O>(&'a self, operation: O) -> BoxFuture<'a, Result<T, E>>
    where
        T: Send + 'a,
        E: From<StoreError> + Send + 'a,
        F: Future<Output = Result<T, E>> + Send + 'a,
        O: FnOnce(&'a MemoryStore) -> F + Send + 'a,
    {
        Box::pin(async move {
            if let Some(long) = self.weather.store_delay() {
                sleep(long).await;
            }
            let fails = self.weather.store_fails(self.node);
            if fails && self.weather.dice.happens(500) {
                sleep(Duration::from_millis(self.weather.dice.of(1..400))).await;
                return Err(StoreError::Unavailable("lost before").into());
            }
            let answer = operation(&self.inner).await;
            if fails || self.weather.store_fails(self.node) {
                sleep(Duration::from_millis(self.weather.dice.of(1..400))).await;
                return Err(StoreError::Unavailable("lost after").into());
            }
            if let Some(long) = self.weather.store_delay() {
                sleep(long).await;
            }
            answer
        })
    }
}

impl Store for Reach {
    fn partitions(&self) -> Partitions {
        self.inner.partitions()
    }

    fn cluster_key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        self.inner.cluster_key()
    }

    fn feed(&self, partition: Partition) -> Feed {
        relay::open(&self.inner, &self.weather, (self.node, partition))
    }

    fn control(&self, node: &NodeId) -> mpsc::Receiver<Control> {
        self.inner.control(node)
    }

    fn append(
        &self,
        partition: Partition,
        batch: Vec<Append>,
    ) -> BoxFuture<'_, Result<Vec<Result<Appended, WriteError>>, StoreError>> {
        self.call(move |store| store.append(partition, batch))
    }

    fn announce(&self, message: Ephemeral) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.announce(message))
    }

    fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Page>, StoreError>> {
        if wants.len() < 2 {
            return self.call(move |store| store.read(partition, wants, limit));
        }
        // Logs of several topics are not read at one instant.
        Box::pin(async move {
            let mut pages = Vec::with_capacity(wants.len());
            for want in wants {
                pages.extend(
                    self.call(move |store| store.read(partition, vec![want], limit))
                        .await?,
                );
            }
            Ok(pages)
        })
    }

    fn history(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        self.call(move |store| store.history(range))
    }

    fn tip(
        &self,
        topic: TopicName,
    ) -> BoxFuture<'_, Result<sparkway_protocol::MessageId, StoreError>> {
        self.call(move |store| store.tip(topic))
    }

    fn clock(
        &self,
        partition: Partition,
    ) -> BoxFuture<'_, Result<sparkway_protocol::MessageId, StoreError>> {
        self.call(move |store| store.clock(partition))
    }

    fn holes(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Hole>, StoreError>> {
        self.call(move |store| store.holes(partition))
    }

    fn open(&self, open: Open) -> BoxFuture<'_, Result<Opened, StoreError>> {
        self.call(move |store| store.open(open))
    }

    fn load(&self, session: SessionId) -> BoxFuture<'_, Result<Option<SessionRecord>, StoreError>> {
        self.call(move |store| store.load(session))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        self.call(move |store| store.claim(claim))
    }

    fn remember(&self, change: Remember) -> BoxFuture<'_, Result<(), WriteError>> {
        self.call(move |store| store.remember(change))
    }

    fn restore(&self, record: SessionRecord) -> BoxFuture<'_, Result<Epoch, WriteError>> {
        let slowly = Duration::from_millis(self.weather.restore_ms());
        self.call(move |store| async move {
            if !slowly.is_zero() {
                sleep(slowly).await;
            }
            store.restore(record).await
        })
    }

    fn detach(
        &self,
        partition: Partition,
        sessions: Vec<Detach>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), WriteError>>, StoreError>> {
        self.call(move |store| store.detach(partition, sessions))
    }

    fn end(&self, session: SessionId, epoch: Epoch) -> BoxFuture<'_, Result<(), WriteError>> {
        self.call(move |store| store.end(session, epoch))
    }

    fn lease(&self, lease: NodeLease, lease_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.lease(lease, lease_ms))
    }

    fn release(&self, node: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.release(node))
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeLease>, StoreError>> {
        self.call(MemoryStore::nodes)
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.revoke(revocation))
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        self.call(MemoryStore::revocations)
    }

    fn sweep(
        &self,
        partition: Partition,
        window_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Expired>, StoreError>> {
        self.call(move |store| store.sweep(partition, window_ms, limit))
    }
}

impl Outbox for Reach {
    fn keep_events(&self, matters: Matters) {
        self.inner.keep_events(matters);
    }

    fn take_events(
        &self,
        partition: Partition,
        node: NodeId,
        hold_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<TakenEvents, StoreError>> {
        self.call(move |store| store.take_events(partition, node, hold_ms, limit))
    }

    fn settle_events(
        &self,
        partition: Partition,
        ids: Vec<Box<str>>,
        dead: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.settle_events(partition, ids, dead))
    }

    fn dead_events(&self, partition: Partition) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(move |store| store.dead_events(partition))
    }
}

impl Presence for Reach {
    fn move_members(
        &self,
        partition: Partition,
        moves: Vec<Move>,
    ) -> BoxFuture<'_, Result<Vec<PresenceChange>, StoreError>> {
        self.call(move |store| store.move_members(partition, moves))
    }

    fn members(
        &self,
        topic: TopicName,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        self.call(move |store| store.members(topic, after, limit))
    }

    fn standings(
        &self,
        topic: TopicName,
        users: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        self.call(move |store| store.standings(topic, users))
    }

    fn sweep_members(
        &self,
        partition: Partition,
        grace_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        self.call(move |store| store.sweep_members(partition, grace_ms, limit))
    }
}

impl Records for Reach {
    fn records(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        self.call(move |store| store.records(kind, keys))
    }

    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.call(move |store| store.put_record(kind, key, value, version))
    }

    fn record_page(
        &self,
        kind: &'static str,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Listed<(String, Record)>, StoreError>> {
        self.call(move |store| store.record_page(kind, after, limit))
    }
}

impl Directory for Reach {
    fn sessions(
        &self,
        partition: Partition,
        query: SessionQuery,
    ) -> BoxFuture<'_, Result<Listed<SessionRecord>, StoreError>> {
        self.call(move |store| store.sessions(partition, query))
    }

    fn topics(
        &self,
        partition: Partition,
        query: TopicQuery,
    ) -> BoxFuture<'_, Result<Listed<TopicSummary>, StoreError>> {
        self.call(move |store| store.topics(partition, query))
    }

    fn log_length(&self, topic: TopicName) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.call(move |store| store.log_length(topic))
    }

    fn trim(
        &self,
        topic: TopicName,
        until: sparkway_protocol::MessageId,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.trim(topic, until))
    }

    fn remove(
        &self,
        session: SessionId,
        reason: CloseReason,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.call(move |store| store.remove(session, reason))
    }

    fn tell(&self, node: NodeId, control: Control) -> BoxFuture<'_, Result<(), StoreError>> {
        self.call(move |store| store.tell(node, control))
    }
}
