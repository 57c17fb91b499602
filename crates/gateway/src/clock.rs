//! The one place that reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sparkway_session::Now;

/// A node's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// The present: monotonic milliseconds since the start (from 1 on), and Unix milliseconds.
    pub(crate) fn now(self) -> Now {
        Now {
            mono_ms: self.mono_ms(),
            unix_ms: unix_ms(),
        }
    }

    pub(crate) fn mono_ms(self) -> u64 {
        millis(self.started.elapsed()).saturating_add(1)
    }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
