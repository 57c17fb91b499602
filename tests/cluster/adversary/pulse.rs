//! A healthy client under attack: its rounds against those of the same client without one.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::harness::cluster::Cluster;
use crate::harness::http::UPGRADE;
use crate::harness::peer::Peer;
use crate::harness::time_passes;

/// Rounds of one measurement.
const ROUNDS: usize = 200;
/// How much longer a round may take under attack. The attacker runs on the same two cores as the
/// node and the client, and so do other tests, so this tells a queue from a busy machine.
const RATIO: u32 = 25;
/// Below this a difference is the machine's.
const FLOOR: Duration = Duration::from_millis(400);

/// The 99th percentile of a publish that comes back as a message.
async fn p99(peer: &mut Peer, topic: &str) -> Duration {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let began = Instant::now();
        let id = peer.publish(topic, json!(round)).await;
        peer.saw(&id).await;
        rounds.push(began.elapsed());
    }
    rounds.sort_unstable();
    rounds[ROUNDS * 99 / 100]
}

/// Measures without and with an attack, which goes on until it is dropped.
async fn unhurt(cluster: &Cluster, what: &str, attack: impl FnOnce(u16) -> JoinHandle<()>) {
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let topic = format!("pulse:{}", peer.ticket.session);
    peer.subscribe(&[&topic]).await;
    p99(&mut peer, &topic).await;
    let quiet = p99(&mut peer, &topic).await;
    let attack = attack(cluster.port());
    time_passes(Duration::from_millis(500)).await;
    let hurt = p99(&mut peer, &topic).await;
    // Whoever comes anew is let in, too.
    let began = Instant::now();
    Peer::connect(cluster.first(), Encoding::Json).await;
    let connect = began.elapsed();
    assert!(
        !attack.is_finished(),
        "{what}: the attack was over too early"
    );
    attack.abort();
    eprintln!("{what}: p99 {quiet:?} without, {hurt:?} with; connect {connect:?}");
    let most = (quiet * RATIO).max(FLOOR);
    assert!(
        hurt <= most,
        "{what}: p99 {quiet:?} without, {hurt:?} with the attack"
    );
    assert!(
        connect < Duration::from_secs(3),
        "{what}: a connect took {connect:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_do_not_slow_down_a_healthy_client() {
    let cluster = Cluster::memory(&[]).await;
    unhurt(&cluster, "slow handshakes", |port| {
        tokio::spawn(async move {
            let mut slow = Vec::new();
            for at in 0_usize.. {
                let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let _ = stream.write_all(&UPGRADE.as_bytes()[..at % 120]).await;
                slow.push(stream);
                // A byte each from time to time, and never the last one.
                if slow.len() > 4000 {
                    let stream = &mut slow[at % 4000];
                    let _ = stream.write_all(b"x").await;
                    slow.truncate(4000);
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_does_not_slow_down_a_healthy_client() {
    let settings = [
        ("limits.handshakes_per_address", "50"),
        ("server.trusted_proxies", "127.0.0.1"),
    ];
    let cluster = Cluster::memory(&settings).await;
    unhurt(&cluster, "handshake flood", |port| {
        tokio::spawn(async move {
            let request = UPGRADE.replace("\r\n\r\n", "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
            loop {
                let flood = (0..20).map(async |_| {
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let _ = stream.write_all(request.as_bytes()).await;
                    let mut answer = [0; 512];
                    let _ = stream.read(&mut answer).await;
                    let _ = stream.set_zero_linger();
                });
                futures_util::future::join_all(flood).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_and_pings_do_not_slow_down_a_healthy_client() {
    let settings = [
        ("limits.frames_per_second", "1000"),
        ("limits.frames_burst", "2000"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let url = cluster.first().to_owned();
    unhurt(&cluster, "frame flood", |_| {
        tokio::spawn(async move {
            let flood = (0..4_usize).map(async |at| {
                let ping = super::super::bad_input::ping_frame(b"flood");
                loop {
                    let mut peer = Peer::connect(&url, Encoding::Json).await;
                    let bytes = ping.repeat(50);
                    while match at % 2 {
                        0 => peer.wire.send_bytes(&bytes).await.is_ok(),
                        _ => peer.wire.send_text("nonsense").await.is_ok(),
                    } {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            futures_util::future::join_all(flood).await;
        })
    })
    .await;
}
