//! The settings of simulated nodes, and of the store behind them.

use std::sync::Arc;
use std::time::Duration;

use sparkway_gateway::settings::{Access, Mode, Settings};
use sparkway_gateway::sizes::Sizes;
use sparkway_hub::LogBounds;
use sparkway_protocol::{NodeId, Partitions};
use sparkway_store::memory::{MemorySettings, MemoryStore};
use tokio::time::Instant;

use crate::plan::Plan;

/// The time at which every run begins: Unix milliseconds.
pub const BEGIN_MS: u64 = 1_800_000_000_000;

/// For how long a session can be resumed.
pub const RESUME_WINDOW: Duration = Duration::from_mins(1);

/// The store that all nodes of a run share.
#[must_use]
pub fn store(plan: &Plan) -> MemoryStore {
    let began = Instant::now();
    MemoryStore::new(MemorySettings {
        partitions: Partitions::new(plan.partitions).unwrap_or(Partitions::ONE),
        cluster_key: [7; 32],
        clock: Arc::new(move || {
            let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            BEGIN_MS.saturating_add(passed)
        }),
        ..MemorySettings::default()
    })
}

/// The settings of a node with this name.
#[must_use]
pub fn node(plan: &Plan, name: &str) -> Settings {
    let mut settings = Settings::default();
    settings.server.node_id = NodeId::parse(name).ok();
    settings.auth.mode = Mode::Off;
    settings.session.resume_window = RESUME_WINDOW;
    // Connections that say nothing are not what is looked for here.
    settings.session.heartbeat_interval = Duration::from_mins(5);
    settings.topics.publish = Access::Everyone;
    settings.topics.subscribe = Access::Everyone;
    settings.topics.presence = true;
    if let Some(kept) = plan.kept {
        settings.topics.history_entries = kept;
    }
    settings.limits.frames_per_second = 0;
    settings.limits.outbox_bytes = plan.outbox;
    settings
}

/// How much a node does at once.
#[must_use]
pub fn sizes(plan: &Plan) -> Sizes {
    Sizes {
        page: plan.page,
        page_min: 1,
        feed_turn: 8,
        repair_page: plan.page,
        repair_page_min: 1,
        repair_topics: 2,
        inlet: 4,
        resumes: 2,
        linger_ms: 300,
        linger_tick_ms: 100,
        rings: LogBounds {
            entries: plan.ring,
            ..LogBounds::default()
        },
    }
}
