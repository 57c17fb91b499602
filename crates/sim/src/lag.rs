//! How fast the tasks of a node go, and how all of them end at once.

use std::sync::{Arc, Mutex, PoisonError};

use sparkway_gateway::pace::{Hold, Pace};
use tokio::task::AbortHandle;

use crate::weather::Weather;

/// The pace of one node.
#[derive(Debug)]
pub struct Lag {
    weather: Arc<Weather>,
    node: usize,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Lag {
    /// The pace of a node in this weather.
    #[must_use]
    pub const fn new(weather: Arc<Weather>, node: usize) -> Self {
        Self {
            weather,
            node,
            tasks: Mutex::new(Vec::new()),
        }
    }

    /// Ends every task of the node where it stands.
    pub fn kill(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
    }
}

impl Pace for Lag {
    fn slowness(&self) -> u32 {
        match self.weather.dice.of(0..10) {
            0..6 => 0,
            6..9 => 1,
            _ => 3,
        }
    }

    fn hold(&self, slowness: u32) -> Option<Hold> {
        let long = self.weather.hold(self.node, slowness)?;
        Some(Box::pin(tokio::time::sleep(long)))
    }

    fn name(&self) -> [u8; 16] {
        let half = || self.weather.dice.of(0..u64::MAX);
        ((u128::from(half()) << 64) | u128::from(half())).to_be_bytes()
    }

    fn began(&self, task: AbortHandle) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() > 64 {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }
}
