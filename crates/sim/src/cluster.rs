//! The nodes of a run: started, killed, started again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sparkway_gateway::simulated::{SimulatedNode, Simulation};
use sparkway_metrics::Metrics;
use sparkway_store::memory::MemoryStore;
use sparkway_store::{SharedStore, Store as _};
use tokio::io::DuplexStream;
use tokio::time::{Duration, sleep};

use crate::lag::Lag;
use crate::plan::Plan;
use crate::settings::{self, BEGIN_MS};
use crate::store::Reach;
use crate::weather::Weather;

/// All nodes, over one store.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    metrics: Metrics,
    /// What is broken now.
    pub weather: Arc<Weather>,
    /// What all nodes share.
    pub store: Arc<MemoryStore>,
    places: Mutex<Vec<Place>>,
}

/// Where a node stands, or stood.
#[derive(Debug)]
struct Place {
    lag: Arc<Lag>,
    node: Option<SimulatedNode>,
    /// How often a node has been started here.
    lives: u32,
}

impl Cluster {
    /// A cluster without nodes.
    #[must_use]
    pub fn new(plan: &Plan, metrics: Metrics) -> Arc<Self> {
        let weather = Arc::new(Weather::new(plan.seed, plan.pace, plan.nodes));
        let place = |node| Place {
            lag: Arc::new(Lag::new(Arc::clone(&weather), node)),
            node: None,
            lives: 0,
        };
        Arc::new(Self {
            places: Mutex::new((0..plan.nodes).map(place).collect()),
            store: Arc::new(settings::store(plan)),
            plan: plan.clone(),
            metrics,
            weather,
        })
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a node where none is, and goes on trying while the store does not answer.
    ///
    /// # Cancel safety
    /// Dropped, no node is there.
    pub async fn start(&self, at: usize) {
        loop {
            let Some((lag, life)) = self.begin(at) else {
                return;
            };
            let settings = settings::node(&self.plan, &format!("n{at}-{life}"));
            let store: SharedStore = Arc::new(Reach::new(
                Arc::clone(&self.store),
                Arc::clone(&self.weather),
                at,
            ));
            let simulation = Simulation {
                unix_ms: BEGIN_MS.saturating_add(self.weather.now_ms()),
                workers: self.plan.workers,
                sizes: settings::sizes(&self.plan),
                metrics: self.metrics.clone(),
                pace: Arc::clone(&lag) as _,
            };
            if let Ok(node) = SimulatedNode::start(settings, store, simulation).await {
                if let Some(place) = self.places().get_mut(at) {
                    place.node = Some(node);
                }
                return;
            }
            lag.kill();
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn begin(&self, at: usize) -> Option<(Arc<Lag>, u32)> {
        let mut places = self.places();
        let place = places.get_mut(at)?;
        place.lives += 1;
        place.lag = Arc::new(Lag::new(Arc::clone(&self.weather), at));
        Some((Arc::clone(&place.lag), place.lives))
    }

    /// Kills a node; says whether there was one.
    pub fn kill(&self, at: usize) -> bool {
        let mut places = self.places();
        let Some(place) = places.get_mut(at) else {
            return false;
        };
        if place.node.take().is_none() {
            return false;
        }
        place.lag.kill();
        true
    }

    /// Connects to one of the nodes; `None` when that one is not there.
    #[must_use]
    pub fn connect(&self, at: usize, worker: usize) -> Option<DuplexStream> {
        let places = self.places();
        let node = places.get(at)?.node.as_ref()?;
        let (ours, theirs) = tokio::io::duplex(self.plan.pipe);
        node.connect(worker, theirs);
        Some(ours)
    }

    /// The store loses its newest entries.
    pub fn rewind(&self, entries: usize) {
        for partition in self.store.partitions().iter() {
            self.store.lose_newest(partition, entries);
        }
    }
}
