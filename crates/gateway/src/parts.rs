//! The stations of one node: gathered from settings and store, then set running.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use sparkway_auth::Verifier;
use sparkway_hooks::{Backends, Hook};
use sparkway_hub::{LogBounds, PartitionLog, Positions};
use sparkway_metrics::Metrics;
use sparkway_outbound::Client;
use sparkway_protocol::{Format, MessageId, NodeId, Partition};
use sparkway_session::{SessionSettings, TokenKey, Tokens};
use sparkway_socket::origin::OriginPattern;
use sparkway_store::{Feed, SharedStore};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::asking::LastAnswers;
use crate::clock::{Clock, millis};
use crate::descriptors::Descriptors;
use crate::drain::Phase;
use crate::feed::Reader;
use crate::guests::Guests;
use crate::key_sets::KeySets;
use crate::node::StartError;
use crate::pace::NodePace;
use crate::settings::{OutboundSettings, Settings};
use crate::shared::{Lot, Shared};
use crate::site::Sites;
use crate::sizes::Sizes;
use crate::tasks::Tasks;
use crate::threads::{Thread, on};
use crate::trace::Tracing;
use crate::worker::{FanOut, Inlet, Worker};
use crate::{canary, control, manner};

/// What a node is made with that no operator sets.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) sites: Sites,
    pub(crate) clock: Clock,
    pub(crate) sizes: Sizes,
    pub(crate) metrics: Metrics,
    /// `None` but in a simulation.
    pub(crate) pace: NodePace,
}

impl Kit {
    /// That of a real node.
    pub(crate) fn with(sites: Sites, metrics: Metrics) -> Self {
        Self {
            sites,
            clock: Clock::start(),
            sizes: Sizes::default(),
            metrics,
            pace: None,
        }
    }
}

/// A partition, where its reader begins, and its feed.
type Follow = (Partition, MessageId, Feed);

/// What runs besides the connections.
pub(crate) struct Parts {
    feeds: Vec<Follow>,
    inlets: Vec<mpsc::Receiver<FanOut>>,
    control: mpsc::Receiver<sparkway_store::Control>,
    positions: Positions,
}

impl Parts {
    /// Asks the store for what the node needs to know, on the threads that will use it.
    pub(crate) async fn gather(
        settings: Settings,
        store: SharedStore,
        threads: &[Thread],
        kit: Kit,
    ) -> Result<(Arc<Shared>, Self), StartError> {
        // The last thread is the internal listener's.
        let workers = threads.len().saturating_sub(1);
        let verifier = Verifier::new(settings.auth.clone())?;
        let client = client(&settings)?;
        let key_sets = KeySets::new(client.clone(), &settings.key_sets.targets);
        let backends = backends_of(&kit, &settings, client);
        let origins = origins(&settings)?;
        let secret = store.cluster_key().await?;
        let layout = store.partitions();
        let (lots, feeds, positions) = open_feeds(&store, threads, kit.sizes.rings).await?;
        let id = settings.server.node_id.clone();
        let id = id.map_or_else(random_node_id, Ok)?;
        let control = listen_on(threads, &store, &id).await?;
        let inlets = (0..workers).map(|_| Inlet::channel(kit.sizes.inlet));
        let (inlet_ends, inlets) = inlets.unzip();
        let session = session_settings(&settings);
        let guests = guests(&settings, workers, &kit);
        let tracing = tracing_of(&kit, &settings, (id.as_str(), store.metrics().is_some()));
        let shared = Arc::new(Shared {
            id,
            manners: manners(&session, &settings),
            session,
            settings,
            sites: kit.sites,
            origins,
            store,
            layout,
            tokens: Tokens::new(vec![TokenKey { id: 1, secret }]),
            verifier: ArcSwap::from_pointee(verifier),
            key_sets,
            backends,
            answers: LastAnswers::default(),
            revoked: crate::revoking::Known::default(),
            clock: kit.clock,
            sizes: kit.sizes,
            lots,
            inlets: inlet_ends,
            guests: Arc::new(guests),
            registry: crate::registry::Registry::default(),
            tasks: Tasks::at(kit.pace),
            metrics: kit.metrics,
            tracing,
            phase: watch::channel(Phase::Serving).0,
            drain_wanted: watch::channel(false).0,
            lease_turn: Semaphore::const_new(1),
            taps: crate::taps::Taps::default(),
            failed: CancellationToken::new(),
            refused_newcomers: AtomicU64::default(),
            sent_on: AtomicU64::default(),
            open: Arc::default(),
            resumes: Arc::new(Semaphore::new(kit.sizes.resumes)),
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
    pub(crate) fn run(self, shared: &Arc<Shared>, threads: &[Thread]) -> Vec<Arc<Worker>> {
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
            let mut reader = Reader::new(shared, partition, clock);
            if let Some(worker) = workers.get(at) {
                reader = reader.beside(at, worker);
            }
            let failed = shared.failed.clone();
            thread.runtime.spawn(async move {
                // Also when the reader panics: the guard is dropped with it.
                let _failed = failed.drop_guard();
                reader.run(feed).await;
            });
            thread
                .runtime
                .spawn(canary::sing(Arc::clone(shared), partition));
            let shared = Arc::clone(shared);
            thread.runtime.spawn(async move {
                let _failed = shared.failed.clone().drop_guard();
                if let Some(lot) = shared.lot(partition) {
                    tokio::join!(
                        lot.appender.run(partition, Arc::clone(&shared.store)),
                        lot.roster.run(&shared, partition),
                    );
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

/// The limits of who comes in, from the settings and from what the process may open.
fn guests(settings: &Settings, workers: usize, kit: &Kit) -> Guests {
    // The internal listener has an accept loop of its own.
    let descriptors = Descriptors::of_process(workers + 1);
    let guests = Guests::new(&settings.limits, descriptors, kit.clock.mono_ms());
    let most = guests.connections_max.map_or(0, i64::from);
    kit.metrics.socket.connection_limit.set(most);
    guests
}

/// The control channel, on the first worker's thread.
async fn listen_on(
    threads: &[Thread],
    store: &SharedStore,
    id: &NodeId,
) -> std::io::Result<mpsc::Receiver<sparkway_store::Control>> {
    let (store, id) = (Arc::clone(store), id.clone());
    on(threads, 0, async move { store.control(&id) }).await
}

/// `None` when no hook is set.
fn backends_of(kit: &Kit, settings: &Settings, client: Option<Client>) -> Option<Backends> {
    let client = client.filter(|_| settings.hooks.urls.any())?;
    let metrics = kit.metrics.backend.clone();
    Some(Backends::new(&settings.hooks, client, metrics))
}

/// `None` when nobody takes spans.
fn tracing_of(kit: &Kit, settings: &Settings, place: (&str, bool)) -> Option<Tracing> {
    let spans = kit.sites.spans.clone()?;
    let counted = kit.metrics.node.trace_spans.clone();
    let settings = settings.tracing.clone();
    Some(Tracing::new(spans, settings, counted, place))
}

/// A lot and a feed for each partition; every hub begins where its partition stands now.
async fn open_feeds(
    store: &SharedStore,
    threads: &[Thread],
    rings: LogBounds,
) -> Result<(Vec<Lot>, Vec<Follow>, Positions), StartError> {
    // The last thread is the internal listener's.
    let workers = threads.len().saturating_sub(1);
    let mut positions: Positions = Positions::default();
    let mut lots = Vec::new();
    let mut feeds = Vec::new();
    for partition in store.partitions().iter() {
        let clock = store.clock(partition).await?;
        if let Some(position) = positions.get_mut(partition.index()) {
            *position = clock;
        }
        let feed = on(threads, partition.index() % workers.max(1), {
            let store = Arc::clone(store);
            async move { store.feed(partition) }
        })
        .await?;
        lots.push(Lot::new(
            PartitionLog::new(clock, rings),
            feed.handle.clone(),
        ));
        feeds.push((partition, clock, feed));
    }
    Ok((lots, feeds, positions))
}

/// What asks backends; `None` when there is nobody to ask.
fn client(settings: &Settings) -> Result<Option<Client>, StartError> {
    let is_needed = settings.hooks.urls.any() || !settings.key_sets.targets.is_empty();
    // Each hook is bounded by itself: slow answers of one must not keep the others waiting.
    let hooks = Hook::ALL.len() * settings.hooks.concurrency;
    let outbound = OutboundSettings {
        requests: settings.outbound.requests + hooks,
        ..settings.outbound.clone()
    };
    let client = is_needed.then(|| Client::new(&outbound));
    Ok(client.transpose()?)
}

fn origins(settings: &Settings) -> Result<Vec<OriginPattern>, StartError> {
    settings
        .server
        .allowed_origins
        .iter()
        .map(|text| text.parse().map_err(StartError::Origin))
        .collect()
}

/// How sessions of each dialect live.
fn manners(session: &SessionSettings, settings: &Settings) -> [SessionSettings; Format::COUNT] {
    Format::ALL
        .map(|format| manner::session_settings(session, &settings.room, &settings.chat, format))
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

fn session_settings(settings: &Settings) -> SessionSettings {
    let (session, limits) = (&settings.session, &settings.limits);
    let message_bytes = u32::try_from(limits.message_bytes).unwrap_or(u32::MAX);
    SessionSettings {
        heartbeat_interval_ms: millis(session.heartbeat_interval),
        resume_window_ms: millis(session.resume_window),
        connect_timeout_ms: millis(session.connect_timeout),
        token_rotation_ms: millis(session.token_rotation),
        expiry_grace_ms: millis(session.expiry_grace),
        keep_on_close: session.keep_on_close,
        topics_per_session: limits.topics_per_session,
        frames_per_second: limits.frames_per_second,
        frames_burst: limits.frames_burst,
        bytes_per_second: limits.bytes_per_second,
        bytes_burst: limits.bytes_per_second.max(message_bytes),
        publishes_in_flight: limits.publishes_in_flight,
        only_one_per_user: session.per_user == Some(1),
        ..SessionSettings::default()
    }
}
