//! A number that others wait on: all are woken in the order in which they came, always the same.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Signal {
    value: AtomicU64,
    told: Notify,
}

impl Signal {
    /// The number now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    /// Raises it to this.
    pub fn raise(&self, value: u64) {
        self.value.fetch_max(value, Ordering::Relaxed);
        self.told.notify_waiters();
    }

    /// Raises it by one.
    pub fn next(&self) {
        self.raise(self.value() + 1);
    }

    /// Waits until it is another than this.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn differs(&self, from: u64) {
        loop {
            let told = self.told.notified();
            if self.value() != from {
                return;
            }
            told.await;
        }
    }
}
