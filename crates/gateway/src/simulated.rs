//! A whole node in the thread of whoever calls: its stations, tasks and connections are the real
//! ones; only the sockets, the clock and the pace are the caller's. For `crates/sim`.

use std::sync::Arc;

use sparkway_auth::Mode;
use sparkway_metrics::Metrics;
use sparkway_protocol::{Format, NodeId};
use sparkway_socket::Stream;
use sparkway_store::SharedStore;
use tokio::io::DuplexStream;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::guests::Place;
use crate::lease;
use crate::node::StartError;
use crate::pace::Pace;
use crate::parts::{Kit, Parts};
use crate::routes::Accepted;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::site::Sites;
use crate::sizes::Sizes;
use crate::threads::Thread;
use crate::worker::Worker;

/// What a simulation decides for a node.
#[derive(Debug)]
pub struct Simulation {
    /// The present, in Unix milliseconds; from here on it follows the runtime's time.
    pub unix_ms: u64,
    /// Hubs, 1 or more: in a real node each has a thread of its own.
    pub workers: usize,
    /// How much is done at once.
    pub sizes: Sizes,
    /// Counted into by all nodes: making one takes as long as a whole schedule.
    pub metrics: Metrics,
    /// When its tasks go on, and how they are ended when the node is killed.
    pub pace: Arc<dyn Pace>,
}

/// A node that runs on the caller's runtime, for as long as its [`Pace`] lets its tasks live.
#[derive(Debug)]
pub struct SimulatedNode {
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
}

impl SimulatedNode {
    /// Starts a node without listeners.
    ///
    /// # Errors
    /// [`StartError`], as for a real node.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, what was begun goes on until the pace ends it.
    pub async fn start(
        settings: Settings,
        store: SharedStore,
        simulation: Simulation,
    ) -> Result<Self, StartError> {
        let kit = Kit {
            sites: Sites::default(),
            clock: Clock::simulated(simulation.unix_ms),
            sizes: simulation.sizes,
            metrics: simulation.metrics,
            pace: Some(simulation.pace),
        };
        Box::pin(Self::begin(settings, store, kit, simulation.workers)).await
    }

    /// Starts a node with one hub whose tasks go as the runtime likes: for those who count what
    /// its steps cost.
    ///
    /// # Errors
    /// [`StartError`], as for a real node.
    ///
    /// # Cancel safety
    /// As [`Self::start`], except that only the end of the runtime ends what was begun.
    pub async fn unpaced(settings: Settings, store: SharedStore) -> Result<Self, StartError> {
        let kit = Kit::with(Sites::default(), Metrics::new());
        Box::pin(Self::begin(settings, store, kit, 1)).await
    }

    async fn begin(
        settings: Settings,
        store: SharedStore,
        kit: Kit,
        workers: usize,
    ) -> Result<Self, StartError> {
        let threads: Vec<Thread> = (0..=workers)
            .map(|_| Thread::this_one(kit.pace.clone()))
            .collect();
        let (shared, parts) = Box::pin(Parts::gather(settings, store, &threads, kit)).await?;
        lease::take(&shared).await?;
        let workers = parts.run(&shared, &threads);
        if let Some(first) = threads.first() {
            first.runtime.spawn(lease::renew(Arc::clone(&shared)));
            first.runtime.spawn(lease::sweep(Arc::clone(&shared)));
        }
        Ok(Self { shared, workers })
    }

    /// The node's name in the cluster.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.shared.id
    }

    /// Serves a connection whose upgrade is done: native dialect, JSON, no credential asked for.
    pub fn connect(&self, worker: usize, stream: DuplexStream) {
        let Some(worker) = self.workers.get(worker % self.workers.len().max(1)) else {
            return;
        };
        let accepted = Accepted {
            format: Format::SparkJson,
            credential: None,
            mode: Mode::Off,
            room: None,
            shown: None,
            place: Place::uncounted(),
            open: self.shared.count_connection(),
            deflate: None,
            trace: None,
        };
        let mut connection = Connection::new(worker, Stream::Memory(stream), &[], accepted);
        let open = self.shared.count_connection();
        self.shared.tasks.spawn(async move {
            connection.run().await;
            drop(open);
        });
    }
}
