//! Builds one node from its stations and runs it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use sparkway_auth::{Revocation, Revoked};
use sparkway_metrics::{Metrics, Shape};
use sparkway_protocol::NodeId;
use sparkway_socket::origin::InvalidOriginPattern;
use sparkway_socket::{TlsError, listen};
use sparkway_store::{SharedStore, StoreError};
use tokio_util::sync::CancellationToken;

use crate::application::Host;
use crate::certificates::Certificates;
use crate::drain::{self, Phase};
use crate::effect::follow_lobby;
use crate::gauges::Gauges;
use crate::listeners::{accept, serve_internal};
use crate::parts::{Kit, Parts};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::site::Sites;
use crate::threads::{Thread, on};
use crate::worker::Worker;
use crate::{key_sets, lease, rebalance, revoking, telling};

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
    /// Certificate or key of the public listener cannot be used.
    #[error("server.tls: {0}")]
    Tls(#[from] TlsError),
    /// The authorities for requests to backends cannot be used.
    #[error("outbound.ca_file: {0}")]
    Outbound(#[from] sparkway_outbound::SetupError),
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
    certificates: Option<Certificates>,
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
        Self::start_with(settings, store, workers, Sites::default()).await
    }

    /// As [`Node::start`], with pages and interfaces added to its listeners.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, nothing is left running.
    pub async fn start_with(
        settings: Settings,
        store: SharedStore,
        workers: usize,
        sites: Sites,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&settings)?;
        let certificates = match &settings.server.tls {
            Some(tls) => Some(Certificates::load(tls).await?),
            None => None,
        };
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
        let metrics = metrics_of(&settings, &store, workers);
        let (node, parts) = Box::pin(Parts::gather(
            settings,
            store,
            &threads,
            Kit::with(sites, metrics),
        ))
        .await?;
        prepare(&node).await?;
        let workers = parts.run(&node, &threads);
        node.open_sites();
        if let Some(chat) = node.sites.chat.clone() {
            let host = Host::new(&node);
            on(&threads, 0, async move { chat.begin(host) }).await?;
            first.runtime.spawn(follow_lobby(Arc::clone(&node)));
        }
        let accepting = CancellationToken::new();
        for (worker, thread) in workers.iter().zip(&threads) {
            accept(
                worker,
                &thread.runtime,
                (listeners.public.try_clone()?, certificates.as_ref()),
                &accepting,
            );
        }
        if let Some(certificates) = certificates.clone() {
            let reloads = node.metrics.socket.tls_reloads.clone();
            admin.runtime.spawn(certificates.watch(reloads));
        }
        serve_internal(&node, &admin.runtime, listeners.internal, &running);
        let runtimes = threads.iter().map(|thread| thread.runtime.metrics());
        let gauges = Gauges::new(&node, runtimes.collect());
        admin.runtime.spawn(gauges.watch());
        accompany(&node, first);
        node.enter(Phase::Serving);
        stop.disarm();
        let threads = threads
            .into_iter()
            .filter_map(|thread| thread.join)
            .collect();
        Ok(Self {
            shared: node,
            workers,
            threads,
            accepting,
            running,
            certificates,
            public,
            internal,
        })
    }

    /// Looks at the certificate files of the public listener now: new connections get what is in
    /// them, unless it cannot be used. No effect without TLS.
    pub fn reload_certificate(&self) {
        if let Some(certificates) = &self.certificates {
            certificates.look_now();
        }
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

    /// Revokes tokens on all nodes: their sessions end within a second and are not taken up again,
    /// and no connection is made with them. `issued_until_ms` (Unix): tokens issued at or before
    /// it, default now; `until_ms` (Unix): how long the revocation is kept, default as
    /// `auth.revocation_keep` says. Answers what was revoked.
    ///
    /// # Errors
    /// The store does not answer, or keeps too many already: repeat it.
    ///
    /// # Cancel safety
    /// Dropped, other nodes may or may not have learnt of it; repeat it.
    pub async fn revoke(
        &self,
        what: Revoked,
        issued_until_ms: Option<u64>,
        until_ms: Option<u64>,
    ) -> Result<Revocation, StoreError> {
        self.shared.revoke(what, issued_until_ms, until_ms).await
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
        self.drain_unless(std::future::pending()).await;
    }

    /// Waits until an operator wants the node to go.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn drain_wanted(&self) {
        let mut wanted = self.shared.drain_wanted.subscribe();
        // The sender lives as long as the node.
        drop(wanted.wait_for(|wanted| *wanted).await);
    }

    /// As [`Node::drain`], for an operator: answers the node when it is wanted to stay after all,
    /// which counts until it begins to close connections.
    ///
    /// # Cancel safety
    /// Dropped, the node ends at once, as if killed.
    pub async fn drain_or_stay(self) -> Option<Self> {
        let mut wanted = self.shared.drain_wanted.subscribe();
        let kept = async move {
            if wanted.wait_for(|wanted| !*wanted).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let drained = self.drain_unless(kept).await;
        (!drained).then_some(self)
    }

    async fn drain_unless(&self, kept: impl Future<Output = ()>) -> bool {
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
        let draining = drain::drain(&self.shared, kept);
        tokio::pin!(draining);
        // Order does not matter: accepting ends by itself when the phase says so.
        tokio::select! {
            drained = &mut draining => drained,
            () = stop_accepting => draining.await,
        }
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

/// What a node has to know and to have said before anybody is let in.
async fn prepare(node: &Arc<Shared>) -> Result<(), StartError> {
    lease::take(node).await?;
    node.read_revocations().await?;
    node.fetch_all_keys().await;
    if node.tells() {
        // Before the first session is opened here.
        node.store.keep_events(node.matters());
    }
    Ok(())
}

/// Starts what goes on beside the connections for as long as the node lives.
fn accompany(node: &Arc<Shared>, thread: &Thread) {
    let runtime = &thread.runtime;
    runtime.spawn(lease::renew(Arc::clone(node)));
    runtime.spawn(lease::sweep(Arc::clone(node)));
    runtime.spawn(rebalance::run(Arc::clone(node)));
    runtime.spawn(revoking::reread(Arc::clone(node)));
    for partition in node.layout.iter().filter(|_| node.tells()) {
        runtime.spawn(telling::deliver(Arc::clone(node), partition));
    }
    for issuer in 0..key_sets::count(node) {
        runtime.spawn(key_sets::follow(Arc::clone(node), issuer));
    }
}

fn metrics_of(settings: &Settings, store: &SharedStore, workers: usize) -> Metrics {
    let shape = Shape {
        namespaces: settings.namespaces.keys().cloned().collect(),
        shards: usize::from(store.partitions().count()),
        workers,
    };
    Metrics::of(&shape, store.metrics())
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
