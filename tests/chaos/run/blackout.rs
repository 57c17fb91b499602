//! `chaos-run --blackout`: how long a client hears nothing when its node is killed.
//!
//! Measured at the client, from the last message that came before the kill to the first one after
//! the resume elsewhere. The client comes back at once: its backoff is its own choice.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::Arguments;
use crate::cluster::{Cluster, NODES};
use crate::store::Topology;
use crate::wire::{Heard, Wire};

/// How often a node is killed.
const KILLS: usize = 10;
/// Between two messages: the figures are no finer than this.
const PULSE: Duration = Duration::from_millis(5);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames that wait for a listener.
const HEARD: usize = 1024;

/// Kills nodes and prints the figures.
///
/// # Errors
/// The cluster could not be run, or a client did not come back.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let binary = crate::binary(arguments, "sparkway")?;
    let cluster = Cluster::start(Topology::Redis, 1, binary, Vec::new()).await?;
    let mut all = Vec::new();
    for turn in 0..KILLS {
        let victim = turn % NODES;
        let took = kill(&cluster, victim, arguments.sessions).await?;
        all.extend(took);
        cluster.node(victim)?.lock().await.start(&cluster).await?;
    }
    all.sort_unstable();
    let at = |share: usize| {
        let place = (all.len() * share / 100).min(all.len().saturating_sub(1));
        all.get(place).copied().unwrap_or_default()
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "blackout after kill -9, {} clients x {KILLS} kills: p50 {:?}, p99 {:?}, max {:?}; load {}",
        arguments.sessions,
        at(50),
        at(99),
        at(100),
        load.trim(),
    );
    Ok(())
}

/// Kills one node under its listeners. How long each of them heard nothing.
async fn kill(cluster: &Cluster, victim: usize, listeners: u32) -> anyhow::Result<Vec<Duration>> {
    let ports = cluster.ports();
    let port = |at: usize| ports.get(at % NODES).copied().context("three ports");
    let (stop, stopped) = watch::channel(false);
    let beating = tokio::spawn(beat(port(victim + 1)?, stopped));
    let (ready, mut waiting) = mpsc::channel(HEARD);
    let mut tasks = JoinSet::new();
    for number in 0..listeners {
        let (own, other) = (port(victim)?, port(victim + 1 + number as usize % 2)?);
        tasks.spawn(listen(own, other, ready.clone()));
    }
    for _ in 0..listeners {
        let is_ready = timeout(PATIENCE, waiting.recv()).await;
        is_ready.context("a listener is ready")?;
    }
    sleep(Duration::from_millis(300)).await;
    cluster.node(victim)?.lock().await.kill();
    let mut took = Vec::new();
    while let Some(done) = tasks.join_next().await {
        took.push(done??);
    }
    stop.send_replace(true);
    beating.await??;
    Ok(took)
}

/// Publishes at an even pace until it is stopped.
async fn beat(port: u16, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (heard, mut hearing) = mpsc::channel(HEARD);
    let wire = Wire::dial(port, 0, heard).await?;
    wire.send(&json!({"type": "ws:connect", "data": {}}));
    let mut ticks = interval(PULSE);
    while !*stopped.borrow() {
        tokio::select! {
            _ = ticks.tick() => {
                wire.send(&json!({"type": "topic:publish", "topic": "pulse", "data": 1}));
            }
            _ = hearing.recv() => {}
        }
    }
    Ok(())
}

struct Listener {
    hearing: mpsc::Receiver<(u32, Heard)>,
}

impl Listener {
    /// The next frame of this type; none when the connection ended before.
    async fn next(&mut self, kind: &str) -> anyhow::Result<Option<Value>> {
        loop {
            let heard = timeout(PATIENCE, self.hearing.recv()).await;
            match heard
                .context("something is heard")?
                .context("it is read")?
                .1
            {
                Heard::Frame(frame) if frame["type"] == *kind => return Ok(Some(frame)),
                Heard::Frame(_) => {}
                Heard::Closed(_) => return Ok(None),
            }
        }
    }
}

async fn listen(own: u16, other: u16, ready: mpsc::Sender<()>) -> anyhow::Result<Duration> {
    let (heard, hearing) = mpsc::channel(HEARD);
    let mut listener = Listener { hearing };
    let wire = Wire::dial(own, 0, heard).await?;
    wire.send(&json!({"type": "ws:connect", "data": {}}));
    let welcome = listener.next("ws:connect_ack").await?;
    let mut ticket = welcome.context("a welcome")?["data"].clone();
    wire.send(&json!({"type": "topic:subscribe", "id": "s", "data": {"topics": ["pulse"]}}));
    let mut last = Instant::now();
    let mut count = 0;
    while let Some(message) = listener.next("topic:message").await? {
        last = Instant::now();
        ticket["last_message_id"] = message["id"].clone();
        count += 1;
        if count == 20 {
            ready.send(()).await?;
        }
    }
    drop(wire);
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let (heard, hearing) = mpsc::channel(HEARD);
        let Ok(wire) = Wire::dial(other, 1, heard).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        listener.hearing = hearing;
        wire.send(&json!({"type": "ws:resume", "data": {
            "session_id": ticket["session_id"],
            "heartbeat_token": ticket["heartbeat_token"],
            "last_message_id": ticket["last_message_id"],
        }}));
        if listener.next("topic:message").await?.is_some() {
            return Ok(last.elapsed());
        }
    }
    anyhow::bail!("not resumed within {PATIENCE:?}")
}
