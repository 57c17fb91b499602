//! Builds one node from its stations and runs it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use sparkway_auth::Verifier;
use sparkway_hub::{LogBounds, PartitionLog, Positions};
use sparkway_metrics::Metrics;
use sparkway_protocol::{Format, MessageId, NodeId, Partition};
use sparkway_session::{TokenKey, Tokens};
use sparkway_socket::listen;
use sparkway_socket::origin::{InvalidOriginPattern, OriginPattern};
use sparkway_store::{Feed, SharedStore, StoreError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, millis};
use crate::drain::{self, Phase};
use crate::feed::Reader;
use crate::listeners::{accept, serve_internal};
use crate::settings::Settings;
use crate::shared::{Lot, Shared};
use crate::tasks::Tasks;
use crate::threads::{Thread, on};
use crate::worker::{FanOut, Inlet, Worker};
use crate::{control, lease, manner};

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not answer: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A key for tokens cannot be used.
    #[error(transparent)]
    Key(#[from] sparkway_auth::KeyError),
    /// A pattern of `server.allowed_origins` is none.
    #[error("server.allowed_origins: {0}")]
    Origin(InvalidOriginPattern),
    /// The node's name breaks the rule for names.
    #[error("server.node_id {0}")]
    NodeId(sparkway_protocol::name::NameError),
    /// A thread or runtime could not be made.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
}

/// A running node. Dropped, it ends at once, as if killed; [`Node::drain`] ends it in good order.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<()>>,
    accepting: CancellationToken,
    running: CancellationToken,
    public: SocketAddr,
    internal: SocketAddr,
}

/// What the node listens on. Bound before anything else, so that a taken port is found at once.
#[derive(Debug)]
struct Listeners {
    public: TcpListener,
    internal: TcpListener,
}

impl Node {
    /// Starts a node with `workers` threads for connections (0: one per core).
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is left running.
    pub async fn start(
        settings: Settings,
        store: SharedStore,
        workers: usize,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&settings)?;
        let running = CancellationToken::new();
        let stop = running.clone().drop_guard();
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            some => some,
        };
        let threads: Vec<Thread> = (0..=workers)
            .map(|at| Thread::start(at, workers, &running))
            .collect::<Result<_, _>>()?;
        let (Some(first), Some(admin)) = (threads.first(), threads.last()) else {
            return Err(std::io::Error::other("no thread").into());
        };
        let (public, internal) = listeners.addresses()?;
        let (node, parts) = Parts::gather(settings, store, &threads, workers).await?;
        lease::take(&node).await?;
        let workers = parts.run(&node, &threads);
        let accepting = CancellationToken::new();
        for (worker, thread) in workers.iter().zip(&threads) {
            accept(
                worker,
                &thread.runtime,
                listeners.public.try_clone()?,
                &accepting,
            );
        }
        serve_internal(&node, &admin.runtime, listeners.internal, &running);
        first.runtime.spawn(lease::renew(Arc::clone(&node)));
        first.runtime.spawn(lease::sweep(Arc::clone(&node)));
        node.enter(Phase::Serving);
        stop.disarm();
        let threads = threads.into_iter().map(|thread| thread.join).collect();
        Ok(Self {
            shared: node,
            workers,
            threads,
            accepting,
            running,
            public,
            internal,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Where operators connect.
    #[must_use]
    pub const fn internal_address(&self) -> SocketAddr {
        self.internal
    }

    /// The node's name in the cluster.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.shared.id
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections()
    }

    /// Waits until a station that the node cannot live without has ended. Its clients sit
    /// connected and deaf: end the process, so that they resume elsewhere.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn failed(&self) {
        self.shared.failed.cancelled().await;
    }

    /// Sends the clients away at the measured pace and ends the node (core.md 7).
    ///
    /// # Cancel safety
    /// Dropped, the node ends at once, as if killed.
    pub async fn drain(self) {
        let accepting = self.accepting.clone();
        let mut phase = self.shared.phase.subscribe();
        let stop_accepting = async move {
            if phase
                .wait_for(|phase| *phase >= Phase::Closing)
                .await
                .is_ok()
            {
                accepting.cancel();
            }
        };
        tokio::join!(drain::drain(&self.shared), stop_accepting);
    }

    /// Ends the node at once, as if killed: nothing is written, nobody is told.
    pub fn kill(mut self) {
        self.running.cancel();
        for thread in self.threads.drain(..) {
            // A worker that panicked has ended, too.
            drop(thread.join());
        }
        self.workers.clear();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.cancel();
    }
}

impl Listeners {
    fn bind(settings: &Settings) -> Result<Self, StartError> {
        let bind =
            |address| listen(address).map_err(|source| StartError::Listen { address, source });
        Ok(Self {
            public: bind(settings.server.listen)?,
            internal: bind(settings.internal.listen)?,
        })
    }

    fn addresses(&self) -> std::io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.public.local_addr()?, self.internal.local_addr()?))
    }
}

/// What runs besides the connections.
struct Parts {
    feeds: Vec<(Partition, MessageId, Feed)>,
    inlets: Vec<mpsc::Receiver<FanOut>>,
    control: mpsc::Receiver<sparkway_store::Control>,
    positions: Positions,
}

impl Parts {
    /// Asks the store for what the node needs to know, on the threads that will use it.
    async fn gather(
        settings: Settings,
        store: SharedStore,
        threads: &[Thread],
        workers: usize,
    ) -> Result<(Arc<Shared>, Self), StartError> {
        let verifier = Verifier::new(settings.auth.clone())?;
        let origins = origins(&settings)?;
        let secret = store.cluster_key().await?;
        let layout = store.partitions();
        let mut positions: Positions = Positions::default();
        let mut lots = Vec::new();
        let mut feeds = Vec::new();
        for partition in layout.iter() {
            let clock = store.clock(partition).await?;
            if let Some(position) = positions.get_mut(partition.index()) {
                *position = clock;
            }
            let feed = on(threads, partition.index() % workers.max(1), {
                let store = Arc::clone(&store);
                async move { store.feed(partition) }
            })
            .await?;
            lots.push(Lot::new(
                PartitionLog::new(clock, LogBounds::default()),
                feed.handle.clone(),
            ));
            feeds.push((partition, clock, feed));
        }
        let id = match settings.server.node_id.clone() {
            Some(id) => id,
            None => random_node_id()?,
        };
        let control = on(threads, 0, {
            let (store, id) = (Arc::clone(&store), id.clone());
            async move { store.control(&id) }
        })
        .await?;
        let (inlet_ends, inlets) = (0..workers).map(|_| Inlet::channel()).unzip();
        let session = session_settings(&settings);
        let shared = Arc::new(Shared {
            id,
            manners: Format::ALL
                .map(|format| manner::session_settings(&session, &settings.room, format)),
            session,
            settings,
            origins,
            store,
            layout,
            tokens: Tokens::new(vec![TokenKey { id: 1, secret }]),
            verifier: ArcSwap::from_pointee(verifier),
            clock: Clock::start(),
            lots,
            inlets: inlet_ends,
            registry: crate::registry::Registry::default(),
            tasks: Tasks::default(),
            metrics: Metrics::new(),
            phase: watch::channel(Phase::Serving).0,
            failed: CancellationToken::new(),
            open: Arc::default(),
            workers: std::sync::OnceLock::new(),
        });
        Ok((
            shared,
            Self {
                feeds,
                inlets,
                control,
                positions,
            },
        ))
    }

    /// Starts readers, appenders, hubs and the control channel.
    fn run(self, shared: &Arc<Shared>, threads: &[Thread]) -> Vec<Arc<Worker>> {
        let workers: Vec<Arc<Worker>> = self
            .inlets
            .iter()
            .map(|_| Worker::new(shared, self.positions))
            .collect();
        let weak = workers.iter().map(Arc::downgrade).collect();
        drop(shared.workers.set(weak));
        for ((worker, inlet), thread) in workers.iter().zip(self.inlets).zip(threads) {
            thread.runtime.spawn(Arc::clone(worker).fan_out(inlet));
            thread.runtime.spawn(Arc::clone(worker).watch_deadlines());
        }
        for (partition, clock, feed) in self.feeds {
            let at = partition.index() % workers.len().max(1);
            let Some(thread) = threads.get(at) else {
                continue;
            };
            let reader = Reader::new(shared, partition, clock);
            let failed = shared.failed.clone();
            thread.runtime.spawn(async move {
                // Also when the reader panics: the guard is dropped with it.
                let _failed = failed.drop_guard();
                reader.run(feed).await;
            });
            let shared = Arc::clone(shared);
            thread.runtime.spawn(async move {
                let _failed = shared.failed.clone().drop_guard();
                if let Some(lot) = shared.lot(partition) {
                    lot.appender.run(partition, Arc::clone(&shared.store)).await;
                }
            });
        }
        if let Some(first) = threads.first() {
            first
                .runtime
                .spawn(control::listen(Arc::clone(shared), self.control));
        }
        workers
    }
}

fn origins(settings: &Settings) -> Result<Vec<OriginPattern>, StartError> {
    settings
        .server
        .allowed_origins
        .iter()
        .map(|text| text.parse().map_err(StartError::Origin))
        .collect()
}

/// Host name and 64 random bits: a restarted node is a new one.
fn random_node_id() -> Result<NodeId, StartError> {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host: String = host
        .trim()
        .chars()
        .filter(|symbol| !symbol.is_control())
        .take(32)
        .collect();
    let host = if host.is_empty() { "node" } else { &host };
    NodeId::parse(&format!("{host}-{:016x}", rand::random::<u64>())).map_err(StartError::NodeId)
}

fn session_settings(settings: &Settings) -> sparkway_session::SessionSettings {
    let (session, limits) = (&settings.session, &settings.limits);
    sparkway_session::SessionSettings {
        heartbeat_interval_ms: millis(session.heartbeat_interval),
        resume_window_ms: millis(session.resume_window),
        connect_timeout_ms: millis(session.connect_timeout),
        token_rotation_ms: millis(session.token_rotation),
        expiry_grace_ms: millis(session.expiry_grace),
        keep_on_close: session.keep_on_close,
        topics_per_session: limits.topics_per_session,
        frames_per_second: limits.frames_per_second,
        frames_burst: limits.frames_burst,
        only_one_per_user: session.per_user == Some(1),
        ..sparkway_session::SessionSettings::default()
    }
}
