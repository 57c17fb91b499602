//! `sparkway serve`: one node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::future::{join_all, select_all};
use secrecy::ExposeSecret as _;
use sparkway_config::load;
use sparkway_gateway::settings::{Settings, StoreKind, StoreSettings};
use sparkway_gateway::{Node, StartError};
use sparkway_store::memory::{MemorySettings, MemoryStore};
use sparkway_store::redis::{RedisSettings, RedisStore};
use sparkway_store::{SharedStore, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::block_on;
use crate::arguments::ConfigSources;
use crate::exit::{Exit, Failure, Outcome};
use crate::telemetry;

/// How long a store that does not answer is waited for at the start.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
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
    let loaded = load(&args.config.sources()).map_err(Failure::failed)?;
    telemetry::start(&loaded.settings.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    block_on(serve(loaded.settings))
}

async fn serve(settings: Settings) -> Outcome {
    let store = open_store(&settings).await?;
    let node = start(settings, store).await?;
    tracing::info!(
        node = %node.id(),
        public = %node.public_address(),
        internal = %node.internal_address(),
        "ready"
    );
    until_signal(vec![node]).await
}

async fn start(settings: Settings, store: SharedStore) -> Result<Node, Failure> {
    let began = Instant::now();
    loop {
        match Node::start(settings.clone(), Arc::clone(&store), 0).await {
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

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends at once.
///
/// # Errors
/// A station of a node ended by itself: its clients must resume elsewhere.
pub(crate) async fn until_signal(nodes: Vec<Node>) -> Outcome {
    let mut signals = Signals::new()?;
    let failed = select_all(nodes.iter().map(|node| Box::pin(node.failed())));
    // Order: a failed node cannot drain, so it is looked at first.
    tokio::select! {
        biased;
        _ = failed => return Err(Failure::failed("a station of the node has ended; see the log")),
        () = signals.next() => {}
    }
    tracing::info!("draining; a second signal ends at once");
    tokio::select! {
        _ = join_all(nodes.into_iter().map(Node::drain)) => {}
        () = signals.next() => {}
    }
    Ok(Exit::Ok)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
