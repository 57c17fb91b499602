//! What becomes of sessions whose node is gone, and whose clients do not come back.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;

use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, next, open};
use crate::harness::{http, until, until_true};

/// The window is short, so that it passes while the test waits.
const SETTINGS: &[(&str, &str)] = &[("session.resume_window", "3s")];
/// A lease of 15 s runs out, then a window of 3 s; and the machine may be busy.
const EXPIRES_WITHIN: Duration = Duration::from_mins(1);
const SESSIONS: usize = 60;

/// Sessions that the nodes which still run have removed.
async fn expired(cluster: &Cluster, nodes: &[usize]) -> Vec<u64> {
    let mut counts = Vec::new();
    for at in nodes {
        let text = http::body(cluster.processes[*at].internal[0], "/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("sparkway_sessions_expired_total "));
        counts.push(line.expect("the series exists").parse().expect("a number"));
    }
    counts
}

#[tokio::test]
async fn sessions_of_a_killed_node_are_detached_and_expire_each_exactly_once() {
    let mut cluster = Cluster::three(SETTINGS).await;
    let mut lost = Vec::new();
    for at in 0..SESSIONS {
        let encoding = if at % 2 == 0 {
            Encoding::Json
        } else {
            Encoding::MsgPack
        };
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.subscribe(&["left"]).await;
        lost.push(peer);
    }
    let mut staying = Peer::connect(cluster.second(), Encoding::Json).await;
    staying.subscribe(&["left"]).await;
    cluster.processes[0].kill();
    let lost: Vec<_> = lost.into_iter().map(Peer::cut).collect();
    let redis = cluster.redis.as_ref().expect("they share one");
    // One stands for all: they are detached by the same sweep, and soon gone.
    until_true("a session is detached", EXPIRES_WITHIN, || {
        redis.is_detached(&lost[0].session)
    })
    .await;
    let gone = until("all sessions expire", EXPIRES_WITHIN, || async {
        let counts = expired(&cluster, &[1, 2]).await;
        (counts.iter().sum::<u64>() >= SESSIONS as u64).then_some(counts)
    })
    .await;
    eprintln!("expired by the two that are left: {gone:?}");
    for ticket in &lost {
        let mut late = open(cluster.second(), Encoding::Json).await;
        let resume = json!({"type": "ws:resume", "data": ticket.data()});
        late.send(&resume).await.unwrap();
        let answer = next(&mut late).await;
        assert_eq!(answer["data"]["reason"], "not_resumable", "{answer}");
    }
    // Nobody counted one again while the others were looked at.
    let counts = expired(&cluster, &[1, 2]).await;
    assert_eq!(counts.iter().sum::<u64>(), SESSIONS as u64, "{counts:?}");
    let keys = redis.cli(&["--scan", "--pattern", "*:sess:*"]);
    assert_eq!(keys.lines().count(), 1, "only who stayed is left: {keys}");
    staying.is_alive().await;
}
