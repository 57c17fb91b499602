//! A session on this node while a connection serves it: what its operations share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use sparkway_auth::{Grants, Mark, Pass};
use sparkway_hub::{Positions, Seat, Slot};
use sparkway_protocol::{Epoch, MessageId, Partition, SessionId, TopicName, UserId};
use sparkway_session::Input;
use sparkway_store::planted::Defect;
use sparkway_store::{SessionRecord, Subscription, WriteError};
use tokio::sync::Semaphore;

use crate::catchup::Lane;
use crate::effect::{UNANSWERED, Wish};
use crate::guests::UserPlace;
use crate::handle::Handle;
use crate::invariant::Invariant;
use crate::manner;
use crate::worker::Worker;

/// A subscription as the node serves it.
#[derive(Clone, Debug)]
pub(crate) struct Sub {
    pub(crate) topic: TopicName,
    /// Entries up to this id are not for it.
    pub(crate) start: MessageId,
    pub(crate) echo: bool,
    pub(crate) presence: bool,
    /// Made by a backend: grants are not asked.
    pub(crate) by_backend: bool,
    pub(crate) slot: Slot,
}

/// Publishes of a session that wait for a backend, in order.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) waiting: VecDeque<Wish>,
    /// Whether somebody asks for them.
    pub(crate) asking: bool,
}

/// What a session brings with it when it is taken up again.
#[derive(Debug, Default)]
struct Resumed {
    /// What the client named: nothing up to there is for it, though this node may have seen less.
    named: Positions,
    /// Its subscriptions that have no place yet.
    coming: Vec<Subscription>,
}

/// What most sessions never need.
#[derive(Debug)]
pub(crate) struct Seldom {
    /// One look-up at a time.
    pub(crate) queries: Semaphore,
    /// Messages that wait for a response.
    pub(crate) questions: Semaphore,
    /// What an application is told of deliveries, one at a time.
    pub(crate) deliveries: Semaphore,
    /// Publishes that a backend decides.
    wishes: Mutex<Wishes>,
}

impl Default for Seldom {
    fn default() -> Self {
        Self {
            queries: Semaphore::const_new(1),
            questions: Semaphore::const_new(UNANSWERED),
            deliveries: Semaphore::const_new(1),
            wishes: Mutex::default(),
        }
    }
}

/// A session in use on this node. Everything but the handle is touched by its worker's thread.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) worker: Arc<Worker>,
    pub(crate) handle: Arc<Handle>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) session: SessionId,
    pub(crate) user: Option<UserId>,
    /// As whom it is present in topics, once it is in one that keeps it.
    pub(crate) present_as: OnceLock<Option<UserId>>,
    pub(crate) grants: ArcSwap<Grants>,
    /// Which credential it was.
    pub(crate) mark: ArcSwap<Mark>,
    pub(crate) expires_at_ms: AtomicU64,
    epoch: AtomicU64,
    /// Newest and oldest valid generation of the heartbeat token, as last written.
    generation: AtomicU32,
    confirmed: AtomicU32,
    subs: Mutex<Vec<Sub>>,
    /// Of a session that was taken up again.
    resumed: Mutex<Option<Box<Resumed>>>,
    /// The topics that the session was in when it left the fan-out, until the store is told.
    parted: Mutex<Vec<TopicName>>,
    /// Partitions that are being brought up to date.
    pub(crate) lanes: Mutex<Vec<Lane>>,
    pub(crate) feeding: AtomicBool,
    restoring: AtomicBool,
    seldom: OnceLock<Box<Seldom>>,
    pub(crate) in_lobby: AtomicBool,
    over: AtomicBool,
    /// Its end is written, or is somebody else's to write.
    released: AtomicBool,
    /// Its place among the connections of its user.
    _place: Option<UserPlace>,
}

/// Who a session is, as the store said.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) session: SessionId,
    pub(crate) user: Option<UserId>,
    pub(crate) pass: Pass,
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
        let shared = &worker.shared;
        let mut seat =
            Seat::new(Arc::clone(&handle.outbox), format, owned.session).deflating(handle.deflates);
        if manner::acknowledges(format) {
            seat = seat.with_unacked_max(shared.settings.session.max_unacked);
        }
        Arc::new(Self {
            worker: Arc::clone(worker),
            handle: Arc::clone(handle),
            seat: Arc::new(seat),
            _place: shared
                .guests
                .enter(owned.user.as_ref(), format, owned.session),
            session: owned.session,
            user: owned.user,
            present_as: OnceLock::new(),
            grants: ArcSwap::from_pointee(owned.pass.grants),
            mark: ArcSwap::from_pointee(owned.pass.mark),
            expires_at_ms: AtomicU64::new(owned.expires_at_ms.unwrap_or(0)),
            epoch: AtomicU64::new(owned.epoch.0),
            generation: AtomicU32::new(owned.generations.0),
            confirmed: AtomicU32::new(owned.generations.1),
            subs: Mutex::default(),
            resumed: Mutex::default(),
            parted: Mutex::default(),
            lanes: Mutex::default(),
            feeding: AtomicBool::new(false),
            restoring: AtomicBool::new(false),
            seldom: OnceLock::new(),
            in_lobby: AtomicBool::new(false),
            over: AtomicBool::new(false),
            released: AtomicBool::new(false),
        })
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// The epoch that the store gave the session.
    pub(crate) fn own(self: &Arc<Self>, epoch: Epoch) {
        let shared = &self.worker.shared;
        shared.holds(Invariant::EpochRises, epoch >= self.epoch());
        self.epoch.store(epoch.0, Ordering::Relaxed);
        shared.registry.enter(self);
    }

    pub(crate) fn set_pass(&self, pass: Pass, expires_at_ms: Option<u64>) {
        self.grants.store(Arc::new(pass.grants));
        self.mark.store(Arc::new(pass.mark));
        self.expires_at_ms
            .store(expires_at_ms.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn set_generations(&self, generation: u32, confirmed: u32) {
        self.generation.store(generation, Ordering::Relaxed);
        self.confirmed.store(confirmed, Ordering::Relaxed);
    }

    pub(crate) fn seldom(&self) -> &Seldom {
        self.seldom.get_or_init(Box::default)
    }

    pub(crate) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        let wishes = &self.seldom().wishes;
        wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subs(&self) -> MutexGuard<'_, Vec<Sub>> {
        self.subs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to where in a partition its client has everything, as it said when it resumed.
    pub(crate) fn named(&self, partition: Partition) -> MessageId {
        if Defect::NoResumeFilter.is_planted() {
            return MessageId::ZERO;
        }
        let resumed = self.resumed();
        let named = resumed.as_ref().map(|resumed| &resumed.named);
        let named = named.and_then(|all| all.get(partition.index()));
        named.copied().unwrap_or_default()
    }

    fn resumed(&self) -> MutexGuard<'_, Option<Box<Resumed>>> {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the subscriptions that were taken over and have no place yet: whatever is written of
    /// the session meanwhile names them, too.
    pub(crate) fn expect(&self, coming: &[Subscription]) {
        if !coming.is_empty() {
            self.resumed().get_or_insert_default().coming = coming.to_vec();
        }
    }

    /// Topics that are left before they have their places.
    pub(crate) fn expect_no_longer(&self, names: &[TopicName]) {
        if let Some(resumed) = self.resumed().as_mut() {
            resumed.coming.retain(|sub| !names.contains(&sub.topic));
        }
    }

    /// Those that are to take their places now.
    pub(crate) fn coming(&self) -> Vec<Subscription> {
        let resumed = self.resumed();
        let coming = resumed.as_ref().map(|resumed| resumed.coming.clone());
        coming.unwrap_or_default()
    }

    /// All of them have their places.
    pub(crate) fn has_come(&self) {
        if let Some(resumed) = self.resumed().as_mut() {
            resumed.coming = Vec::new();
        }
    }

    pub(crate) fn set_named(&self, partition: Partition, id: MessageId) {
        let mut resumed = self.resumed();
        let named = &mut resumed.get_or_insert_default().named;
        if let Some(named) = named.get_mut(partition.index()) {
            *named = id;
        }
    }

    fn parted(&self) -> MutexGuard<'_, Vec<TopicName>> {
        self.parted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics of which the store still has to hear that the session is not in them any more.
    pub(crate) fn take_parted(&self) -> Vec<TopicName> {
        std::mem::take(&mut *self.parted())
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
        let mut parted = self.parted();
        for sub in subs {
            hub.leave(&sub.topic, sub.slot);
            shared.unwant(&sub.topic);
            parted.push(sub.topic);
        }
        drop((hub, parted));
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
        // Now: once the connection has ended it names no subscriptions any more.
        let record = self.record();
        let named = record.subscriptions.clone();
        self.worker.shared.tasks.spawn(async move {
            let store = Arc::clone(&attached.worker.shared.store);
            match store.restore(record).await {
                Ok(epoch) => {
                    attached.epoch.store(epoch.0, Ordering::Relaxed);
                    attached.enter_again();
                    attached.handle.post(Input::Reowned { epoch });
                    if attached.is_over() {
                        attached.give_back();
                    }
                    attached.settle(epoch, named).await;
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

    /// The subscriptions as the record keeps them.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        let kept = |sub: &Sub| Subscription {
            topic: sub.topic.clone(),
            start: sub.start,
            echo: sub.echo,
            presence: sub.presence,
            by_backend: sub.by_backend,
        };
        let subs = self.subs();
        let mut all: Vec<Subscription> = subs.iter().map(kept).collect();
        // Under the lock of those in their places: none is between.
        if let Some(resumed) = self.resumed().as_ref() {
            let is_new = |sub: &&Subscription| !subs.iter().any(|held| held.topic == sub.topic);
            all.extend(resumed.coming.iter().filter(is_new).cloned());
        }
        all
    }

    fn record(&self) -> SessionRecord {
        let expires_at_ms = self.expires_at_ms.load(Ordering::Relaxed);
        let pass = Pass {
            grants: Grants::clone(&self.grants.load()),
            mark: Mark::clone(&self.mark.load()),
        };
        SessionRecord {
            session: self.session,
            user: self.user.clone(),
            grants: pass.to_record().into(),
            expires_at_ms: (expires_at_ms != 0).then_some(expires_at_ms),
            generation: self.generation.load(Ordering::Relaxed),
            confirmed: self.confirmed.load(Ordering::Relaxed),
            epoch: self.epoch(),
            owner: self.worker.shared.id.clone(),
            attached: true,
            format: self.seat.format,
            cursors: Vec::new(),
            subscriptions: self.subscriptions(),
        }
    }
}
