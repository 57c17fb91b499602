//! What all parts of one node share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use sparkway_auth::{Grants, Verifier};
use sparkway_hooks::Backends;
use sparkway_hub::{Coverage, PartitionLog};
use sparkway_metrics::{Metrics, NodeState};
use sparkway_protocol::{
    CloseReason, Format, MessageId, NodeId, Partition, Partitions, SessionId, TopicName, UserId,
};
use sparkway_session::{Input, SessionSettings, Surroundings, Tokens};
use sparkway_socket::origin::OriginPattern;
use sparkway_store::feed::FeedRequest;
use sparkway_store::planted::Defect;
use sparkway_store::{FeedHandle, OnlyOne, Retention, SharedStore};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::appender::Appender;
use crate::asking::LastAnswers;
use crate::canary::Canary;
use crate::clock::{Clock, millis};
use crate::drain::Phase;
use crate::guests::Guests;
use crate::key_sets::KeySets;
use crate::presence::Roster;
use crate::reads::Reads;
use crate::registry::Registry;
use crate::settings::{Access, Settings};
use crate::site::Sites;
use crate::sizes::Sizes;
use crate::tasks::Tasks;
use crate::trace::Tracing;
use crate::worker::{Inlet, Worker};

/// How long an operation of a client waits for its topics to become live.
pub(crate) const LIVE_DEADLINE: Duration = Duration::from_secs(5);

/// One partition on this node.
#[derive(Debug)]
pub(crate) struct Lot {
    log: Mutex<PartitionLog>,
    /// Told whenever a topic became live.
    pub(crate) changed: Notify,
    pub(crate) feed: FeedHandle,
    pub(crate) appender: Appender,
    pub(crate) roster: Roster,
    pub(crate) reads: Reads,
    /// Set when the node has begun to speak to itself.
    pub(crate) canary: OnceLock<Canary>,
}

impl Lot {
    pub(crate) fn new(log: PartitionLog, feed: FeedHandle) -> Self {
        Self {
            log: Mutex::new(log),
            changed: Notify::new(),
            feed,
            appender: Appender::default(),
            roster: Roster::default(),
            reads: Reads::default(),
            canary: OnceLock::new(),
        }
    }

    /// The live topics and their rings. Held for microseconds, never across an await; no other
    /// lock is taken inside.
    pub(crate) fn log(&self) -> MutexGuard<'_, PartitionLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all parts of one node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    pub(crate) sites: Sites,
    pub(crate) session: SessionSettings,
    /// The same for each format.
    pub(crate) manners: [SessionSettings; Format::COUNT],
    pub(crate) store: SharedStore,
    pub(crate) layout: Partitions,
    pub(crate) tokens: Tokens,
    pub(crate) verifier: ArcSwap<Verifier>,
    pub(crate) key_sets: KeySets,
    /// `None` when no hook is set.
    pub(crate) backends: Option<Backends>,
    pub(crate) answers: LastAnswers,
    pub(crate) revoked: crate::revoking::Known,
    pub(crate) clock: Clock,
    pub(crate) sizes: Sizes,
    pub(crate) lots: Vec<Lot>,
    pub(crate) inlets: Vec<Inlet>,
    pub(crate) registry: Registry,
    pub(crate) guests: Arc<Guests>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    /// `None`: nothing is traced.
    pub(crate) tracing: Option<Tracing>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Whether an operator wants the node to go.
    pub(crate) drain_wanted: watch::Sender<bool>,
    /// Whose turn it is to write the lease; closed once it is given up.
    pub(crate) lease_turn: Semaphore,
    /// Who follows topics without being a client.
    pub(crate) taps: crate::taps::Taps,
    /// Allowed origins besides the own host.
    pub(crate) origins: Vec<OriginPattern>,
    /// Cancelled when a station has ended that the node cannot live without.
    pub(crate) failed: CancellationToken,
    /// The share of native newcomers that are to try other nodes, as the bits of an `f64`.
    pub(crate) refused_newcomers: AtomicU64,
    /// How many were told so and are not counted yet.
    pub(crate) sent_on: AtomicU64,
    /// One clone per open connection, besides this one.
    pub(crate) open: Arc<()>,
    /// Turns of those who resume.
    pub(crate) resumes: Arc<Semaphore>,
    pub(crate) workers: OnceLock<Vec<Weak<Worker>>>,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Yes,
    No,
    /// A backend decides.
    Ask,
}

/// The topics did not become live in time, or the node ends.
#[derive(Debug)]
pub(crate) struct NotLive;

impl Allowed {
    const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl Shared {
    /// The settings of sessions in a format.
    pub(crate) fn manner(&self, format: Format) -> &SessionSettings {
        self.manners.get(format.index()).unwrap_or(&self.session)
    }

    /// What every step of a session is handed. Reads the clock.
    pub(crate) fn around(&self, format: Format) -> Surroundings<'_> {
        Surroundings {
            settings: self.manner(format),
            tokens: &self.tokens,
            partitions: self.layout,
            node: &self.id,
            max_message_bytes: self.settings.limits.message_bytes as u64,
            now: self.clock.now(),
        }
    }

    /// The partition on this node. Every partition of the layout has one.
    pub(crate) fn lot(&self, partition: Partition) -> Option<&Lot> {
        self.lots.get(partition.index())
    }

    pub(crate) fn lot_of(&self, topic: &TopicName) -> Option<&Lot> {
        self.lot(self.layout.of(topic.as_str()))
    }

    pub(crate) fn retention(&self, topic: &TopicName) -> Retention {
        let settings = self.settings.topic(topic);
        Retention {
            entries: settings.history_entries,
            age_ms: millis(settings.history_age),
        }
    }

    /// What a session of its user makes of his others, unless its dialect says so.
    pub(crate) const fn only_one(&self) -> OnlyOne {
        if self.session.only_one_per_user {
            OnlyOne::OfUser
        } else {
            OnlyOne::No
        }
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> u64 {
        (Arc::strong_count(&self.open) - 1) as u64
    }

    /// Connections per second that this node can take in besides its own: what draining nodes may
    /// send it.
    pub(crate) fn spare_accepts(&self) -> u32 {
        let most = self.settings.drain.max_rate;
        let limit = self.settings.limits.handshakes_per_second;
        limit.map_or(most, |limit| limit.min(most))
    }

    /// Counts a connection for as long as the returned value lives.
    pub(crate) fn count_connection(&self) -> Arc<()> {
        Arc::clone(&self.open)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        tracing::info!(?phase, connections = self.connections(), "phase");
        self.phase.send_replace(phase);
        self.metrics.node.set_state(match phase {
            Phase::Serving => NodeState::Ready,
            Phase::Unready | Phase::Closing | Phase::Flushing => NodeState::Draining,
            Phase::Done => NodeState::Stopped,
        });
    }

    /// Ends every connection, with or without a session.
    pub(crate) fn disconnect_everybody(&self, reason: CloseReason) {
        for worker in self
            .workers
            .get()
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
        {
            for handle in worker.deadlines().everybody() {
                handle.post(Input::Disconnect(reason));
            }
        }
    }

    /// As [`Shared::make_live`]; with the defect [`Defect::NewTopicUnawaited`] it waits for nothing.
    ///
    /// # Errors
    /// As [`Shared::make_live`].
    pub(crate) async fn make_live_unless_planted(
        self: &Arc<Self>,
        topics: &[TopicName],
    ) -> Result<(), NotLive> {
        if Defect::NewTopicUnawaited.is_planted() {
            let (shared, topics) = (Arc::clone(self), topics.to_vec());
            self.tasks
                .spawn(async move { drop(shared.make_live(&topics).await) });
            return Ok(());
        }
        self.make_live(topics).await
    }

    /// Notes an interest in each topic and waits until all are live on this node. Whoever calls
    /// this takes each interest back with [`Shared::unwant`], also after an error.
    ///
    /// # Errors
    /// [`NotLive`] after [`LIVE_DEADLINE`]: the store is away.
    pub(crate) async fn make_live(&self, topics: &[TopicName]) -> Result<(), NotLive> {
        // First all interests, so that the caller can take each of them back.
        let new: Vec<bool> = topics
            .iter()
            .map(|topic| self.lot_of(topic).is_some_and(|lot| lot.log().want(topic)))
            .collect();
        let all_live = async {
            for (topic, new) in topics.iter().zip(&new) {
                let Some(lot) = self.lot_of(topic) else {
                    continue;
                };
                if *new
                    && !lot
                        .feed
                        .request(FeedRequest::Follow(vec![topic.clone()]))
                        .await
                {
                    return Err(NotLive);
                }
            }
            for topic in topics {
                let Some(lot) = self.lot_of(topic) else {
                    continue;
                };
                loop {
                    let changed = lot.changed.notified();
                    if lot.log().coverage(topic, MessageId::MAX) != Coverage::NotLive {
                        break;
                    }
                    changed.await;
                }
            }
            Ok(())
        };
        let result = tokio::time::timeout(LIVE_DEADLINE, all_live)
            .await
            .unwrap_or(Err(NotLive));
        if result.is_err() {
            // Whoever asks next asks the feed again: following twice does no harm.
            for (topic, _) in topics.iter().zip(&new).filter(|(_, new)| **new) {
                if let Some(lot) = self.lot_of(topic) {
                    lot.log().forsake(topic);
                }
            }
        }
        result
    }

    /// Whether a session may receive a topic: by its grants, by the namespace's rule, or because
    /// it is its own inbox.
    pub(crate) fn may_subscribe(
        &self,
        grants: &Grants,
        topic: &TopicName,
        user: Option<&UserId>,
        session: SessionId,
    ) -> Allowed {
        if topic.is_reserved() {
            let text = topic.as_str();
            let is_own = text
                .strip_prefix("$user:")
                .is_some_and(|id| user.is_some_and(|user| user.as_str() == id))
                || text.strip_prefix("$session:") == Some(session.to_string().as_str());
            return Allowed::of(is_own);
        }
        match self.settings.topic(topic).subscribe {
            Access::Granted => Allowed::of(grants.allows_subscribe(topic)),
            Access::Everyone => Allowed::Yes,
            Access::Nobody => Allowed::No,
            Access::Hook => Allowed::Ask,
        }
    }

    /// Whether a client may publish in a topic.
    pub(crate) fn may_publish(&self, grants: &Grants, topic: &TopicName) -> Allowed {
        if topic.is_reserved() {
            return Allowed::No;
        }
        match self.settings.topic(topic).publish {
            Access::Granted => Allowed::of(grants.allows_publish(topic)),
            Access::Everyone => Allowed::Yes,
            Access::Nobody => Allowed::No,
            Access::Hook => Allowed::Ask,
        }
    }

    /// Subscribes a session of this node, as a backend wants it.
    pub(crate) fn enlist(&self, session: SessionId, topics: Vec<(TopicName, MessageId)>) {
        if let Some(found) = self.registry.get(session) {
            found.handle.post(Input::Enlist(topics));
        }
    }

    /// A log was trimmed: what is gone is not replayed from memory, either.
    pub(crate) fn forget_until(&self, topic: &TopicName, until: MessageId) {
        if let Some(lot) = self.lot_of(topic) {
            lot.log().forget_until(topic, until);
        }
    }

    pub(crate) fn unwant(&self, topic: &TopicName) {
        if let Some(lot) = self.lot_of(topic) {
            lot.log().unwant(topic, self.clock.mono_ms());
        }
    }
}
