//! `sparkway serve`: one node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use sparkway_api::{Api, Setting};
use sparkway_config::{Sources, load};
use sparkway_gateway::settings::{Settings, StoreKind, StoreSettings};
use sparkway_gateway::site::{Site, Sites};
use sparkway_gateway::{Node, StartError};
use sparkway_store::memory::{MemorySettings, MemoryStore};
use sparkway_store::redis::{RedisSettings, RedisStore};
use sparkway_store::{SharedStore, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{block_on, chat};
use crate::arguments::ConfigSources;
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::telemetry::{self, Exporter};

/// How long a store that does not answer is waited for at the start.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
/// How often the API keys are read again: a mounted secret changes without a signal.
const KEYS_REREAD: Duration = Duration::from_secs(5);
/// Pause between two attempts to reach it.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// How a node is run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway serve -c sparkway.toml\n  \
    sparkway serve --set store.url=redis://127.0.0.1 --set auth.mode=off")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigSources,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// The node cannot start, or ended by a failure.
pub(crate) fn run(args: &ServeArgs) -> Outcome {
    let sources = args.config.sources();
    let loaded = load(&sources).map_err(Failure::failed)?;
    telemetry::start(&loaded.settings.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut settings = loaded.settings;
    let configuration = loaded.values.into_iter().map(|shown| Setting {
        key: shown.key,
        value: shown.value,
        origin: shown.origin.to_string(),
    });
    let api = Arc::new(Api::new(&settings.api.keys, configuration.collect()));
    let exporter = Exporter::start(&mut settings.tracing)?;
    let sites = Sites {
        public: Vec::new(),
        internal: vec![Arc::clone(&api) as Arc<dyn Site>, Arc::new(Console)],
        chat: None,
        spans: exporter.as_ref().map(Exporter::spans),
    };
    let outcome = block_on(serve(settings, &sources, (&api, sites)));
    if let Some(exporter) = exporter {
        exporter.flush();
    }
    outcome
}

async fn serve(settings: Settings, sources: &Sources, (api, sites): (&Arc<Api>, Sites)) -> Outcome {
    let store = open_store(&settings).await?;
    let node = Box::pin(start(settings, store, sites)).await?;
    tracing::info!(
        node = %node.id(),
        public = %node.public_address(),
        internal = %node.internal_address(),
        "ready"
    );
    // Rereading never ends by itself.
    tokio::select! {
        outcome = until_signal(node) => outcome,
        () = reread_keys(api, sources) => Ok(Exit::Ok),
    }
}

/// Takes new API keys from the sources of the configuration again and again. What cannot be read
/// changes nothing; other settings need a new process.
async fn reread_keys(api: &Api, sources: &Sources) {
    let mut ticks = tokio::time::interval(KEYS_REREAD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_refused = false;
    loop {
        ticks.tick().await;
        let loaded = load(sources);
        if let Ok(loaded) = &loaded
            && api.replace_keys(&loaded.settings.api.keys)
        {
            tracing::info!(keys = loaded.settings.api.keys.len(), "API keys replaced");
        }
        if let Err(error) = &loaded
            && !was_refused
        {
            tracing::warn!(%error, "API keys not read again: the configuration has errors");
        }
        was_refused = loaded.is_err();
    }
}

async fn start(settings: Settings, store: SharedStore, sites: Sites) -> Result<Node, Failure> {
    let began = Instant::now();
    loop {
        match start_once(&settings, &store, sites.clone()).await {
            Ok(node) => return Ok(node),
            Err(StartError::Store(error @ StoreError::Unavailable(_)))
                if began.elapsed() < STORE_PATIENCE =>
            {
                tracing::warn!(%error, "waiting for the store");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}

async fn start_once(
    settings: &Settings,
    store: &SharedStore,
    mut sites: Sites,
) -> Result<Node, StartError> {
    chat::add(settings, store, &mut sites).await?;
    Node::start_with(settings.clone(), Arc::clone(store), 0, sites).await
}

/// Opens the store that the settings name, and waits for it if it is not there yet.
///
/// # Errors
/// It was laid out otherwise, or does not answer for a minute (exit code 3).
pub(crate) async fn open_store(settings: &Settings) -> Result<SharedStore, Failure> {
    // A repetition must be recognised for as long as the session that makes it can be resumed.
    let window = settings.session.resume_window * 2;
    if settings.store.kind() == Some(StoreKind::Memory) {
        let memory = MemorySettings {
            partitions: settings.store.layout(),
            idempotency_window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            ..MemorySettings::default()
        };
        return Ok(Arc::new(MemoryStore::new(memory)));
    }
    let redis = redis_settings(&settings.store, window)?;
    let began = Instant::now();
    loop {
        match RedisStore::connect(redis.clone()).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error @ StoreError::Unavailable(_)) if began.elapsed() < STORE_PATIENCE => {
                tracing::warn!(%error, "waiting for the store");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(error @ StoreError::Unavailable(_)) => {
                return Err(Failure::new(Exit::Unreachable, error));
            }
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}

fn redis_settings(settings: &StoreSettings, window: Duration) -> Result<RedisSettings, Failure> {
    let mut redis = RedisSettings::new(settings.url.expose_secret()).map_err(Failure::failed)?;
    redis.key_prefix = settings.key_prefix.clone().into();
    redis.partitions = settings.partitions;
    redis.replicas = settings.replicas;
    redis.ca_file.clone_from(&settings.ca_file);
    redis.idempotency_window = window;
    Ok(redis)
}

/// Serves until SIGTERM or SIGINT, or until an operator wants the node to go, then drains. A second
/// signal ends at once. SIGHUP makes the node look at its certificate files.
///
/// # Errors
/// A station of the node ended by itself: its clients must resume elsewhere.
async fn until_signal(mut node: Node) -> Outcome {
    let mut signals = Signals::new()?;
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        // Order: a failed node cannot drain, so it is looked at first.
        tokio::select! {
            biased;
            () = node.failed() => return Err(station_ended()),
            () = signals.next() => break,
            () = node.drain_wanted() => {
                tracing::info!("an operator wants the node to go");
                let mut draining = Box::pin(node.drain_or_stay());
                let mut told = 0;
                // A signal makes it final, a second one ends it.
                let kept = loop {
                    tokio::select! {
                        kept = &mut draining => break kept,
                        () = signals.next() => told += 1,
                    }
                    if told == 2 {
                        break None;
                    }
                };
                match kept {
                    None => return Ok(Exit::Ok),
                    Some(kept) => node = kept,
                }
                if told > 0 {
                    break;
                }
            }
            Some(()) = hangups.recv() => node.reload_certificate(),
        }
    }
    drain(vec![node], &mut signals).await;
    Ok(Exit::Ok)
}

/// Drains nodes, until a second signal at the latest.
pub(crate) async fn drain(nodes: Vec<Node>, signals: &mut Signals) {
    tracing::info!("draining; a second signal ends at once");
    tokio::select! {
        _ = join_all(nodes.into_iter().map(Node::drain)) => {}
        () = signals.next() => {}
    }
}

/// Clients would sit connected and deaf: the process ends.
pub(crate) fn station_ended() -> Failure {
    Failure::failed("a station of the node has ended; see the log")
}

/// The signals that end a process in good order.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
