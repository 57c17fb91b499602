//! Three nodes over a store, with a line in front of and behind each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::process::{Process, free_port, is_ready, until};
use crate::proxy::Proxy;
use crate::store::{Store, Topology};

/// How many nodes.
pub(crate) const NODES: usize = 3;
/// How long a node may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(40);
/// How long a node that is told to leave may take: longer than everything that it waits for together
/// where the store does not answer and clients do not read.
const DRAINED_WITHIN: Duration = Duration::from_secs(25);

/// How much of what a node said before it fell is told.
const LAST_WORDS: usize = 4;

/// What every node is told.
const SETTINGS: &[(&str, &str)] = &[
    ("auth.mode", "off"),
    ("limits.frames_per_second", "0"),
    ("limits.outbox_bytes", "64KiB"),
    ("topics.history_entries", "200000"),
    ("topics.history_age", "2h"),
    ("namespaces.short.history_entries", "100"),
    ("drain.readiness_delay", "200ms"),
    ("drain.duration", "1500ms"),
    ("log.level", "info"),
];

/// A node and its lines.
pub(crate) struct Node {
    at: usize,
    life: u32,
    public: u16,
    internal: u16,
    store_url: String,
    directory: PathBuf,
    process: Option<Process>,
    /// Whether its process was ready once and was not told to end since.
    is_up: bool,
    /// How its processes ended by themselves.
    falls: Vec<String>,
}

impl Node {
    pub(crate) fn kill(&mut self) {
        self.note_fall();
        self.process = None;
    }

    /// Notes how the process ended, if it did so by itself.
    fn note_fall(&mut self) {
        let was_up = std::mem::replace(&mut self.is_up, false);
        let Some(process) = self.process.as_mut().filter(|_| was_up) else {
            return;
        };
        match process.ended() {
            Some(status) => {
                let last = process.log(LAST_WORDS).join(" | ");
                self.falls
                    .push(format!("node {} ended, {status}: {last}", self.at));
            }
            None => self.is_up = true,
        }
    }

    pub(crate) fn stop(&mut self, stop: bool) {
        if let Some(process) = &mut self.process {
            process.stop(stop);
        }
    }

    /// SIGTERM, and waits for its end. One that does not end well, or not in time, is noted.
    pub(crate) async fn drain(&mut self) {
        self.note_fall();
        self.is_up = false;
        if let Some(process) = &mut self.process {
            process.signal("TERM");
            let began = tokio::time::Instant::now();
            while process.ended().is_none() && began.elapsed() < DRAINED_WITHIN {
                sleep(Duration::from_millis(20)).await;
            }
            let how = match process.ended() {
                Some(status) if status.success() => None,
                Some(status) => Some(status.to_string()),
                None => Some(format!("and did not end within {DRAINED_WITHIN:?}")),
            };
            if let Some(how) = how {
                let last = process.log(LAST_WORDS).join(" | ");
                self.falls
                    .push(format!("node {} was drained, {how}: {last}", self.at));
            }
        }
        self.process = None;
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.as_mut()?.ended()
    }

    /// Starts it under a name of its own, and waits until it is ready; longer where the store is
    /// broken meanwhile.
    pub(crate) async fn start(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        let began = tokio::time::Instant::now();
        loop {
            self.spawn(cluster)?;
            let internal = self.internal;
            let process = self.process.as_mut();
            let Some(process) = process else { continue };
            while process.ended().is_none() && began.elapsed() < READY_WITHIN {
                if is_ready(internal).await {
                    self.is_up = true;
                    return Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
            if began.elapsed() >= READY_WITHIN {
                anyhow::bail!("node not ready: {:#?}", process.log(20));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn spawn(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        self.life += 1;
        self.kill();
        let own = [
            ("server.listen", format!("127.0.0.1:{}", self.public)),
            ("internal.listen", format!("127.0.0.1:{}", self.internal)),
            ("server.node_id", format!("node{}-{}", self.at, self.life)),
            ("store.url", self.store_url.clone()),
            ("store.partitions", cluster.partitions.to_string()),
            ("store.replicas", cluster.replicas.to_string()),
        ];
        let mut arguments = vec!["serve".to_owned()];
        let settings = SETTINGS
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in settings.chain(own) {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        let environment = &cluster.environment;
        let program = &cluster.binary;
        let process = Process::start(program, &arguments, &self.directory, environment)?;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) fn log(&self, lines: usize) -> Vec<String> {
        let process = self.process.as_ref();
        process
            .map(|process| process.log(lines))
            .unwrap_or_default()
    }
}

/// Everything that runs.
pub(crate) struct Cluster {
    pub(crate) store: Mutex<Store>,
    binary: PathBuf,
    environment: Vec<(String, String)>,
    partitions: usize,
    /// How many replicas confirm what is published as replicated: all, because any of them may be
    /// the one that takes over.
    replicas: u8,
    nodes: Vec<Arc<Mutex<Node>>>,
    client_lines: Vec<Proxy>,
    store_lines: Vec<Arc<Proxy>>,
    directory: std::sync::Mutex<Option<tempfile::TempDir>>,
}

impl Cluster {
    pub(crate) async fn start(
        topology: Topology,
        partitions: usize,
        binary: PathBuf,
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<Arc<Self>> {
        let directory = tempfile::tempdir()?;
        let store = Store::start(topology, directory.path()).await?;
        let first = store.servers.first().map_or(0, |server| server.port);
        let (mut nodes, mut client_lines, mut store_lines) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..NODES {
            let (public, internal) = (free_port(), free_port());
            let store_line = Arc::new(Proxy::to(first).await?);
            let own = directory.path().join(format!("node{at}"));
            std::fs::create_dir_all(&own)?;
            nodes.push(Arc::new(Mutex::new(Node {
                at,
                life: 0,
                public,
                internal,
                store_url: store.url(&store_line),
                directory: own,
                process: None,
                is_up: false,
                falls: Vec::new(),
            })));
            client_lines.push(Proxy::to(public).await?);
            store_lines.push(store_line);
        }
        if store.servers.len() > 1 {
            // Nodes are told of the servers' own lines.
            let lines = store.servers.iter().map(|server| Arc::clone(&server.line));
            store_lines = lines.collect();
        }
        let cluster = Arc::new(Self {
            store: Mutex::new(store),
            binary,
            environment,
            partitions,
            replicas: if topology == Topology::Sentinel { 2 } else { 1 },
            nodes,
            client_lines,
            store_lines,
            directory: std::sync::Mutex::new(Some(directory)),
        });
        for node in &cluster.nodes {
            node.lock().await.start(&cluster).await?;
        }
        Ok(cluster)
    }

    pub(crate) fn node(&self, at: usize) -> anyhow::Result<Arc<Mutex<Node>>> {
        let node = self.nodes.get(at % NODES);
        node.map(Arc::clone).context("three nodes")
    }

    pub(crate) fn client_line(&self, at: usize) -> anyhow::Result<&Proxy> {
        self.client_lines.get(at % NODES).context("three lines")
    }

    /// The line of a node to the one server; where there are several, that of a server to all.
    pub(crate) fn store_line(&self, at: usize) -> anyhow::Result<&Proxy> {
        let count = self.store_lines.len().max(1);
        let line = self.store_lines.get(at % count);
        line.map(AsRef::as_ref).context("a line")
    }

    /// Where clients connect.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.client_lines.iter().map(|line| line.port).collect()
    }

    /// Everything is as good as new.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        self.client_lines.iter().for_each(Proxy::heal);
        self.store_lines.iter().for_each(|line| line.heal());
        let store = self.store.lock().await;
        for server in &store.servers {
            let (key, limit) = crate::faults::OUTPUT_LIMIT;
            drop(server.ask(&["CONFIG", "SET", key, limit]).await);
        }
        until("the store is whole", Duration::from_secs(30), async || {
            store.is_whole().await
        })
        .await
    }

    /// Lets everything that was written stay after the run.
    pub(crate) fn keep(&self) -> Option<PathBuf> {
        let mut directory = self.directory.lock().ok()?;
        directory.take().map(tempfile::TempDir::keep)
    }

    /// How nodes ended by themselves.
    pub(crate) async fn falls(&self) -> Vec<String> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let mut node = node.lock().await;
            node.note_fall();
            all.append(&mut node.falls);
        }
        all
    }

    /// The end of every node's log.
    pub(crate) async fn logs(&self, lines: usize) -> Vec<String> {
        let mut all = Vec::new();
        for node in &self.nodes {
            let mut node = node.lock().await;
            let ended = node.ended();
            all.push(format!("-- node {}, ended: {ended:?}", node.at));
            all.extend(node.log(lines));
        }
        all
    }
}
