//! A session on this node while a connection serves it: what its operations share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use sparkway_auth::Grants;
use sparkway_hub::{Seat, Slot};
use sparkway_protocol::{Epoch, MessageId, Partition, SessionId, TopicName, UserId};
use sparkway_session::Input;
use sparkway_store::{SessionRecord, Subscription, WriteError};
use tokio::sync::Semaphore;

use crate::catchup::Lane;
use crate::handle::Handle;
use crate::worker::Worker;

/// A subscription as the node serves it.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) topic: TopicName,
    /// Entries up to this id are not for it.
    pub(crate) start: MessageId,
    pub(crate) echo: bool,
    pub(crate) presence: bool,
    pub(crate) slot: Slot,
}

/// A session in use on this node. Everything but the handle is touched by its worker's thread.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) worker: Arc<Worker>,
    pub(crate) handle: Arc<Handle>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) session: SessionId,
    pub(crate) user: Option<UserId>,
    pub(crate) grants: ArcSwap<Grants>,
    pub(crate) expires_at_ms: AtomicU64,
    epoch: AtomicU64,
    /// Newest and oldest valid generation of the heartbeat token, as last written.
    generation: AtomicU32,
    confirmed: AtomicU32,
    subs: Mutex<Vec<Sub>>,
    /// Partitions that are being brought up to date.
    pub(crate) lanes: Mutex<Vec<Lane>>,
    pub(crate) feeding: AtomicBool,
    restoring: AtomicBool,
    /// One look-up at a time.
    pub(crate) queries: Semaphore,
    over: AtomicBool,
    /// Its end is written, or is somebody else's to write.
    released: AtomicBool,
}

/// Who a session is, as the store said.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) session: SessionId,
    pub(crate) user: Option<UserId>,
    pub(crate) grants: Grants,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) epoch: Epoch,
    pub(crate) generations: (u32, u32),
}

impl Attached {
    pub(crate) fn new(
        worker: &Arc<Worker>,
        handle: &Arc<Handle>,
        format: sparkway_protocol::Format,
        owned: Owned,
    ) -> Arc<Self> {
        Arc::new(Self {
            worker: Arc::clone(worker),
            handle: Arc::clone(handle),
            seat: Arc::new(Seat::new(Arc::clone(&handle.outbox), format, owned.session)),
            session: owned.session,
            user: owned.user,
            grants: ArcSwap::from_pointee(owned.grants),
            expires_at_ms: AtomicU64::new(owned.expires_at_ms.unwrap_or(0)),
            epoch: AtomicU64::new(owned.epoch.0),
            generation: AtomicU32::new(owned.generations.0),
            confirmed: AtomicU32::new(owned.generations.1),
            subs: Mutex::default(),
            lanes: Mutex::default(),
            feeding: AtomicBool::new(false),
            restoring: AtomicBool::new(false),
            queries: Semaphore::const_new(1),
            over: AtomicBool::new(false),
            released: AtomicBool::new(false),
        })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// The epoch that the store gave the session.
    pub(crate) fn own(self: &Arc<Self>, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Relaxed);
        self.worker.shared.registry.enter(self);
    }

    pub(crate) fn set_grants(&self, grants: Grants, expires_at_ms: Option<u64>) {
        self.grants.store(Arc::new(grants));
        self.expires_at_ms
            .store(expires_at_ms.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn set_generations(&self, generation: u32, confirmed: u32) {
        self.generation.store(generation, Ordering::Relaxed);
        self.confirmed.store(confirmed, Ordering::Relaxed);
    }

    pub(crate) fn subs(&self) -> MutexGuard<'_, Vec<Sub>> {
        self.subs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's topics of a partition, with the start of each.
    pub(crate) fn topics_of(&self, partition: Partition) -> Vec<(TopicName, MessageId)> {
        let layout = self.worker.shared.layout;
        self.subs()
            .iter()
            .filter(|sub| layout.of(sub.topic.as_str()) == partition)
            .map(|sub| (sub.topic.clone(), sub.start))
            .collect()
    }

    /// Whether the connection is gone, or has lost the session: nothing more is to be done for it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.handle.outbox.is_closed()
    }

    /// Notes that the end of the session on this connection needs no more writing.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// Whether the session has, or is getting, a newer epoch of its own making.
    pub(crate) fn has_overtaken(&self, epoch: Epoch) -> bool {
        self.restoring.load(Ordering::Relaxed) || self.epoch() > epoch
    }

    /// Takes the session out of the fan-out and of this node's register.
    pub(crate) fn leave(&self) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = &self.worker.shared;
        let subs = std::mem::take(&mut *self.subs());
        let mut hub = self.worker.hub();
        for sub in subs {
            hub.leave(&sub.topic, sub.slot);
            shared.unwant(&sub.topic);
        }
        drop(hub);
        shared.registry.remove(self.session, &self.handle);
        self.handle.room.notify_waiters();
    }

    /// Writes the record again after the store lost it, with its epoch raised. `used` is the epoch
    /// of the write that did not find it: one from before an earlier restore says nothing.
    pub(crate) fn restore(self: &Arc<Self>, used: Epoch) {
        let is_stale = self.epoch() != used || self.is_over();
        if is_stale || self.restoring.swap(true, Ordering::Relaxed) {
            return;
        }
        let attached = Arc::clone(self);
        self.worker.shared.tasks.spawn(async move {
            let store = Arc::clone(&attached.worker.shared.store);
            match store.restore(attached.record()).await {
                Ok(epoch) => {
                    attached.epoch.store(epoch.0, Ordering::Relaxed);
                    attached.handle.post(Input::Reowned { epoch });
                    if attached.is_over() {
                        attached.give_back();
                    }
                }
                Err(WriteError::Fenced) => {
                    attached.handle.post(Input::Superseded {
                        epoch: Epoch(u64::MAX),
                    });
                }
                Err(WriteError::Gone | WriteError::Store(_)) => {}
            }
            attached.restoring.store(false, Ordering::Relaxed);
        });
    }

    fn record(&self) -> SessionRecord {
        let subscriptions = self
            .subs()
            .iter()
            .map(|sub| Subscription {
                topic: sub.topic.clone(),
                start: sub.start,
                echo: sub.echo,
                presence: sub.presence,
            })
            .collect();
        let expires_at_ms = self.expires_at_ms.load(Ordering::Relaxed);
        SessionRecord {
            session: self.session,
            user: self.user.clone(),
            grants: self.grants.load().to_record().into(),
            expires_at_ms: (expires_at_ms != 0).then_some(expires_at_ms),
            generation: self.generation.load(Ordering::Relaxed),
            confirmed: self.confirmed.load(Ordering::Relaxed),
            epoch: self.epoch(),
            owner: self.worker.shared.id.clone(),
            attached: true,
            format: self.seat.format,
            cursors: Vec::new(),
            subscriptions,
        }
    }
}
