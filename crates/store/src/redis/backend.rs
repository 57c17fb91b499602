//! What all parts of the backend share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use sparkway_protocol::{MessageId, Partition, Partitions};

use super::append::Buckets;
use super::departed::Departed;
use super::former::{Heard, Processes};
use super::keys::{self, Keys};
use super::link::Live;
use super::reply::only;
use super::router::{Lane, Repeat, Router};
use super::scripts;
use crate::StoreError;
use crate::planted::Defect;

/// What one partition's users on this node know of it.
#[derive(Debug, Default)]
struct Known {
    /// The highest id this node has seen or was answered.
    floor: AtomicU64,
    /// Which server processes gave out what this node knows.
    processes: Processes,
    buckets: Buckets,
    /// Held during a sweep: how many of them succeeded.
    sweeps: tokio::sync::Mutex<u64>,
}

/// The backend behind [`super::RedisStore`].
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) keys: Keys,
    pub(super) router: Router,
    pub(super) layout: Partitions,
    pub(super) cluster_key: [u8; 32],
    pub(super) command_deadline: Duration,
    pub(super) replicas: u32,
    /// Length of a bucket of digests, in milliseconds.
    pub(super) bucket_ms: u64,
    /// Names this sweeper among all nodes.
    pub(super) sweeper: u64,
    /// Whether events are kept.
    pub(super) keeping: super::outbox::Keeping,
    known: Vec<Known>,
    slots: Vec<u16>,
}

/// What [`Backend::new`] is given beside the router.
pub(super) struct Settled {
    pub(super) keys: Keys,
    pub(super) layout: Partitions,
    pub(super) cluster_key: [u8; 32],
    pub(super) command_deadline: Duration,
    pub(super) replicas: u32,
    pub(super) window: Duration,
}

impl Backend {
    pub(super) fn new(router: Router, settled: Settled) -> Arc<Self> {
        let layout = settled.layout;
        let slots = layout
            .iter()
            .map(|partition| keys::slot(&settled.keys.clock(partition)));
        Arc::new(Self {
            slots: slots.collect(),
            known: layout.iter().map(|_| Known::default()).collect(),
            bucket_ms: u64::try_from(settled.window.as_millis()).map_or(u64::MAX, |ms| ms.max(1)),
            sweeper: rand::random(),
            keeping: super::outbox::Keeping::default(),
            keys: settled.keys,
            router,
            layout,
            cluster_key: settled.cluster_key,
            command_deadline: settled.command_deadline,
            replicas: settled.replicas,
        })
    }

    /// Whether the layout has this partition: a client may name any.
    pub(super) fn has(&self, partition: Partition) -> bool {
        partition.get() < self.layout.count()
    }

    /// The hash slot of all keys of a partition.
    pub(super) fn slot(&self, partition: Partition) -> u16 {
        self.slots
            .get(partition.index())
            .copied()
            .unwrap_or_default()
    }

    fn known(&self, partition: Partition) -> Option<&Known> {
        self.known.get(partition.index())
    }

    /// The highest id of the partition that this node knows.
    pub(super) fn floor(&self, partition: Partition) -> MessageId {
        if Defect::NoGeneration.is_planted() {
            return MessageId::ZERO;
        }
        self.known(partition)
            .and_then(|known| MessageId::new(known.floor.load(Ordering::Relaxed)))
            .unwrap_or_default()
    }

    /// Notes an id of the partition.
    pub(super) fn note_id(&self, partition: Partition, id: MessageId) {
        if let Some(known) = self.known(partition) {
            known.floor.fetch_max(id.get(), Ordering::Relaxed);
        }
    }

    /// The account of what one server process has given out in a partition.
    pub(super) fn heard_of(&self, partition: Partition, run_id: &str) -> Option<Arc<Heard>> {
        let known = self.known(partition)?;
        Some(known.processes.of(run_id))
    }

    /// The newest id of the partition that this node knows of any other process than this one, but
    /// for those that handed everything on; zero when there is none.
    pub(super) async fn newest_elsewhere(&self, partition: Partition, run_id: &str) -> MessageId {
        if Defect::NoGeneration.is_planted() {
            return MessageId::ZERO;
        }
        let Some(known) = self.known(partition) else {
            return MessageId::ZERO;
        };
        let slot = self.slot(partition);
        while let Some((former, newest)) = known.processes.elsewhere(run_id) {
            if !self.router.was_moved(slot, &former, run_id).await {
                return newest;
            }
            known.processes.forget(&former);
        }
        MessageId::ZERO
    }

    /// What the feed of a partition has left.
    pub(super) fn departed(&self, partition: Partition) -> Option<&Departed> {
        self.router.departed(self.slot(partition))
    }

    /// The time buckets of a partition.
    pub(super) fn buckets(&self, partition: Partition) -> &Buckets {
        static NONE: std::sync::LazyLock<Buckets> = std::sync::LazyLock::new(Buckets::default);
        self.known(partition).map_or(&NONE, |known| &known.buckets)
    }

    /// Counts the sweeps of a partition; held while one runs.
    pub(super) fn sweeps(&self, partition: Partition) -> Option<&tokio::sync::Mutex<u64>> {
        self.known(partition).map(|known| &known.sweeps)
    }

    /// The command that announces: plain PUBLISH collapses with the size of a cluster.
    pub(super) const fn publish_word(&self) -> &'static str {
        if self.router.is_cluster() {
            "SPUBLISH"
        } else {
            "PUBLISH"
        }
    }

    /// Whether another process may hold a partition without having lost anything: where slots move.
    pub(super) const fn may_inherit(&self) -> bool {
        self.router.is_cluster()
    }

    /// Finds out whether `heir` got the partition whole from `former`, and notes it: then there is
    /// no hole. See [`super::handover`].
    ///
    /// # Errors
    /// [`StoreError`]: not noted; safe to repeat.
    pub(super) async fn inherit(
        &self,
        partition: Partition,
        former: &str,
        heir: &str,
    ) -> Result<(), StoreError> {
        let slot = self.slot(partition);
        if !self.router.was_moved(slot, former, heir).await {
            return Ok(());
        }
        tracing::info!(partition = partition.get(), "a slot moved, nothing is lost");
        let key = [self.keys.generation(partition)];
        let build = |live: &Live| {
            let mut call = scripts::INHERIT.call(&key);
            // On any other process it changes nothing.
            let run_id = if *live.run_id == *heir { heir } else { former };
            call.arg(former).arg(run_id);
            one(call)
        };
        let called = self.router.call(Lane::Quick, slot, Repeat::Safe, build);
        called.await?;
        if let Some(known) = self.known(partition) {
            known.processes.forget(former);
        }
        Ok(())
    }

    /// Runs one repeatable command in a partition.
    pub(super) async fn ask(
        &self,
        lane: Lane,
        partition: Partition,
        command: Cmd,
    ) -> Result<Value, StoreError> {
        if !self.has(partition) {
            return Err(StoreError::Corrupt("no such partition"));
        }
        self.ask_slot(lane, self.slot(partition), command).await
    }

    /// Runs one repeatable command on the master of a slot.
    pub(super) async fn ask_slot(
        &self,
        lane: Lane,
        slot: u16,
        command: Cmd,
    ) -> Result<Value, StoreError> {
        let build = |_: &Live| one(command.clone());
        only(self.router.call(lane, slot, Repeat::Safe, build).await?)
    }
}

fn one(command: Cmd) -> Pipeline {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.add_command(command);
    pipeline
}
