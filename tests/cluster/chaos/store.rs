//! The store is away, or comes back with less than it had.

use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, FrameType};

use crate::harness::cluster::Cluster;
use crate::harness::http;
use crate::harness::peer::{Peer, code_of, next, open};

/// Longest time that the gateway may wait for a store that does not answer.
const GIVES_UP: Duration = Duration::from_secs(20);

#[tokio::test]
async fn while_the_store_is_away_requests_are_unavailable_and_connections_stay() {
    let cluster = Cluster::redis(&[]).await;
    let redis = cluster.redis.as_ref().unwrap();
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["stalled"]).await;
    let other = Peer::connect(cluster.second(), Encoding::Json).await;
    let ticket = other.cut();
    redis.signal("STOP");
    peer.send_publish("p", "stalled", json!(1)).await;
    let subscribe = peer
        .send("topic:subscribe", json!({"topics": ["another"]}))
        .await;
    let mut resuming = open(cluster.second(), Encoding::Json).await;
    resuming
        .send(&json!({"type": "ws:resume", "data": ticket.data()}))
        .await
        .unwrap();
    for id in ["p", &subscribe] {
        let answer = peer.wire.answer(id, GIVES_UP).await.unwrap();
        assert_eq!(answer.field("code"), "unavailable");
        assert_eq!(answer.field("retryable"), true);
    }
    let failed = resuming
        .wait_for(FrameType::ResumeFailed, GIVES_UP)
        .await
        .unwrap();
    assert_eq!(failed.data(), json!({"reason": "unavailable"}));
    // Heartbeats and probes do not depend on the store.
    let heartbeat = json!({"heartbeat_token": peer.ticket.token});
    assert_eq!(
        peer.ask("ws:heartbeat", heartbeat).await["type"],
        "ws:heartbeat_ack"
    );
    let internal = cluster.processes[0].internal[0];
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::status(internal, path).await, Some(200), "{path}");
    }
    redis.signal("CONT");
    // The same requests succeed, on the same sockets.
    let id = loop {
        let answer = peer.publish_as("p", "stalled", json!(1)).await;
        if answer["type"] == "ws:ack" {
            break answer["data"]["result"]["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(code_of(&answer), "unavailable");
    };
    loop {
        resuming
            .send(&json!({"type": "ws:resume", "data": ticket.data()}))
            .await
            .unwrap();
        let answer = next(&mut resuming).await;
        if answer["type"] == "ws:resume_ack" {
            break;
        }
        assert_eq!(answer["data"]["reason"], "unavailable");
    }
    // The publish that timed out may have been stored: once, and no more than once.
    assert_eq!(peer.log("stalled").await, [(id.clone(), json!(1))]);
    assert_eq!(peer.message().await["id"], json!(id));
    peer.hears_nothing().await;
}

#[tokio::test]
async fn a_store_that_lost_everything_is_told_as_rewound_and_ids_still_rise() {
    let mut cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["amnesia"]).await;
    let lost = peer.publish("amnesia", json!("lost")).await;
    peer.message().await;
    cluster.redis.as_mut().unwrap().restart().await;
    let gap = peer.wire.wait_for(FrameType::Gap, GIVES_UP).await.unwrap();
    assert_eq!(gap.topic.as_deref(), Some("amnesia"));
    assert_eq!(gap.field("reason"), "rewound");
    let number = |id: &str| id.parse::<u64>().unwrap();
    let id = loop {
        let answer = peer.publish_as("p", "amnesia", json!("kept")).await;
        if answer["type"] == "ws:ack" {
            break answer["data"]["result"]["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(code_of(&answer), "unavailable");
    };
    assert!(number(&id) > number(&lost));
    let gap_ends = gap.field("before").as_str().map(number).unwrap();
    assert!(
        number(&id) >= gap_ends && number(&lost) < gap_ends,
        "{gap:?}"
    );
    assert_eq!(peer.message().await["id"], json!(id));
}
