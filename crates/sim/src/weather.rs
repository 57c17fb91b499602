//! What is broken now, and how slow everything is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;
use crate::plan::Pace;
use crate::signal::Signal;

/// The present of one run.
#[derive(Debug)]
pub struct Weather {
    /// All chances that come up while it runs.
    pub dice: Dice,
    pace: Pace,
    calm: AtomicBool,
    /// How long a record that is written again takes to the store, in milliseconds.
    restores: AtomicU64,
    began: Instant,
    nodes: Vec<Troubles>,
}

/// Until when what of a node is broken, in milliseconds of the run.
#[derive(Debug, Default)]
struct Troubles {
    stopped: AtomicU64,
    deaf: AtomicU64,
    /// How often its feeds lost their connection.
    cuts: Arc<Signal>,
    parted: AtomicU64,
    pushes_to_lose: AtomicU64,
}

impl Weather {
    /// Fair weather for so many nodes, from now on.
    #[must_use]
    pub fn new(seed: u64, pace: Pace, nodes: usize) -> Self {
        Self {
            dice: Dice::new(seed.rotate_left(32) ^ 0x5eed),
            pace,
            calm: AtomicBool::new(false),
            restores: AtomicU64::new(0),
            began: Instant::now(),
            nodes: (0..nodes).map(|_| Troubles::default()).collect(),
        }
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Milliseconds since the run began.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// From now on nothing fails and nothing is slow.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        for node in &self.nodes {
            node.stopped.store(0, Ordering::Relaxed);
            node.deaf.store(0, Ordering::Relaxed);
            node.parted.store(0, Ordering::Relaxed);
            node.pushes_to_lose.store(0, Ordering::Relaxed);
        }
    }

    fn chance(&self, per_mille: u32) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.dice.happens(per_mille)
    }

    fn maybe(&self, per_mille: u32) -> Option<Duration> {
        self.chance(per_mille)
            .then(|| Duration::from_millis(self.dice.of(1..self.pace.longest)))
    }

    /// How long a step of a task of this slowness (0, 1 or 2) is held up.
    #[must_use]
    pub fn hold(&self, node: usize, slowness: u32) -> Option<Duration> {
        let stopped = self.left(node, |troubles| &troubles.stopped);
        if stopped > 0 {
            return Some(Duration::from_millis(stopped));
        }
        self.maybe(self.pace.hold * slowness)
    }

    /// How long a call of the store takes one way.
    #[must_use]
    pub fn store_delay(&self) -> Option<Duration> {
        self.maybe(self.pace.store)
    }

    /// From now on records that are written again take so long to the store.
    pub fn slow_restores(&self, ms: u64) {
        self.restores.store(ms, Ordering::Relaxed);
    }

    /// How long one takes, in milliseconds.
    #[must_use]
    pub fn restore_ms(&self) -> u64 {
        self.restores.load(Ordering::Relaxed)
    }

    /// Whether a call fails. Draws even for a store that cannot be reached.
    #[must_use]
    pub fn store_fails(&self, node: usize) -> bool {
        self.chance(self.pace.fails) || self.left(node, |troubles| &troubles.parted) > 0
    }

    /// How long an announcement is on its way.
    #[must_use]
    pub fn feed_delay(&self) -> Option<Duration> {
        self.maybe(self.pace.feed)
    }

    /// How long a client does nothing.
    #[must_use]
    pub fn client_delay(&self) -> Option<Duration> {
        self.maybe(self.pace.client)
    }

    fn left(&self, node: usize, which: impl Fn(&Troubles) -> &AtomicU64) -> u64 {
        let until = self
            .nodes
            .get(node)
            .map_or(0, |troubles| which(troubles).load(Ordering::Relaxed));
        until.saturating_sub(self.now_ms())
    }

    fn until(&self, node: usize, ms: u64, which: impl Fn(&Troubles) -> &AtomicU64) {
        if let Some(troubles) = self.nodes.get(node) {
            which(troubles).fetch_max(self.now_ms() + ms, Ordering::Relaxed);
        }
    }

    /// A node stands still.
    pub fn stop(&self, node: usize, ms: u64) {
        self.until(node, ms, |troubles| &troubles.stopped);
    }

    /// A node's feeds have no connection.
    pub fn deafen(&self, node: usize, ms: u64) {
        self.until(node, ms, |troubles| &troubles.deaf);
        if let Some(troubles) = self.nodes.get(node) {
            troubles.cuts.next();
        }
    }

    /// How often a node's feeds have lost their connection.
    #[must_use]
    pub fn cuts(&self, node: usize) -> Arc<Signal> {
        let troubles = self.nodes.get(node);
        troubles
            .map(|troubles| Arc::clone(&troubles.cuts))
            .unwrap_or_default()
    }

    /// A node does not reach the store.
    pub fn part(&self, node: usize, ms: u64) {
        self.deafen(node, ms);
        self.until(node, ms, |troubles| &troubles.parted);
    }

    /// Milliseconds for which a node's feeds have no connection.
    #[must_use]
    pub fn deaf_ms(&self, node: usize) -> u64 {
        self.left(node, |troubles| &troubles.deaf)
    }

    /// A node's next announcement is lost.
    pub fn lose_push(&self, node: usize) {
        if let Some(troubles) = self.nodes.get(node) {
            troubles.pushes_to_lose.store(1, Ordering::Relaxed);
        }
    }

    /// Whether the announcement that comes now is lost.
    #[must_use]
    pub fn takes_push(&self, node: usize) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|troubles| troubles.pushes_to_lose.swap(0, Ordering::Relaxed) > 0)
    }
}
