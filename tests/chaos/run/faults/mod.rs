//! What is broken, and how it is mended again.

mod servers;

pub(crate) use servers::{OUTPUT_LIMIT, raise_clocks};

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::store::Topology;

/// A fault. Each begins, lasts and is mended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// kill -9 of a node, which is started again.
    NodeKilled,
    /// A node is frozen and goes on.
    NodeFrozen,
    /// A node is told to leave, and another takes its place.
    NodeDrained,
    /// All connections of clients to a node are reset.
    ClientsCut,
    /// Nothing passes between clients and a node, and nobody is told.
    ClientsDark,
    /// A node's clients hear nothing; it hears them.
    ClientsDeaf,
    /// Everything takes longer between clients and a node.
    ClientsSlow,
    /// All connections of a node to the store are reset.
    StoreCut,
    /// Nothing passes between a node and the store, and nobody is told.
    StoreDark,
    /// A node hears nothing from the store; the store hears it.
    StoreDeaf,
    /// Everything takes longer between a node and the store.
    StoreSlow,
    /// kill -9 of a server, which is started again with what it kept.
    RedisKilled,
    /// The server is frozen and goes on.
    RedisFrozen,
    /// The server comes back with an older copy of everything.
    RedisRestored,
    /// The server is a replica for a moment: it refuses writes.
    RedisDemoted,
    /// `CLIENT KILL TYPE pubsub`.
    SubscribersKilled,
    /// `CLIENT KILL TYPE normal`.
    CallersKilled,
    /// Subscribers are cut off as soon as they are behind.
    OutputLimited,
    /// `SCRIPT FLUSH`.
    ScriptsFlushed,
    /// No memory for writes.
    MemoryFull,
    /// The partitions' clocks step forward by five seconds.
    ClockStepped,
    /// The master is gone for so long that a replica takes its place.
    MasterLost,
    /// The same, and the replica had not heard of the last writes.
    MasterLostBehind,
    /// A slot with data moves to another master.
    SlotMoved,
}

impl Fault {
    /// Every fault that means something in a topology.
    pub(crate) fn all(topology: Topology) -> Vec<Self> {
        let mut all = vec![
            Self::NodeKilled,
            Self::NodeFrozen,
            Self::NodeDrained,
            Self::ClientsCut,
            Self::ClientsDark,
            Self::ClientsDeaf,
            Self::ClientsSlow,
            Self::StoreCut,
            Self::StoreDark,
            Self::StoreSlow,
            Self::SubscribersKilled,
            Self::CallersKilled,
            Self::OutputLimited,
            Self::ScriptsFlushed,
            Self::MemoryFull,
        ];
        if topology != Topology::Forgetful {
            // A clock that ran ahead and is lost with everything else may give ids out again: a
            // limit that the guarantees name.
            all.push(Self::ClockStepped);
        }
        all.extend(match topology {
            Topology::Redis => [
                Self::StoreDeaf,
                Self::RedisKilled,
                Self::RedisFrozen,
                Self::RedisDemoted,
            ]
            .as_slice(),
            Topology::Forgetful => [
                Self::StoreDeaf,
                Self::RedisKilled,
                Self::RedisFrozen,
                Self::RedisRestored,
            ]
            .as_slice(),
            Topology::Sentinel => [Self::MasterLost, Self::MasterLostBehind].as_slice(),
            Topology::Cluster => {
                [Self::MasterLost, Self::MasterLostBehind, Self::SlotMoved].as_slice()
            }
        });
        all
    }

    /// One of them.
    pub(crate) fn any(topology: Topology, rng: &mut StdRng) -> Self {
        let all = Self::all(topology);
        all.choose(rng).copied().unwrap_or(Self::ClientsCut)
    }

    /// Whether a server with its newest writes may be gone by it.
    pub(crate) const fn may_lose_a_server(self) -> bool {
        matches!(
            self,
            Self::RedisKilled
                | Self::RedisRestored
                | Self::MasterLost
                | Self::MasterLostBehind
                | Self::StoreDark
        )
    }

    /// Whether the store may come back as another one.
    pub(crate) fn may_lose(self, topology: Topology) -> bool {
        match self {
            // What moves to another server looks like what a server lost, until the gateway knows
            // better: told as lost although nothing is.
            Self::SlotMoved
            | Self::RedisKilled
            | Self::RedisRestored
            | Self::MasterLost
            | Self::MasterLostBehind => true,
            // The sentinels, or the replicas, may take the server for dead.
            Self::StoreDark | Self::StoreSlow | Self::StoreCut => {
                matches!(topology, Topology::Sentinel | Topology::Cluster)
            }
            _ => false,
        }
    }

    /// Faults of the same kind do not overlap.
    pub(crate) const fn is_of_the_servers(self) -> bool {
        matches!(
            self,
            Self::RedisKilled
                | Self::RedisFrozen
                | Self::RedisRestored
                | Self::RedisDemoted
                | Self::MasterLost
                | Self::MasterLostBehind
                | Self::SlotMoved
                | Self::MemoryFull
        )
    }
}

/// A fault with what was drawn for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    pub(crate) fault: Fault,
    /// Which node or server, modulo their number.
    pub(crate) at: usize,
    pub(crate) long: Duration,
    pub(crate) seed: u64,
}

impl Drawn {
    pub(crate) fn of(fault: Fault, rng: &mut StdRng) -> Self {
        let millis = match fault {
            Fault::NodeFrozen => rng.random_range(500..9000),
            Fault::NodeKilled | Fault::ClientsSlow | Fault::StoreSlow => {
                rng.random_range(300..3000)
            }
            Fault::RedisFrozen => rng.random_range(300..4000),
            Fault::MasterLost | Fault::MasterLostBehind => rng.random_range(4000..7000),
            _ => rng.random_range(200..5000),
        };
        Self {
            fault,
            at: rng.random_range(0..64),
            long: Duration::from_millis(millis),
            seed: rng.random(),
        }
    }
}

/// Breaks something, waits, and mends it.
///
/// # Errors
/// It could not be mended: the run says nothing.
pub(crate) async fn happen(cluster: &Arc<Cluster>, drawn: Drawn) -> anyhow::Result<()> {
    let Drawn { at, long, .. } = drawn;
    let node = cluster.node(at)?;
    match drawn.fault {
        Fault::NodeKilled => {
            let mut node = node.lock().await;
            node.kill();
            sleep(long).await;
            node.start(cluster).await?;
        }
        Fault::NodeFrozen => {
            let mut node = node.lock().await;
            node.stop(true);
            sleep(long).await;
            node.stop(false);
        }
        Fault::NodeDrained => {
            let mut node = node.lock().await;
            node.drain().await;
            node.start(cluster).await?;
        }
        Fault::ClientsCut => cluster.client_line(at)?.reset(),
        Fault::StoreCut => cluster.store_line(at)?.reset(),
        Fault::ClientsDark | Fault::StoreDark => {
            let line = if drawn.fault == Fault::ClientsDark {
                cluster.client_line(at)?
            } else {
                cluster.store_line(at)?
            };
            line.go_dark();
            sleep(long).await;
            // Either everything arrives after all, or nothing.
            if drawn.seed.is_multiple_of(2) {
                line.reset();
            }
            line.heal();
        }
        Fault::ClientsDeaf | Fault::StoreDeaf => {
            let line = if drawn.fault == Fault::ClientsDeaf {
                cluster.client_line(at)?
            } else {
                cluster.store_line(at)?
            };
            line.change(|state| state.down = false);
            sleep(long).await;
            if drawn.seed.is_multiple_of(2) {
                line.reset();
            }
            line.heal();
        }
        Fault::ClientsSlow | Fault::StoreSlow => {
            let line = if drawn.fault == Fault::ClientsSlow {
                cluster.client_line(at)?
            } else {
                cluster.store_line(at)?
            };
            let delay = Duration::from_millis(drawn.seed % 200);
            line.change(|state| state.delay = delay);
            sleep(long).await;
            line.heal();
        }
        _ => servers::happen(cluster, drawn).await?,
    }
    Ok(())
}
