//! Ten thousand connections that only cost.

use std::time::Duration;

use sparkway_client::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::SOON;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::http::UPGRADE;
use crate::harness::peer::Peer;

/// Hostile connections; each needs a descriptor in this process and one in the node's.
const CROWD: usize = 10_000;
/// Most memory of each, everything together. An idle one needs about 5 KB.
const EACH: u64 = 16 * 1024;

/// What a connection does to cost something: half of a message that was announced in full, a ping
/// whose pong nobody reads, or nothing at all.
fn provocation(at: usize) -> Vec<u8> {
    match at % 4 {
        0 => [
            &[0x81, 0xff][..],
            &60_000_u64.to_be_bytes(),
            &[0; 4],
            &[b' '; 700],
        ]
        .concat(),
        1 => super::super::bad_input::ping_frame(&[b'p'; 100]),
        2 => vec![0x01, 0x80, 0, 0, 0, 0],
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_connections_stay_below_the_memory_ceiling() {
    // They are left alone for as long as the test takes.
    let settings = [
        ("session.connect_timeout", "5m"),
        ("limits.connections", "15000"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let bystander = Bystander::at(cluster.first()).await;
    let port = cluster.port();
    let before = cluster.processes[0].memory();
    let mut crowd = Vec::with_capacity(CROWD);
    while crowd.len() < CROWD {
        let some = (0..100).map(async |at| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(UPGRADE.as_bytes()).await.unwrap();
            let mut head = [0; 512];
            let read = tokio::time::timeout(SOON * 3, stream.read(&mut head)).await;
            let read = read.expect("an answer").unwrap();
            assert!(head[..read].starts_with(b"HTTP/1.1 101"));
            let _ = stream.write_all(&provocation(at)).await;
            stream
        });
        crowd.extend(futures_util::future::join_all(some).await);
    }
    let series = "sparkway_connections{dialect=\"spark\",encoding=\"json\"}";
    let node = &cluster.processes[0];
    // The last of them were answered before they were counted.
    crate::harness::until("all are counted", SOON, async || {
        (node.metric(series).await >= CROWD as u64).then_some(())
    })
    .await;
    let grown = node.memory().saturating_sub(before);
    eprintln!(
        "{CROWD} hostile connections: {} bytes each",
        grown / CROWD as u64
    );
    assert!(
        grown < EACH * CROWD as u64,
        "{grown} bytes for {CROWD} connections"
    );
    // Everybody else is served.
    Peer::connect(cluster.first(), Encoding::Json)
        .await
        .is_alive()
        .await;
    bystander.noticed_nothing().await;
    drop(crowd);
    crate::harness::until("they are gone", Duration::from_mins(1), async || {
        (node.metric(series).await < 100).then_some(())
    })
    .await;
}
