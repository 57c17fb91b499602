//! The embedded store: one process, nothing on disk, the same promises as any other backend.
//!
//! Several nodes of one process share it as `Arc<MemoryStore>`: feeds and control channels belong
//! to their caller. Each partition has one lock for its logs, one for its session records and one
//! for its members; they are held for a few operations, never across an await, and taken in one
//! order: logs, sessions, members, nodes.

mod directory;
mod followers;
mod hasher;
mod listing;
mod logs;
mod members;
mod nodes;
mod outbox;
mod records;
mod removed;
mod repeats;
mod sessions;
mod settings;
mod sweeping;
mod topic_log;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sparkway_protocol::{
    Ephemeral, Epoch, MessageId, NodeId, Partition, Partitions, SessionId, TopicName,
};
use tokio::sync::mpsc;

use crate::record::Range;
use crate::{
    Append, Appended, BoxFuture, Claim, ClaimError, Claimed, Control, Detach, Expired, Feed, Hole,
    NodeLease, Open, Opened, Page, Remember, Revocation, SessionRecord, Store, StoreError, Want,
    WriteError,
};
use hasher::Seed;
use logs::Logs;
use members::Members;
use nodes::Nodes;
use records::Cabinet;
use sessions::Sessions;

pub use settings::{Clock, MemorySettings};

/// How many idle topics a sweep looks at.
const IDLE_PER_SWEEP: usize = 1000;

/// Topic logs, session records and leases in this process's memory.
///
/// Bounded by retention: an entry goes with its log's bound, a topic in which nothing happens goes
/// by its age, its tip after twice that. It must be used inside a tokio runtime (feeds are served
/// by small tasks).
#[derive(Debug)]
pub struct MemoryStore {
    settings: MemorySettings,
    cells: Vec<Arc<Cell>>,
    nodes: Mutex<Nodes>,
    cabinet: Mutex<Cabinet>,
}

/// One partition.
#[derive(Debug)]
struct Cell {
    logs: Mutex<Logs>,
    sessions: Mutex<Sessions>,
    members: Mutex<Members>,
}

/// What a store held at one time: see [`MemoryStore::save`].
#[derive(Debug)]
pub struct Saved {
    partitions: Vec<(MessageId, Sessions)>,
}

/// Takes a lock. Nothing in this module panics while it holds one, so that a poisoned lock (a
/// panic in a caller's clock) still guards whole data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(settings: MemorySettings) -> Self {
        let seed = Seed::random();
        let window_ms = settings.idempotency_window_ms;
        let cell = |partition| {
            Arc::new(Cell {
                logs: Mutex::new(Logs::new(partition, window_ms, seed)),
                sessions: Mutex::new(Sessions::new(seed)),
                members: Mutex::new(Members::new(seed)),
            })
        };
        Self {
            cells: settings.partitions.iter().map(cell).collect(),
            nodes: Mutex::default(),
            cabinet: Mutex::default(),
            settings,
        }
    }

    /// For tests and simulation: a restart in which the newest `entries` entries of a partition
    /// were lost. Records the [`Hole`], raises the clock above every id that was ever given, and
    /// tells the feeds `Rewound`. `None` when there is no such partition.
    pub fn lose_newest(&self, partition: Partition, entries: usize) -> Option<Hole> {
        let now_ms = self.now_ms();
        let mut logs = lock(&self.cell(partition).ok()?.logs);
        let cut = logs.cut_before_newest(entries);
        Some(logs.lose_after(cut, now_ms))
    }

    /// For tests and simulation: notes what a restart would bring back.
    #[must_use]
    pub fn save(&self) -> Saved {
        let save = |cell: &Arc<Cell>| (lock(&cell.logs).clock(), lock(&cell.sessions).clone());
        Saved {
            partitions: self.cells.iter().map(save).collect(),
        }
    }

    /// For tests and simulation: a restart that brings back what was saved: later entries and all
    /// later changes of sessions are lost. Leases and control channels stay as they are.
    pub fn restart_from(&self, saved: &Saved) {
        let now_ms = self.now_ms();
        for (cell, (clock, sessions)) in self.cells.iter().zip(&saved.partitions) {
            lock(&cell.logs).lose_after(*clock, now_ms);
            *lock(&cell.sessions) = sessions.clone();
        }
    }

    fn now_ms(&self) -> u64 {
        (self.settings.clock)()
    }

    fn cell(&self, partition: Partition) -> Result<&Arc<Cell>, StoreError> {
        self.cells.get(partition.index()).ok_or_else(|| {
            StoreError::Layout(format!(
                "partition {} of {}",
                partition.get(),
                self.cells.len()
            ))
        })
    }

    fn cell_of(&self, topic: &TopicName) -> Result<&Arc<Cell>, StoreError> {
        self.cell(self.settings.partitions.of(topic.as_str()))
    }

    /// A name of another partition would be written where nobody looks for it.
    fn check_topics<'a>(
        &self,
        partition: Partition,
        mut topics: impl Iterator<Item = &'a TopicName>,
    ) -> Result<(), StoreError> {
        let layout = self.settings.partitions;
        match topics.find(|topic| layout.of(topic.as_str()) != partition) {
            Some(topic) => Err(StoreError::Layout(format!(
                "topic {topic} is not of partition {}",
                partition.get()
            ))),
            None => Ok(()),
        }
    }

    fn append_one(
        &self,
        logs: &mut Logs,
        message: Append,
        now_ms: u64,
    ) -> Result<Appended, WriteError> {
        if let Some(first) = logs.find_repeat(&message.digest, now_ms) {
            return Ok(first);
        }
        let Some((session, epoch)) = message.fence else {
            return Ok(logs.store(message, now_ms));
        };
        let cell = self.cell(session.partition()).or(Err(WriteError::Gone))?;
        // Held until the entry is stored: a claim lies wholly before or wholly after it.
        let sessions = lock(&cell.sessions);
        sessions.check(session, epoch)?;
        Ok(logs.store(message, now_ms))
    }

    /// Changes sessions of one partition.
    fn write<T>(
        &self,
        session: SessionId,
        change: impl FnOnce(&mut Sessions) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let cell = self.cell(session.partition()).or(Err(WriteError::Gone))?;
        change(&mut lock(&cell.sessions))
    }
}

impl Store for MemoryStore {
    fn partitions(&self) -> Partitions {
        self.settings.partitions
    }

    fn cluster_key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        Box::pin(async { Ok(self.settings.cluster_key) })
    }

    fn feed(&self, partition: Partition) -> Feed {
        match self.cell(partition) {
            Ok(cell) => followers::open(Arc::clone(cell)),
            Err(error) => {
                tracing::error!(%error, "feed of a partition that does not exist");
                followers::ended()
            }
        }
    }

    fn control(&self, node: &NodeId) -> mpsc::Receiver<Control> {
        lock(&self.nodes).listen(node)
    }

    fn append(
        &self,
        partition: Partition,
        batch: Vec<Append>,
    ) -> BoxFuture<'_, Result<Vec<Result<Appended, WriteError>>, StoreError>> {
        Box::pin(async move {
            self.check_topics(partition, batch.iter().map(|message| &message.topic))?;
            let mut logs = lock(&self.cell(partition)?.logs);
            let now_ms = self.now_ms();
            Ok(batch
                .into_iter()
                .map(|message| self.append_one(&mut logs, message, now_ms))
                .collect())
        })
    }

    fn announce(&self, message: Ephemeral) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.cell_of(&message.topic)?.logs).announce(message);
            Ok(())
        })
    }

    fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Page>, StoreError>> {
        Box::pin(async move {
            self.check_topics(partition, wants.iter().map(|want| &want.topic))?;
            let now_ms = self.now_ms();
            let mut logs = lock(&self.cell(partition)?.logs);
            Ok(wants
                .into_iter()
                .map(|want| logs.read(want, limit, now_ms))
                .collect())
        })
    }

    fn history(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            Ok(lock(&self.cell_of(&range.topic)?.logs).history(range, now_ms))
        })
    }

    fn tip(&self, topic: TopicName) -> BoxFuture<'_, Result<MessageId, StoreError>> {
        Box::pin(async move { Ok(lock(&self.cell_of(&topic)?.logs).tip(&topic)) })
    }

    fn clock(&self, partition: Partition) -> BoxFuture<'_, Result<MessageId, StoreError>> {
        Box::pin(async move { Ok(lock(&self.cell(partition)?.logs).clock()) })
    }

    fn holes(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Hole>, StoreError>> {
        Box::pin(async move { Ok(lock(&self.cell(partition)?.logs).holes()) })
    }

    fn open(&self, open: Open) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            let mut sessions = lock(&self.cell(open.record.session.partition())?.sessions);
            Ok(sessions.open(open, now_ms, &lock(&self.nodes)))
        })
    }

    fn load(&self, session: SessionId) -> BoxFuture<'_, Result<Option<SessionRecord>, StoreError>> {
        Box::pin(async move {
            Ok(self
                .cell(session.partition())
                .ok()
                .and_then(|cell| lock(&cell.sessions).load(session)))
        })
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(async move {
            let cell = self
                .cell(claim.session.partition())
                .or(Err(ClaimError::Unknown))?;
            let now_ms = self.now_ms();
            lock(&cell.sessions).claim(claim, now_ms, &lock(&self.nodes))
        })
    }

    fn remember(&self, change: Remember) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move { self.write(change.session, |sessions| sessions.remember(change)) })
    }

    fn restore(&self, record: SessionRecord) -> BoxFuture<'_, Result<Epoch, WriteError>> {
        Box::pin(async move {
            self.write(record.session, |sessions| {
                sessions.restore(record, &lock(&self.nodes))
            })
        })
    }

    fn detach(
        &self,
        partition: Partition,
        detached: Vec<Detach>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), WriteError>>, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            let mut sessions = lock(&self.cell(partition)?.sessions);
            Ok(detached
                .into_iter()
                .map(|detach| sessions.detach(detach, now_ms))
                .collect())
        })
    }

    fn end(&self, session: SessionId, epoch: Epoch) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            match self.write(session, |sessions| sessions.end(session, epoch, now_ms)) {
                Err(WriteError::Gone) if self.cell(session.partition()).is_err() => Ok(()),
                answer => answer,
            }
        })
    }

    fn lease(&self, lease: NodeLease, lease_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            lock(&self.nodes).lease(lease, now_ms, now_ms.saturating_add(lease_ms));
            Ok(())
        })
    }

    fn release(&self, node: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.nodes).release(&node);
            Ok(())
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeLease>, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            Ok(lock(&self.nodes).list(now_ms))
        })
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            lock(&self.nodes).revoke(&revocation, now_ms)
        })
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            Ok(lock(&self.nodes).revocations(now_ms))
        })
    }

    fn sweep(
        &self,
        partition: Partition,
        window_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Expired>, StoreError>> {
        Box::pin(async move {
            let now_ms = self.now_ms();
            let cell = self.cell(partition)?;
            lock(&cell.logs).drop_idle(now_ms, IDLE_PER_SWEEP);
            let mut sessions = lock(&cell.sessions);
            Ok(sessions.sweep(now_ms, window_ms, limit, &lock(&self.nodes)))
        })
    }
}
