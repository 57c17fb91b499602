//! The embedded store keeps every promise of the trait, with one partition and with several.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sparkway_protocol::Partitions;
use sparkway_store::conformance::Fixture;
use sparkway_store::memory::{MemorySettings, MemoryStore, Saved};
use sparkway_store::{BoxFuture, Store};

const WINDOW_MS: u64 = 2000;

/// A store whose time moves only when it is told to.
struct Embedded {
    store: Arc<MemoryStore>,
    now_ms: Arc<AtomicU64>,
    saved: Mutex<Option<Saved>>,
}

impl Embedded {
    fn new(partitions: u8) -> Self {
        let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
        let time = Arc::clone(&now_ms);
        let store = MemoryStore::new(MemorySettings {
            partitions: Partitions::new(partitions).unwrap(),
            idempotency_window_ms: WINDOW_MS,
            clock: Arc::new(move || time.load(Ordering::Relaxed)),
            ..MemorySettings::default()
        });
        Self {
            store: Arc::new(store),
            now_ms,
            saved: Mutex::new(None),
        }
    }
}

impl Fixture for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn idempotency_window_ms(&self) -> u64 {
        WINDOW_MS
    }

    fn advance(&self, ms: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.now_ms.fetch_add(ms, Ordering::Relaxed);
        })
    }

    fn save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { *self.saved.lock().unwrap() = Some(self.store.save()) })
    }

    fn lose_since_save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let saved = self.saved.lock().unwrap();
            self.store.restart_from(saved.as_ref().unwrap());
        })
    }
}

mod one_partition {
    use super::Embedded;

    sparkway_store::conformance_suite!(Embedded::new(1));
}

mod four_partitions {
    use super::Embedded;

    sparkway_store::conformance_suite!(Embedded::new(4));
}
