//! What a backend brings to be checked.

use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::{Partition, Partitions};

use crate::{BoxFuture, Store};

/// One running store of its own for one check, and power over its time and its memory.
///
/// Ages and windows in the checks are 300 to 2,000 ms, so that a backend with real time can wait.
pub trait Fixture: Send + Sync {
    /// A handle as another node would hold it: own connections, same data. The first one and all
    /// later ones see the same store.
    fn store(&self) -> Arc<dyn Store>;

    /// How long a digest is remembered at least, in milliseconds: short (1,000 to 3,000) where
    /// time is real.
    fn idempotency_window_ms(&self) -> u64;

    /// At least `ms` milliseconds pass for the store.
    fn advance(&self, ms: u64) -> BoxFuture<'_, ()>;

    /// The store's time in Unix milliseconds; the machine's, unless the fixture has its own.
    fn now_ms(&self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(now.unwrap().as_millis()).unwrap()
    }

    /// Everything that the store holds now will survive [`Fixture::lose_since_save`].
    fn save(&self) -> BoxFuture<'_, ()>;

    /// The store stops and comes back with what it held at [`Fixture::save`]; everything written
    /// since is lost. Returns when every handle made by [`Fixture::store`] works again.
    fn lose_since_save(&self) -> BoxFuture<'_, ()>;
}

/// The partition that the checks mostly use: every layout has it.
pub(super) fn first(layout: Partitions) -> Partition {
    layout.iter().next().unwrap()
}

/// How long a check waits for something that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again until the answer is `Some`; fails the check when that takes too long.
pub(super) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let attempts = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, attempts).await;
    answer.unwrap_or_else(|_| panic!("waited in vain until {what}"))
}
