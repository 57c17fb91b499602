//! The store's servers, each behind a line that can be broken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::process::{Process, free_port, until};
use crate::proxy::Proxy;
use crate::resp;

/// How the store is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One Redis that appends to a file, synced every second.
    Redis,
    /// One Redis that keeps nothing over a restart.
    Forgetful,
    /// A master, two replicas and three sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

/// A server and its line.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) line: Arc<Proxy>,
    pub(crate) directory: PathBuf,
    pub(crate) process: Option<Process>,
    arguments: Vec<String>,
    program: &'static str,
}

impl Server {
    /// Prepares a server in a directory of its own; it does not run yet.
    async fn prepare(root: &Path, name: &str, program: &'static str) -> anyhow::Result<Self> {
        let directory = root.join(name);
        std::fs::create_dir_all(&directory)?;
        let port = free_port();
        Ok(Self {
            port,
            line: Arc::new(Proxy::to(port).await?),
            directory,
            process: None,
            arguments: Vec::new(),
            program,
        })
    }

    fn argue(&mut self, more: &[&str]) {
        self.arguments
            .extend(more.iter().map(|&text| text.to_owned()));
    }

    /// Starts it, or starts it again, and waits until it answers.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        self.process = None;
        let program = Path::new(self.program);
        self.process = Some(Process::start(
            program,
            &self.arguments,
            &self.directory,
            &[],
        )?);
        let port = self.port;
        until("a server answers", Duration::from_secs(15), async || {
            resp::ask(port, &["PING"]).await.is_ok()
        })
        .await
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn stop(&mut self, stop: bool) {
        if let Some(process) = &mut self.process {
            process.stop(stop);
        }
    }

    pub(crate) async fn ask(&self, words: &[&str]) -> anyhow::Result<resp::Value> {
        resp::ask(self.port, words).await
    }
}

/// All servers of one store.
pub(crate) struct Store {
    pub(crate) topology: Topology,
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

impl Store {
    pub(crate) async fn start(topology: Topology, root: &Path) -> anyhow::Result<Self> {
        match topology {
            Topology::Redis | Topology::Forgetful => Self::single(topology, root).await,
            Topology::Sentinel => Self::sentinel(root).await,
            Topology::Cluster => Self::cluster(root).await,
        }
    }

    async fn single(topology: Topology, root: &Path) -> anyhow::Result<Self> {
        let mut server = plain(root, "redis").await?;
        if topology == Topology::Redis {
            server.argue(&["--appendonly", "yes", "--appendfsync", "everysec"]);
        }
        server.start().await?;
        Ok(Self {
            topology,
            servers: vec![server],
            sentinels: Vec::new(),
        })
    }

    async fn sentinel(root: &Path) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for at in 0..3 {
            let mut server = plain(root, &format!("redis{at}")).await?;
            let announced = server.line.port.to_string();
            server.argue(&["--appendonly", "yes", "--appendfsync", "everysec"]);
            server.argue(&["--replica-announce-ip", "127.0.0.1"]);
            server.argue(&["--replica-announce-port", &announced]);
            // A master that lost its replicas stops to accept what it could not hand on.
            server.argue(&[
                "--min-replicas-to-write",
                "1",
                "--min-replicas-max-lag",
                "3",
            ]);
            server.argue(&["--repl-diskless-sync-delay", "0", "--repl-timeout", "5"]);
            servers.push(server);
        }
        let master = servers.first().map_or(0, |server| server.line.port);
        for (at, server) in servers.iter_mut().enumerate() {
            if at > 0 {
                server.argue(&["--replicaof", "127.0.0.1", &master.to_string()]);
            }
            server.start().await?;
        }
        let mut sentinels = Vec::new();
        for at in 0..3 {
            let mut sentinel =
                Server::prepare(root, &format!("sentinel{at}"), "redis-sentinel").await?;
            let text = format!(
                "port {}\nbind 127.0.0.1\nsentinel monitor chaos 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds chaos 1500\n\
                 sentinel failover-timeout chaos 6000\n",
                sentinel.port
            );
            std::fs::write(sentinel.directory.join("sentinel.conf"), text)?;
            sentinel.argue(&["sentinel.conf"]);
            sentinel.start().await?;
            sentinels.push(sentinel);
        }
        for sentinel in &sentinels {
            until(
                "sentinels know each other",
                Duration::from_secs(20),
                async || {
                    let said = sentinel.ask(&["SENTINEL", "MASTER", "chaos"]).await;
                    let said = said.map(|said| said.texts()).unwrap_or_default();
                    let field = |name: &str| {
                        let at = said.iter().position(|word| word == name)?;
                        said.get(at + 1).cloned()
                    };
                    field("num-other-sentinels").as_deref() == Some("2")
                        && field("num-slaves").as_deref() == Some("2")
                },
            )
            .await?;
        }
        Ok(Self {
            topology: Topology::Sentinel,
            servers,
            sentinels,
        })
    }

    async fn cluster(root: &Path) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for at in 0..6 {
            let mut server = plain(root, &format!("redis{at}")).await?;
            let announced = server.line.port.to_string();
            let bus = (server.port + 10_000).to_string();
            server.argue(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]);
            server.argue(&["--appendonly", "yes", "--appendfsync", "everysec"]);
            server.argue(&[
                "--min-replicas-to-write",
                "1",
                "--min-replicas-max-lag",
                "3",
            ]);
            server.argue(&["--cluster-announce-ip", "127.0.0.1"]);
            server.argue(&["--cluster-announce-port", &announced]);
            server.argue(&["--cluster-announce-bus-port", &bus]);
            server.argue(&["--cluster-require-full-coverage", "no"]);
            server.argue(&["--repl-diskless-sync-delay", "0", "--repl-timeout", "5"]);
            server.start().await?;
            servers.push(server);
        }
        join(&servers).await?;
        Ok(Self {
            topology: Topology::Cluster,
            servers,
            sentinels: Vec::new(),
        })
    }

    /// What a node is told, through these lines.
    pub(crate) fn url(&self, own: &Proxy) -> String {
        match self.topology {
            Topology::Redis | Topology::Forgetful => format!("redis://127.0.0.1:{}", own.port),
            Topology::Sentinel => {
                let ports = self.sentinels.iter().map(|sentinel| sentinel.line.port);
                let hosts: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
                format!("redis+sentinel://{}/chaos", hosts.join(","))
            }
            Topology::Cluster => {
                let ports = self.servers.iter().map(|server| server.line.port);
                let hosts: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
                format!("redis+cluster://{}", hosts.join(","))
            }
        }
    }

    /// The servers that take writes now.
    pub(crate) async fn masters(&self) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, server) in self.servers.iter().enumerate() {
            let role = server.ask(&["ROLE"]).await;
            let is_master =
                role.is_ok_and(|role| role.texts().first().is_some_and(|r| r == "master"));
            let has_slots =
                self.topology != Topology::Cluster || !slots_of(server).await.is_empty();
            if is_master && has_slots {
                found.push(at);
            }
        }
        found
    }

    /// Waits until every part of the store takes writes.
    pub(crate) async fn is_whole(&self) -> bool {
        if self.topology == Topology::Cluster {
            for server in &self.servers {
                let said = server.ask(&["CLUSTER", "INFO"]).await;
                let said = said.map(|said| said.text().to_owned()).unwrap_or_default();
                if !said.contains("cluster_state:ok") || !said.contains("cluster_slots_ok:16384") {
                    return false;
                }
            }
            return true;
        }
        !self.masters().await.is_empty()
    }
}

async fn plain(root: &Path, name: &str) -> anyhow::Result<Server> {
    let mut server = Server::prepare(root, name, "redis-server").await?;
    let port = server.port.to_string();
    server.argue(&["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    Ok(server)
}

/// The first slots of a master, as it says itself.
pub(crate) async fn slots_of(server: &Server) -> Vec<String> {
    let said = server.ask(&["CLUSTER", "NODES"]).await;
    let said = said.map(|said| said.text().to_owned()).unwrap_or_default();
    let own = said.lines().find(|line| line.contains("myself"));
    let words = own.into_iter().flat_map(|line| line.split(' ').skip(8));
    words.map(str::to_owned).collect()
}

pub(crate) async fn name_of(server: &Server) -> anyhow::Result<String> {
    Ok(server.ask(&["CLUSTER", "MYID"]).await?.text().to_owned())
}

async fn join(servers: &[Server]) -> anyhow::Result<()> {
    let (masters, replicas) = servers.split_at_checked(3).context("six servers")?;
    let first = masters.first().context("a master")?;
    for (at, server) in masters.iter().enumerate() {
        let (from, until) = (at * 16384 / 3, (at + 1) * 16384 / 3 - 1);
        let (from, until) = (from.to_string(), until.to_string());
        server
            .ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &until])
            .await?;
        let epoch = (at + 1).to_string();
        server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
    }
    for server in servers.iter().skip(1) {
        let (port, bus) = (first.port.to_string(), (first.port + 10_000).to_string());
        server
            .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
            .await?;
    }
    for server in servers {
        until(
            "the cluster knows itself",
            Duration::from_secs(20),
            async || {
                let said = server.ask(&["CLUSTER", "NODES"]).await;
                said.is_ok_and(|said| said.text().lines().count() == servers.len())
            },
        )
        .await?;
    }
    for (master, replica) in masters.iter().zip(replicas) {
        let name = name_of(master).await?;
        replica.ask(&["CLUSTER", "REPLICATE", &name]).await?;
    }
    for server in servers {
        until(
            "the cluster is whole",
            Duration::from_secs(20),
            async || {
                let said = server.ask(&["CLUSTER", "INFO"]).await;
                said.is_ok_and(|said| said.text().contains("cluster_state:ok"))
            },
        )
        .await?;
    }
    for replica in replicas {
        until("replicas follow", Duration::from_secs(20), async || {
            let said = replica.ask(&["INFO", "replication"]).await;
            said.is_ok_and(|said| said.text().contains("master_link_status:up"))
        })
        .await?;
    }
    Ok(())
}
