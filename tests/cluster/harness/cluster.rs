//! Some nodes over one store.

use sparkway_client::Encoding;

use super::node::Process;
use super::redis::Redis;

/// Both encodings of Spark.
pub(crate) const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::MsgPack];

/// Which nodes share which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One node with the embedded store: both URLs lead to it.
    Memory,
    /// Two nodes over one Redis.
    Redis,
    /// Two nodes in one process over the embedded store. Takes no settings.
    Dev,
}

impl Layout {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Redis, Self::Dev];
}

/// Nodes and their store. They end with the handle.
pub(crate) struct Cluster {
    pub(crate) processes: Vec<Process>,
    pub(crate) redis: Option<Redis>,
    urls: Vec<String>,
}

/// Settings of every node that a test says nothing else about.
const USUAL: &[(&str, &str)] = &[
    ("auth.mode", "off"),
    ("limits.frames_per_second", "0"),
    ("topics.presence", "true"),
];

impl Cluster {
    /// Starts nodes that share these settings.
    pub(crate) async fn start(layout: Layout, settings: &[(&str, &str)]) -> Self {
        match layout {
            Layout::Memory => Self::memory(settings).await,
            Layout::Redis => Self::redis(settings).await,
            Layout::Dev => Self::dev().await,
        }
    }

    /// One node with the embedded store.
    pub(crate) async fn memory(settings: &[(&str, &str)]) -> Self {
        let node = Process::serve("node-a", &[USUAL, settings].concat()).await;
        let urls = vec![node.url(0), node.url(0)];
        Self {
            processes: vec![node],
            redis: None,
            urls,
        }
    }

    /// Two nodes over one Redis.
    pub(crate) async fn redis(settings: &[(&str, &str)]) -> Self {
        Self::with_redis(Redis::start().await, settings, settings).await
    }

    /// Two nodes over one Redis, each with settings of its own.
    pub(crate) async fn with_redis(
        redis: Redis,
        first: &[(&str, &str)],
        second: &[(&str, &str)],
    ) -> Self {
        let url = redis.url();
        let store = [("store.url", url.as_str())];
        let (first, second) = (
            [USUAL, &store, first].concat(),
            [USUAL, &store, second].concat(),
        );
        let (first, second) = tokio::join!(
            Process::serve("node-a", &first),
            Process::serve("node-b", &second)
        );
        let urls = vec![first.url(0), second.url(0)];
        Self {
            processes: vec![first, second],
            redis: Some(redis),
            urls,
        }
    }

    /// Three nodes over one Redis.
    pub(crate) async fn three(settings: &[(&str, &str)]) -> Self {
        let redis = Redis::start().await;
        let mut cluster = Self::with_redis(redis, settings, settings).await;
        let url = cluster.redis.as_ref().expect("it was given").url();
        let all = [USUAL, &[("store.url", url.as_str())], settings].concat();
        let third = Process::serve("node-c", &all).await;
        cluster.urls.push(third.url(0));
        cluster.processes.push(third);
        cluster
    }

    /// Two nodes in one process over the embedded store.
    pub(crate) async fn dev() -> Self {
        let process = Process::dev().await;
        let urls = vec![process.url(0), process.url(1)];
        Self {
            processes: vec![process],
            redis: None,
            urls,
        }
    }

    /// Where clients of the first node connect.
    pub(crate) fn first(&self) -> &str {
        &self.urls[0]
    }

    /// Where clients of the second node connect; of the first one where it is alone.
    pub(crate) fn second(&self) -> &str {
        &self.urls[1]
    }

    /// Both, beginning with the one for client number `turn`.
    pub(crate) fn urls_for(&self, turn: usize) -> Vec<String> {
        let mut urls = self.urls.clone();
        let count = urls.len();
        urls.rotate_left(turn % count);
        urls
    }

    /// Public port of the first node.
    pub(crate) fn port(&self) -> u16 {
        self.processes[0].public[0]
    }
}

/// Where and how a check of [`everywhere`](crate::everywhere) runs.
pub(crate) struct Place<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) layout: Layout,
    pub(crate) encoding: Encoding,
}

impl Place<'_> {
    pub(crate) fn first(&self) -> &str {
        self.cluster.first()
    }

    pub(crate) fn second(&self) -> &str {
        self.cluster.second()
    }

    /// A topic that no other check uses.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{name}:{:?}", self.encoding)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- failed on {:?} in {:?}", self.layout, self.encoding);
        }
    }
}

/// Tests that run on one node with the embedded store, on two nodes with Redis and in
/// `sparkway dev`, in both encodings each.
#[macro_export]
macro_rules! everywhere {
    ($($(#[$doc:meta])* async fn $name:ident($place:ident: &Place<'_>) $body:block)*) => {$(
        $(#[$doc])*
        #[tokio::test]
        async fn $name() {
            async fn check($place: &$crate::harness::cluster::Place<'_>) $body
            for layout in $crate::harness::cluster::Layout::ALL {
                let cluster = $crate::harness::cluster::Cluster::start(layout, &[]).await;
                for encoding in $crate::harness::cluster::ENCODINGS {
                    let place =
                        $crate::harness::cluster::Place { cluster: &cluster, layout, encoding };
                    Box::pin(check(&place)).await;
                }
            }
        }
    )*};
}
