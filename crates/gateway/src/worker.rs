//! A worker: one thread, one runtime, its own connections and its own hub.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sparkway_hub::{Batch, Hub};
use sparkway_metrics::DeliverySource;
use sparkway_protocol::{Gap, MessageId, Partition};
use sparkway_session::Effect;
use sparkway_store::Hole;
use tokio::sync::{Notify, mpsc};

use crate::deadlines::{Deadlines, TICK_MS};
use crate::shared::Shared;

/// Batches applied per wake-up.
const ITEMS_PER_TURN: usize = 64;

/// What a reader tells every worker.
#[derive(Clone, Debug)]
pub(crate) enum FanOut {
    /// Entries and announcements.
    Batch(Arc<Batch>),
    /// The same, read from the log because the feed had a hole.
    Repaired(Arc<Batch>),
    /// Something of a topic is gone.
    Gap(Gap),
    /// The store lost what lay in an interval.
    Rewound(Partition, Hole),
}

/// The way into a worker's hub.
#[derive(Clone, Debug)]
pub(crate) struct Inlet(mpsc::Sender<FanOut>);

impl Inlet {
    pub(crate) fn channel(items: usize) -> (Self, mpsc::Receiver<FanOut>) {
        let (sender, receiver) = mpsc::channel(items);
        (Self(sender), receiver)
    }

    /// # Cancel safety
    /// Dropped before it is ready, nothing was sent.
    pub(crate) async fn send(&self, item: FanOut) {
        // A worker that ended has no connections any more.
        drop(self.0.send(item).await);
    }
}

/// One thread's share of the node.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    hub: Mutex<Hub>,
    /// Told after every batch.
    reached: Notify,
    deadlines: Mutex<Deadlines>,
    /// The buffer of whichever connection runs: an idle one holds none.
    effects: Mutex<Vec<Effect>>,
}

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>, positions: sparkway_hub::Positions) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            hub: Mutex::new(Hub::new(positions)),
            reached: Notify::new(),
            deadlines: Mutex::default(),
            effects: Mutex::default(),
        })
    }

    /// The hub. Only this worker's thread asks for it, so the lock is always free; it is never
    /// held across an await. A partition's log may be locked inside.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deadlines(&self) -> MutexGuard<'_, Deadlines> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer for effects; [`Worker::keep_effects`] takes it back.
    pub(crate) fn take_effects(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.effects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keep_effects(&self, effects: Vec<Effect>) {
        *self.effects.lock().unwrap_or_else(PoisonError::into_inner) = effects;
    }

    /// Waits until a partition is applied up to `position` on this worker.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn wait_for(&self, partition: Partition, position: MessageId) {
        loop {
            let reached = self.reached.notified();
            if self.hub().position(partition) >= position {
                return;
            }
            reached.await;
        }
    }

    /// Applies what the readers bring, for as long as the node lives.
    pub(crate) async fn fan_out(self: Arc<Self>, mut inlet: mpsc::Receiver<FanOut>) {
        let mut items = Vec::with_capacity(ITEMS_PER_TURN);
        while inlet.recv_many(&mut items, ITEMS_PER_TURN).await > 0 {
            for item in items.drain(..) {
                self.apply(&item);
            }
            self.reached.notify_waiters();
        }
    }

    /// Applies what a reader of this worker's thread brings. Returns how many deliveries it was.
    pub(crate) fn take(&self, item: &FanOut) -> u64 {
        let queued = self.apply(item);
        self.reached.notify_waiters();
        queued
    }

    fn apply(&self, item: &FanOut) -> u64 {
        let hub = self.hub();
        match item {
            FanOut::Batch(batch) => {
                self.shared.check_batch(&hub, batch);
                return self.deliver(hub, batch, DeliverySource::Live);
            }
            FanOut::Repaired(batch) => {
                self.shared.check_batch(&hub, batch);
                return self.deliver(hub, batch, DeliverySource::Repair);
            }
            FanOut::Gap(gap) => hub.gap(gap),
            FanOut::Rewound(partition, hole) => {
                hub.rewound(*partition, self.shared.layout, hole.after, hole.before);
            }
        }
        0
    }

    /// Ticks the connections whose deadlines pass.
    pub(crate) async fn watch_deadlines(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now_ms = self.shared.clock.mono_ms();
            self.deadlines().tick(now_ms);
        }
    }
}
