//! Brings the gauges up to date that nobody counts on the way.
//!
//! Looking through all sessions and topics takes milliseconds, so it is done on the internal
//! listener's thread, which no client waits for.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sparkway_metrics::{NodeState, SessionState, SubscribeResult};
use tokio::runtime::RuntimeMetrics;

use crate::shared::Shared;

/// Between two looks, at the least.
const LOOK: Duration = Duration::from_secs(2);
/// The same at the most: as often as metrics are usually asked for.
const LOOK_MAX: Duration = Duration::from_secs(15);
/// In between, a look pauses for so many times what it took, and beyond 15 ms for less: with many
/// thousands of connections looking at each would cost more than serving them while they are idle.
const PAUSE: u32 = 1000;
/// So many looks in a row that would take long leave out the sessions, where nothing was queued, fanned
/// out or joined meanwhile, and as many sessions are open. What else may change, topics that are left,
/// is seen a minute later at the most.
const RESTS: u32 = 3;
/// Where the kernel says how much memory the process may take: cgroups of version 2, then 1.
const MEMORY_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
/// What version 1 says for "no limit" is somewhere above this.
const NO_LIMIT: u64 = 1 << 60;

/// What is remembered from one look to the next.
pub(crate) struct Gauges {
    shared: Arc<Shared>,
    /// Those of the workers, and that of the internal listener as the last one.
    runtimes: Vec<RuntimeMetrics>,
    /// Seconds that each has been busy.
    busy: Vec<f64>,
    looked: Instant,
    census: Census,
    /// What was going on when it was taken, how long the look took, and looks without one since.
    moved: Moved,
    took: Duration,
    rested: u32,
    evicted: u64,
    memory_limit: Option<u64>,
}

/// Where nothing of this changes, hardly anything of the sessions does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    sessions: usize,
    fanned_out: u64,
    subscribed: u64,
}

/// What the sessions of this node hold at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    sessions: u64,
    queued_bytes: usize,
    queued_messages: usize,
}

impl Gauges {
    pub(crate) fn new(shared: &Arc<Shared>, runtimes: Vec<RuntimeMetrics>) -> Self {
        let threads = i64::try_from(runtimes.len()).unwrap_or(i64::MAX);
        shared.metrics.node.tokio_workers.set(threads);
        Self {
            shared: Arc::clone(shared),
            busy: vec![0.0; runtimes.len()],
            runtimes,
            looked: Instant::now(),
            census: Census::default(),
            moved: Moved::default(),
            took: Duration::ZERO,
            rested: 0,
            evicted: 0,
            memory_limit: memory_limit(),
        }
    }

    /// Looks for as long as the node lives.
    pub(crate) async fn watch(mut self) {
        loop {
            self.look();
            let pause = self.took.saturating_mul(PAUSE);
            tokio::time::sleep(pause.clamp(LOOK, LOOK_MAX)).await;
        }
    }

    fn look(&mut self) {
        let begun = Instant::now();
        let rests = self.rests();
        if !rests {
            self.census = self.sessions();
        }
        self.topics();
        let busiest = self.threads();
        let ratio = self.load(&self.census).max(busiest);
        self.shared.metrics.node.load_ratio.set(ratio);
        if !rests {
            self.took = begun.elapsed();
        }
    }

    /// Whether the sessions need no look now.
    fn rests(&mut self) -> bool {
        let metrics = &self.shared.metrics;
        let moved = Moved {
            sessions: self.shared.registry.len(),
            fanned_out: metrics.hub.fanout_size.get_sample_count(),
            subscribed: metrics.session.subscribes.at(SubscribeResult::Ok).get(),
        };
        let is_long = self.took.saturating_mul(PAUSE) >= LOOK_MAX;
        let is_quiet = self.census.queued_bytes == 0 && moved == self.moved;
        let rests = is_long && is_quiet && self.rested < RESTS;
        self.rested = if rests { self.rested + 1 } else { 0 };
        self.moved = moved;
        rests
    }

    fn sessions(&self) -> Census {
        let metrics = &self.shared.metrics;
        let slots = &metrics.namespaces;
        let mut census = Census::default();
        let mut subscriptions: HashMap<usize, i64> = HashMap::new();
        let mut members: HashMap<usize, i64> = HashMap::new();
        for attached in self.shared.registry.all() {
            census.sessions += 1;
            let (bytes, messages) = attached.seat.outbox.held();
            census.queued_bytes += bytes;
            census.queued_messages += messages;
            for sub in attached.subs().iter() {
                let slot = slots.slot(sub.topic.namespace());
                *subscriptions.entry(slot).or_default() += 1;
                if self.shared.has_presence(&sub.topic) {
                    *members.entry(slot).or_default() += 1;
                }
            }
        }
        let attached = metrics.session.sessions.at(SessionState::Attached);
        attached.set(i64::try_from(census.sessions).unwrap_or(i64::MAX));
        metrics
            .socket
            .send_queue_bytes
            .set(whole(census.queued_bytes));
        let messages = &metrics.socket.send_queue_messages;
        messages.set(whole(census.queued_messages));
        metrics.hub.subscriptions.set_all(&subscriptions);
        metrics.presence.members.set_all(&members);
        census
    }

    fn topics(&mut self) {
        let metrics = &self.shared.metrics;
        let (mut bytes, mut entries, mut evicted) = (0, 0, 0);
        let mut topics: HashMap<usize, i64> = HashMap::new();
        for lot in &self.shared.lots {
            let log = lot.log();
            bytes += log.bytes();
            evicted += log.evicted();
            for (topic, held) in log.rings() {
                // The canary is nobody's topic.
                if lot
                    .canary
                    .get()
                    .is_some_and(|canary| canary.topic == *topic)
                {
                    continue;
                }
                entries += held;
                let slot = metrics.namespaces.slot(topic.namespace());
                *topics.entry(slot).or_default() += 1;
            }
        }
        metrics.hub.topics.set_all(&topics);
        metrics.topic.ring_bytes.set(whole(bytes));
        metrics.topic.ring_entries.set(whole(entries));
        let more = evicted.saturating_sub(self.evicted);
        metrics.topic.ring_evictions.inc_by(more);
        self.evicted = evicted;
    }

    /// The busy share of the busiest worker since the last look.
    fn threads(&mut self) -> f64 {
        let metrics = &self.shared.metrics.node;
        let since = self.looked.elapsed().as_secs_f64().max(0.001);
        self.looked = Instant::now();
        let workers = self.runtimes.len().saturating_sub(1);
        let mut busiest = 0.0_f64;
        for (at, (runtime, busy)) in self.runtimes.iter().zip(&mut self.busy).enumerate() {
            let place = if at == workers { usize::MAX } else { at };
            let tasks = metrics.tokio_alive_tasks.of(place);
            tasks.set(whole(runtime.num_alive_tasks()));
            let depth = metrics.tokio_global_queue_depth.of(place);
            depth.set(whole(runtime.global_queue_depth()));
            let now = runtime.worker_total_busy_duration(0).as_secs_f64();
            let more = (now - *busy).max(0.0);
            metrics.tokio_worker_busy.of(place).inc_by(more);
            *busy = now;
            if at < workers {
                busiest = busiest.max(more / since);
            }
        }
        busiest.min(1.0)
    }

    /// How full the node is by what can be counted: connections, memory, outboxes.
    fn load(&self, census: &Census) -> f64 {
        let limits = &self.shared.settings.limits;
        let part = |of: f64, limit: f64| if limit > 0.0 { of / limit } else { 0.0 };
        let connections = self.shared.guests.connections_max.map_or(0.0, |limit| {
            part(self.shared.connections() as f64, f64::from(limit))
        });
        let memory = self
            .memory_limit
            .zip(resident())
            .map_or(0.0, |(limit, used)| part(used as f64, limit as f64));
        let room = census.sessions as f64 * limits.outbox_bytes as f64;
        let outboxes = part(census.queued_bytes as f64, room);
        connections.max(memory).max(outboxes)
    }
}

impl Shared {
    /// What the store knows: the cluster's nodes, and the time.
    pub(crate) async fn ask_store(&self) {
        let metrics = &self.metrics;
        let silence = self.silence_ms() as f64 / 1000.0;
        metrics.store.bus_silence.set(silence);
        if let Ok(nodes) = self.store.nodes().await {
            let draining = nodes.iter().filter(|node| node.draining).count();
            let gauges = &metrics.node.cluster_nodes;
            gauges.at(NodeState::Draining).set(whole(draining));
            gauges
                .at(NodeState::Ready)
                .set(whole(nodes.len() - draining));
        }
        for partition in self.layout.iter() {
            if let Ok(offset) = self.store.clock_offset(partition).await {
                metrics.store.clock_offset.of(partition.index()).set(offset);
            }
        }
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes that the process may take; `None` without a limit of its own.
fn memory_limit() -> Option<u64> {
    MEMORY_LIMITS
        .iter()
        .filter_map(|path| std::fs::read_to_string(Path::new(path)).ok())
        .find_map(|text| text.trim().parse().ok())
        .filter(|&limit| limit < NO_LIMIT)
}

/// Bytes of the process in RAM.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
