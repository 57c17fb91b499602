//! What all parts of one node share.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use sparkway_auth::{Grants, Verifier};
use sparkway_hub::{Coverage, PartitionLog};
use sparkway_metrics::{Metrics, NodeState};
use sparkway_protocol::{
    CloseReason, Format, MessageId, NodeId, Partition, Partitions, SessionId, TopicName, UserId,
};
use sparkway_session::{Input, SessionSettings, Surroundings, Tokens};
use sparkway_socket::origin::OriginPattern;
use sparkway_store::feed::FeedRequest;
use sparkway_store::{FeedHandle, Retention, SharedStore};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::appender::Appender;
use crate::clock::{Clock, millis};
use crate::drain::Phase;
use crate::reads::Reads;
use crate::registry::Registry;
use crate::settings::{Access, Settings};
use crate::tasks::Tasks;
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
    pub(crate) reads: Reads,
}

impl Lot {
    pub(crate) fn new(log: PartitionLog, feed: FeedHandle) -> Self {
        Self {
            log: Mutex::new(log),
            changed: Notify::new(),
            feed,
            appender: Appender::default(),
            reads: Reads::default(),
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
    pub(crate) session: SessionSettings,
    /// The same for each format.
    pub(crate) manners: [SessionSettings; Format::COUNT],
    pub(crate) store: SharedStore,
    pub(crate) layout: Partitions,
    pub(crate) tokens: Tokens,
    pub(crate) verifier: ArcSwap<Verifier>,
    pub(crate) clock: Clock,
    pub(crate) lots: Vec<Lot>,
    pub(crate) inlets: Vec<Inlet>,
    pub(crate) registry: Registry,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    pub(crate) phase: watch::Sender<Phase>,
    /// Allowed origins besides the own host.
    pub(crate) origins: Vec<OriginPattern>,
    /// Cancelled when a station has ended that the node cannot live without.
    pub(crate) failed: CancellationToken,
    /// One clone per open connection, besides this one.
    pub(crate) open: Arc<()>,
    pub(crate) workers: OnceLock<Vec<Weak<Worker>>>,
}

/// The topics did not become live in time, or the node ends.
#[derive(Debug)]
pub(crate) struct NotLive;

impl Shared {
    /// What every step of a session is handed.
    pub(crate) fn around(&self, format: Format) -> Surroundings<'_> {
        Surroundings {
            settings: self.manners.get(format.index()).unwrap_or(&self.session),
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

    /// Open connections.
    pub(crate) fn connections(&self) -> u64 {
        (Arc::strong_count(&self.open) - 1) as u64
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
    ) -> bool {
        if topic.is_reserved() {
            let text = topic.as_str();
            return text
                .strip_prefix("$user:")
                .is_some_and(|id| user.is_some_and(|user| user.as_str() == id))
                || text.strip_prefix("$session:") == Some(session.to_string().as_str());
        }
        match self.settings.topic(topic).subscribe {
            Access::Granted => grants.allows_subscribe(topic),
            Access::Everyone => true,
            Access::Nobody => false,
        }
    }

    /// Whether a client may publish in a topic.
    pub(crate) fn may_publish(&self, grants: &Grants, topic: &TopicName) -> bool {
        if topic.is_reserved() {
            return false;
        }
        match self.settings.topic(topic).publish {
            Access::Granted => grants.allows_publish(topic),
            Access::Everyone => true,
            Access::Nobody => false,
        }
    }

    pub(crate) fn unwant(&self, topic: &TopicName) {
        if let Some(lot) = self.lot_of(topic) {
            lot.log().unwant(topic, self.clock.mono_ms());
        }
    }
}
