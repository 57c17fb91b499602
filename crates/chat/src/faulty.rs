//! A store for tests that fails where it is told to, counts what is read, and lets others go first:
//! whoever asks it at once does so in turns.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sparkway_protocol::{
    CloseReason, Ephemeral, Epoch, MessageId, NodeId, Partition, Partitions, PresenceChange,
    SessionId, TopicName, UserId,
};
use sparkway_store::directory::{Listed, SessionQuery, TopicQuery, TopicSummary};
use sparkway_store::memory::{MemorySettings, MemoryStore};
use sparkway_store::presence::{Members, Move, Standing, Swept};
use sparkway_store::record::Range;
use sparkway_store::records::{Record, Records};
use sparkway_store::{
    Append, Appended, BoxFuture, Claim, ClaimError, Claimed, Control, Detach, Directory, Expired,
    Feed, Hole, Matters, NodeLease, Open, Opened, Outbox, Page, Presence, Remember, Revocation,
    SessionRecord, Store, StoreError, TakenEvents, Want, WriteError,
};
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// When a write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written.
    Before,
    /// It is written, and nobody hears of it.
    After,
}

/// The embedded store, with faults.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: MemoryStore,
    /// Writes of records until the one that fails.
    failing: Mutex<Option<(usize, Fault)>>,
    /// Keys of records that somebody else is always faster with.
    contended: Mutex<HashSet<String>>,
    entries_read: AtomicUsize,
    pause_ms: AtomicU64,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryStore::new(MemorySettings::default()),
            failing: Mutex::default(),
            contended: Mutex::default(),
            entries_read: AtomicUsize::new(0),
            pause_ms: AtomicU64::new(0),
        }
    }

    /// The write of a record fails that comes after so many others.
    pub(crate) fn fail_put(&self, after: usize, fault: Fault) {
        *self.failing.lock().unwrap() = Some((after, fault));
    }

    /// Somebody else is always faster with this record.
    pub(crate) fn contend(&self, key: &str) {
        let mut contended = self.contended.lock().unwrap();
        contended.insert(key.to_owned());
    }

    /// Every page of a log takes so long.
    pub(crate) fn slow_down(&self, pause: Duration) {
        let pause_ms = u64::try_from(pause.as_millis()).unwrap();
        self.pause_ms.store(pause_ms, Ordering::Relaxed);
    }

    /// Entries of logs that were read since it was asked last.
    pub(crate) fn take_entries_read(&self) -> usize {
        self.entries_read.swap(0, Ordering::Relaxed)
    }

    fn fault(&self) -> Option<Fault> {
        let mut failing = self.failing.lock().unwrap();
        match failing.take() {
            Some((0, fault)) => Some(fault),
            later => {
                *failing = later.map(|(count, fault)| (count - 1, fault));
                None
            }
        }
    }

    fn count(&self, pages: &[Page]) {
        let entries = pages.iter().map(|page| page.entries.len()).sum();
        self.entries_read.fetch_add(entries, Ordering::Relaxed);
    }
}

/// Methods that are the inner store's.
macro_rules! pass {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $kind),*) -> BoxFuture<'_, $out> {
            self.inner.$name($($arg),*)
        })*
    };
}

impl Store for Faulty {
    fn partitions(&self) -> Partitions {
        self.inner.partitions()
    }

    fn feed(&self, partition: Partition) -> Feed {
        self.inner.feed(partition)
    }

    fn control(&self, node: &NodeId) -> mpsc::Receiver<Control> {
        self.inner.control(node)
    }

    fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Page>, StoreError>> {
        Box::pin(async move {
            let pages = self.inner.read(partition, wants, limit).await?;
            self.count(&pages);
            Ok(pages)
        })
    }

    fn history(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            let pause_ms = self.pause_ms.load(Ordering::Relaxed);
            if pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            yield_now().await;
            let page = self.inner.history(range).await?;
            self.count(std::slice::from_ref(&page));
            Ok(page)
        })
    }

    pass! {
        cluster_key() -> Result<[u8; 32], StoreError>;
        append(partition: Partition, batch: Vec<Append>) ->
            Result<Vec<Result<Appended, WriteError>>, StoreError>;
        announce(message: Ephemeral) -> Result<(), StoreError>;
        tip(topic: TopicName) -> Result<MessageId, StoreError>;
        clock(partition: Partition) -> Result<MessageId, StoreError>;
        holes(partition: Partition) -> Result<Vec<Hole>, StoreError>;
        open(open: Open) -> Result<Opened, StoreError>;
        load(session: SessionId) -> Result<Option<SessionRecord>, StoreError>;
        claim(claim: Claim) -> Result<Claimed, ClaimError>;
        remember(change: Remember) -> Result<(), WriteError>;
        restore(record: SessionRecord) -> Result<Epoch, WriteError>;
        detach(partition: Partition, sessions: Vec<Detach>) ->
            Result<Vec<Result<(), WriteError>>, StoreError>;
        end(session: SessionId, epoch: Epoch) -> Result<(), WriteError>;
        lease(lease: NodeLease, lease_ms: u64) -> Result<(), StoreError>;
        release(node: NodeId) -> Result<(), StoreError>;
        nodes() -> Result<Vec<NodeLease>, StoreError>;
        revoke(revocation: Revocation) -> Result<(), StoreError>;
        revocations() -> Result<Vec<Revocation>, StoreError>;
        sweep(partition: Partition, window_ms: u64, limit: usize) ->
            Result<Vec<Expired>, StoreError>;
    }
}

impl Records for Faulty {
    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            yield_now().await;
            let contended = self.contended.lock().unwrap().contains(&key);
            if contended {
                return Ok(false);
            }
            let fault = self.fault();
            if fault == Some(Fault::Before) {
                return Err(StoreError::Unavailable("lost before"));
            }
            let put = self.inner.put_record(kind, key, value, version).await?;
            if fault == Some(Fault::After) {
                return Err(StoreError::Unavailable("lost after"));
            }
            Ok(put)
        })
    }

    fn records(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        Box::pin(async move {
            yield_now().await;
            self.inner.records(kind, keys).await
        })
    }

    pass! {
        record_page(kind: &'static str, after: Option<String>, limit: usize) ->
            Result<Listed<(String, Record)>, StoreError>;
    }
}

impl Outbox for Faulty {
    fn keep_events(&self, matters: Matters) {
        self.inner.keep_events(matters);
    }

    pass! {
        take_events(partition: Partition, node: NodeId, hold_ms: u64, limit: usize) ->
            Result<TakenEvents, StoreError>;
        settle_events(partition: Partition, ids: Vec<Box<str>>, dead: bool) ->
            Result<(), StoreError>;
        dead_events(partition: Partition) -> Result<u64, StoreError>;
    }
}

impl Presence for Faulty {
    pass! {
        move_members(partition: Partition, moves: Vec<Move>) ->
            Result<Vec<PresenceChange>, StoreError>;
        members(topic: TopicName, after: Option<String>, limit: usize) ->
            Result<Members, StoreError>;
        standings(topic: TopicName, users: Vec<UserId>) -> Result<Vec<Standing>, StoreError>;
        sweep_members(partition: Partition, grace_ms: u64, limit: usize) ->
            Result<Swept, StoreError>;
    }
}

impl Directory for Faulty {
    pass! {
        sessions(partition: Partition, query: SessionQuery) ->
            Result<Listed<SessionRecord>, StoreError>;
        topics(partition: Partition, query: TopicQuery) ->
            Result<Listed<TopicSummary>, StoreError>;
        log_length(topic: TopicName) -> Result<u64, StoreError>;
        trim(topic: TopicName, until: MessageId) -> Result<(), StoreError>;
        remove(session: SessionId, reason: CloseReason) -> Result<bool, StoreError>;
        tell(node: NodeId, control: Control) -> Result<(), StoreError>;
    }
}
