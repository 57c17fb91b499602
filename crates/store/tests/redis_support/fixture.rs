//! Redis as a fixture of the conformance suite.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sparkway_store::conformance::Fixture;
use sparkway_store::redis::{RedisSettings, RedisStore};
use sparkway_store::{BoxFuture, Store};

use super::cluster::Cluster;
use super::rights;
use super::server::Server;

/// How long digests are remembered at least in these tests.
const WINDOW_MS: u64 = 2000;

/// Settings for tests: the defaults, with a short window.
pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings {
        idempotency_window: Duration::from_millis(WINDOW_MS),
        ..RedisSettings::new(url).unwrap()
    }
}

/// One server, laid out with one partition, for the user with few rights.
pub(crate) struct OneRedis {
    server: Mutex<Server>,
    stores: Mutex<Vec<Arc<RedisStore>>>,
    url: String,
}

impl OneRedis {
    pub(crate) fn start() -> Self {
        let rights = rights::options();
        let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
        let server = Server::start(&rights);
        Self {
            url: rights::as_user(&server.url()),
            server: Mutex::new(server),
            stores: Mutex::default(),
        }
    }
}

/// Connects on a runtime of its own thread: the fixture's `store` is no async function.
pub(crate) fn connect(settings: RedisSettings) -> Arc<RedisStore> {
    let runtime = tokio::runtime::Handle::current();
    let connected = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| runtime.block_on(RedisStore::connect(settings)));
        connecting.join().unwrap()
    });
    Arc::new(connected.unwrap())
}

impl Fixture for OneRedis {
    fn store(&self) -> Arc<dyn Store> {
        let store = connect(settings(&self.url));
        self.stores.lock().unwrap().push(Arc::clone(&store));
        store
    }

    fn idempotency_window_ms(&self) -> u64 {
        WINDOW_MS
    }

    fn advance(&self, ms: u64) -> BoxFuture<'_, ()> {
        // Time is real here: it is what is waited for.
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    fn save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let saved = self.server.lock().unwrap().cli(&["SAVE"]);
            assert_eq!(saved.trim(), "OK");
        })
    }

    fn lose_since_save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::task::block_in_place(|| {
                let mut server = self.server.lock().unwrap();
                server.kill();
                server.restart();
            });
            let stores = self.stores.lock().unwrap().clone();
            for store in stores {
                // Dropped connections are noticed by using them.
                while store.nodes().await.is_err() {}
            }
        })
    }
}

/// A cluster that other checks use at the same time: the key prefix makes it one of its own.
pub(crate) struct OnCluster {
    url: String,
    prefix: String,
    _cluster: Arc<Cluster>,
}

impl OnCluster {
    pub(crate) fn start() -> Self {
        let cluster = Cluster::shared();
        Self {
            url: rights::as_user(&cluster.url()),
            prefix: format!("sw{:016x}", rand::random::<u64>()),
            _cluster: cluster,
        }
    }
}

impl Fixture for OnCluster {
    fn store(&self) -> Arc<dyn Store> {
        connect(RedisSettings {
            key_prefix: self.prefix.as_str().into(),
            ..settings(&self.url)
        })
    }

    fn idempotency_window_ms(&self) -> u64 {
        WINDOW_MS
    }

    fn advance(&self, ms: u64) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    fn save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { panic!("a shared cluster cannot be stopped: use OwnCluster") })
    }

    fn lose_since_save(&self) -> BoxFuture<'_, ()> {
        self.save()
    }
}

/// A cluster for one check alone.
pub(crate) struct OwnCluster {
    cluster: Mutex<Cluster>,
    stores: Mutex<Vec<Arc<RedisStore>>>,
    url: String,
}

impl OwnCluster {
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(3, 0);
        Self {
            url: rights::as_user(&cluster.url()),
            cluster: Mutex::new(cluster),
            stores: Mutex::default(),
        }
    }
}

impl Fixture for OwnCluster {
    fn store(&self) -> Arc<dyn Store> {
        let store = connect(settings(&self.url));
        self.stores.lock().unwrap().push(Arc::clone(&store));
        store
    }

    fn idempotency_window_ms(&self) -> u64 {
        WINDOW_MS
    }

    fn advance(&self, ms: u64) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(ms)))
    }

    fn save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for node in &self.cluster.lock().unwrap().nodes {
                assert_eq!(node.cli(&["SAVE"]).trim(), "OK");
            }
        })
    }

    fn lose_since_save(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::task::block_in_place(|| self.cluster.lock().unwrap().crash());
            let stores = self.stores.lock().unwrap().clone();
            for store in stores {
                for partition in store.partitions().iter() {
                    while store.clock(partition).await.is_err() {}
                }
            }
        })
    }
}
