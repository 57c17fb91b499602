//! How an embedded store is laid out.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sparkway_protocol::Partitions;

/// Tells the Unix time in milliseconds. It may jump; ids rise all the same.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How an embedded store is laid out.
#[derive(Clone)]
pub struct MemorySettings {
    /// Independent total orders (1 to 16), one by default: more of them share the work of one
    /// lock, and clients then need one id per partition to resume exactly.
    pub partitions: Partitions,
    /// Milliseconds for which a digest is remembered at least (default 240,000: twice the default
    /// resume window). It is kept for at most twice as long.
    pub idempotency_window_ms: u64,
    /// Signs heartbeat tokens: random by default, so that no token outlives the store.
    pub cluster_key: [u8; 32],
    /// The time, by default the system's.
    pub clock: Clock,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            partitions: Partitions::ONE,
            idempotency_window_ms: 240_000,
            cluster_key: rand::random(),
            clock: Arc::new(system_ms),
        }
    }
}

impl fmt::Debug for MemorySettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemorySettings")
            .field("partitions", &self.partitions)
            .field("idempotency_window_ms", &self.idempotency_window_ms)
            .finish_non_exhaustive()
    }
}

fn system_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
