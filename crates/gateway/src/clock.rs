//! The one place that reads the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sparkway_session::Now;
use tokio::time::Instant;

/// A node's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The runtime's time: a simulation can let it pass as it likes.
    started: Instant,
    /// Unix milliseconds at the start, where they follow the runtime's time.
    began_ms: Option<u64>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            began_ms: None,
        }
    }

    /// A clock that follows the runtime's time alone: `unix_ms` now.
    pub(crate) fn simulated(unix_ms: u64) -> Self {
        Self {
            began_ms: Some(unix_ms),
            ..Self::start()
        }
    }

    /// The present: monotonic milliseconds since the start (from 1 on), and Unix milliseconds.
    pub(crate) fn now(self) -> Now {
        Now {
            mono_ms: self.mono_ms(),
            unix_ms: self.unix_ms(),
        }
    }

    pub(crate) fn unix_ms(self) -> u64 {
        match self.began_ms {
            None => system_ms(),
            Some(began_ms) => began_ms.saturating_add(millis(self.started.elapsed())),
        }
    }

    pub(crate) fn mono_ms(self) -> u64 {
        millis(self.started.elapsed()).saturating_add(1)
    }
}

fn system_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
