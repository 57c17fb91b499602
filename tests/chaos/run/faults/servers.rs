//! Faults of the store's servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::{Drawn, Fault};
use crate::cluster::Cluster;
use crate::process::until;
use crate::store::{Server, Store, Topology, name_of};

/// How far behind a subscriber may be where nothing is broken: the server's own default.
pub(crate) const OUTPUT_LIMIT: (&str, &str) =
    ("client-output-buffer-limit", "pubsub 33554432 8388608 60");
/// A second, as ids count time.
const SECOND: u64 = 1000 * 4096;
/// Raises a clock key, as far as it exists.
const RAISE: &str = "local c = redis.call('GET', KEYS[1]) \
    if c then redis.call('SET', KEYS[1], string.format('%.0f', c + ARGV[1])) end return 1";

pub(super) async fn happen(cluster: &Arc<Cluster>, drawn: Drawn) -> anyhow::Result<()> {
    let mut store = cluster.store.lock().await;
    let masters = store.masters().await;
    let Some(&at) = masters.get(drawn.at % masters.len().max(1)) else {
        // Nobody takes writes: enough is broken.
        return Ok(());
    };
    let long = drawn.long;
    match drawn.fault {
        Fault::RedisKilled => {
            let server = server(&mut store, at)?;
            server.kill();
            sleep(long.min(Duration::from_secs(2))).await;
            server.start().await?;
        }
        Fault::RedisFrozen => {
            let server = server(&mut store, at)?;
            server.stop(true);
            sleep(long).await;
            server.stop(false);
        }
        Fault::RedisRestored => restore(server(&mut store, at)?, long).await?,
        Fault::RedisDemoted => {
            let server = server(&mut store, at)?;
            server.ask(&["REPLICAOF", "127.0.0.1", "1"]).await?;
            sleep(long).await;
            server.ask(&["REPLICAOF", "NO", "ONE"]).await?;
        }
        Fault::MemoryFull => {
            let server = server(&mut store, at)?;
            server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await?;
            sleep(long.min(Duration::from_secs(3))).await;
            server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await?;
        }
        Fault::MasterLost | Fault::MasterLostBehind => lose_master(&mut store, at, drawn).await?,
        Fault::SlotMoved => move_slot(&store, &masters, drawn.at).await?,
        _ => return quick(store, at, drawn).await,
    }
    Ok(())
}

fn server(store: &mut Store, at: usize) -> anyhow::Result<&mut Server> {
    store.servers.get_mut(at).context("a server")
}

/// Faults that are over at once, or leave the servers free for others meanwhile.
async fn quick(
    store: tokio::sync::MutexGuard<'_, Store>,
    at: usize,
    drawn: Drawn,
) -> anyhow::Result<()> {
    let port = store.servers.get(at).context("a server")?.port;
    drop(store);
    // Another fault may have ended the server meanwhile: then there is nothing left to do to it.
    let ask = async |words: &[&str]| drop(crate::resp::ask(port, words).await);
    match drawn.fault {
        Fault::SubscribersKilled => {
            for _ in 0..=drawn.at % 3 {
                ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
                sleep(drawn.long / 4).await;
            }
        }
        Fault::CallersKilled => ask(&["CLIENT", "KILL", "TYPE", "normal"]).await,
        Fault::ScriptsFlushed => ask(&["SCRIPT", "FLUSH"]).await,
        Fault::OutputLimited => {
            ask(&["CONFIG", "SET", OUTPUT_LIMIT.0, "pubsub 4096 4096 1"]).await;
            sleep(drawn.long).await;
            ask(&["CONFIG", "SET", OUTPUT_LIMIT.0, OUTPUT_LIMIT.1]).await;
        }
        Fault::ClockStepped => {
            drop(raise_clocks(port, 5).await);
        }
        _ => {}
    }
    Ok(())
}

/// Lets the clocks of all partitions on a server stand so many seconds later, as after the
/// server's own clock was set back by as much. A step forward of the server's own clock is another
/// matter: it would let every key expire at once, which no gateway can mend.
pub(crate) async fn raise_clocks(port: u16, seconds: u64) -> anyhow::Result<()> {
    let raised = (seconds * SECOND).to_string();
    for key in crate::resp::ask(port, &["KEYS", "*:clock"]).await?.texts() {
        crate::resp::ask(port, &["EVAL", RAISE, "1", &key, &raised]).await?;
    }
    Ok(())
}

/// The server comes back as it was some time ago.
async fn restore(server: &mut Server, long: Duration) -> anyhow::Result<()> {
    server.ask(&["SAVE"]).await?;
    let (dump, copy) = (
        server.directory.join("dump.rdb"),
        server.directory.join("copy"),
    );
    std::fs::rename(&dump, &copy)?;
    sleep(long).await;
    server.kill();
    std::fs::rename(&copy, &dump)?;
    server.start().await?;
    std::fs::remove_file(&dump)?;
    Ok(())
}

/// The master is gone until a replica stands in its place; then it comes back as a replica.
async fn lose_master(store: &mut Store, at: usize, drawn: Drawn) -> anyhow::Result<()> {
    if drawn.fault == Fault::MasterLostBehind {
        // Replicas hear nothing more for a moment, and then the master is gone. What was sent to
        // them waits in their sockets while they are stopped, so their connections end as well;
        // and the master is one that accepts what it cannot hand on.
        let master = server(store, at)?;
        let words = ["CONFIG", "SET", "min-replicas-to-write", "0"];
        master.ask(&words).await?;
        for (other, server) in store.servers.iter_mut().enumerate() {
            if other != at {
                server.stop(true);
            }
        }
        let words = ["CLIENT", "KILL", "TYPE", "replica"];
        server(store, at)?.ask(&words).await?;
        sleep(Duration::from_millis(700)).await;
        server(store, at)?.kill();
        store
            .servers
            .iter_mut()
            .for_each(|server| server.stop(false));
    } else if drawn.seed.is_multiple_of(2) {
        server(store, at)?.kill();
    } else {
        server(store, at)?.stop(true);
    }
    let is_replaced = until("another master", Duration::from_secs(25), async || {
        let masters = masters_without(store, at).await;
        let wanted = if store.topology == Topology::Cluster {
            3
        } else {
            1
        };
        masters >= wanted
    })
    .await;
    let old = server(store, at)?.line.port.to_string();
    for sentinel in &store.sentinels {
        let moved = until("sentinels agree", Duration::from_secs(40), async || {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "chaos"];
            let said = sentinel.ask(&words).await.map(|said| said.texts());
            said.is_ok_and(|said| said.get(1).is_some_and(|port| *port != old))
        });
        moved.await?;
    }
    sleep(drawn.long / 4).await;
    let lost = server(store, at)?;
    lost.stop(false);
    let is_gone = lost.process.is_none();
    if is_gone {
        lost.start().await?;
    }
    is_replaced?;
    // The next failover needs it.
    until(
        "the old master follows",
        Duration::from_secs(40),
        async || {
            let Some(server) = store.servers.get(at) else {
                return false;
            };
            let said = server.ask(&["INFO", "replication"]).await;
            said.is_ok_and(|said| said.text().contains("master_link_status:up"))
        },
    )
    .await
}

async fn masters_without(store: &Store, at: usize) -> usize {
    let mut count = 0;
    for (other, server) in store.servers.iter().enumerate() {
        if other == at {
            continue;
        }
        let role = server.ask(&["ROLE"]).await;
        if role.is_ok_and(|role| role.texts().first().is_some_and(|role| role == "master")) {
            count += 1;
        }
    }
    count
}

/// A slot that holds data moves, key by key, while it is used.
async fn move_slot(store: &Store, masters: &[usize], turn: usize) -> anyhow::Result<()> {
    let pick = |turn: usize| {
        let at = masters.get(turn % masters.len().max(1))?;
        store.servers.get(*at)
    };
    let (from, to) = (
        pick(turn).context("a master")?,
        pick(turn + 1).context("a master")?,
    );
    let key = from.ask(&["RANDOMKEY"]).await?;
    if key.text().is_empty() {
        return Ok(());
    }
    let slot = from.ask(&["CLUSTER", "KEYSLOT", key.text()]).await?;
    let slot = slot.text();
    let (source, target) = (name_of(from).await?, name_of(to).await?);
    to.ask(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &source])
        .await?;
    from.ask(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &target])
        .await?;
    let port = to.port.to_string();
    loop {
        let keys = from
            .ask(&["CLUSTER", "GETKEYSINSLOT", slot, "20"])
            .await?
            .texts();
        if keys.is_empty() {
            break;
        }
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "4000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        from.ask(&words).await?;
    }
    for at in std::iter::once(to).chain(masters.iter().filter_map(|at| store.servers.get(*at))) {
        at.ask(&["CLUSTER", "SETSLOT", slot, "NODE", &target])
            .await?;
    }
    Ok(())
}
