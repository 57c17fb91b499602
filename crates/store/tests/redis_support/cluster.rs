//! A Redis Cluster of a few masters, and replicas where a test asks for them.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::rights;
use super::server::{Server, pause};

/// How long a cluster may take to agree.
const AGREE_DEADLINE: Duration = Duration::from_secs(30);
const SLOTS: usize = 16_384;

/// Servers that die with it.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
    masters: usize,
}

impl Cluster {
    /// Starts `masters` masters with a share of the slots each, and as many replicas of the first.
    pub(crate) fn start(masters: usize, replicas: usize) -> Self {
        let rights = rights::options_of_cluster();
        let mut options = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1500",
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ];
        options.extend(rights.iter().map(String::as_str));
        let nodes = (0..masters + replicas).map(|_| Server::start(&options));
        let cluster = Self {
            nodes: nodes.collect(),
            masters,
        };
        cluster.join();
        cluster
    }

    /// A cluster that tests of this process share; it dies with its last user.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start(3, 0));
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    fn join(&self) {
        let share = SLOTS.div_ceil(self.masters);
        let (masters, replicas) = self.nodes.split_at(self.masters);
        for (at, node) in masters.iter().enumerate() {
            let (first, last) = (at * share, ((at + 1) * share - 1).min(SLOTS - 1));
            let slots = [&first.to_string(), &last.to_string()];
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        let first = &self.nodes[0];
        for node in &self.nodes[1..] {
            first.cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]);
        }
        let master = first.cli(&["CLUSTER", "MYID"]);
        for replica in replicas {
            until("the replica knows its master", || {
                replica.cli(&["CLUSTER", "REPLICATE", master.trim()]).trim() == "OK"
            });
        }
        self.agree(&self.nodes.iter().collect::<Vec<_>>());
        for replica in replicas {
            until("the replica follows", || {
                let text = replica.cli(&["INFO", "replication"]);
                text.contains("master_link_status:up")
            });
        }
    }

    /// Waits until these nodes see all slots served and know each other.
    pub(crate) fn agree(&self, nodes: &[&Server]) {
        until("the cluster agrees", || {
            nodes.iter().all(|node| {
                let state = node.cli(&["CLUSTER", "INFO"]);
                let known = format!("cluster_known_nodes:{}", self.nodes.len());
                state.contains("cluster_state:ok") && state.contains(&known)
            })
        });
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// The place of the master that serves a slot.
    pub(crate) fn master_of(&self, slot: u16) -> usize {
        let share = SLOTS.div_ceil(self.masters);
        usize::from(slot) / share
    }

    /// Kills all nodes at once and starts them again with what they saved.
    pub(crate) fn crash(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        for node in &mut self.nodes {
            node.restart();
        }
        self.agree(&self.nodes.iter().collect::<Vec<_>>());
    }
}

/// Waits for something that servers do.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < AGREE_DEADLINE,
            "waited in vain until {what}"
        );
        pause();
    }
}
