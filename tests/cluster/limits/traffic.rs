//! What one connection may send, and what may wait for it.

use serde_json::{Value, json};
use sparkway_client::Encoding;

use super::limited;
use crate::harness::cluster::{Cluster, ENCODINGS};
use crate::harness::peer::{Peer, close_frame, last_words};

#[tokio::test]
async fn bytes_beyond_their_rate_are_refused_and_a_flood_is_closed_4100() {
    let settings = [
        ("limits.bytes_per_second", "20000"),
        ("limits.message_bytes", "16KiB"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    // A whole message always passes, and so do small ones at any rate that is allowed.
    peer.publish("t", json!("x".repeat(15_000))).await;
    let frame =
        json!({"type": "topic:publish", "id": "again", "topic": "t", "data": "x".repeat(8000)});
    for _ in 0..300 {
        if peer.wire.send(&frame).await.is_err() {
            break;
        }
    }
    let (frames, closed) = last_words(&mut peer.wire).await;
    assert_eq!(closed.code, Some(4100), "{closed}");
    assert_eq!(
        frames.last(),
        Some(&close_frame(4100, "rate_limited", true))
    );
    let refused: Vec<&Value> = frames
        .iter()
        .filter(|frame| frame["data"]["code"] == "rate_limited")
        .collect();
    assert_eq!(refused.len(), 200);
    let first = &refused[0]["data"];
    assert_eq!(first["message"], "more than 20000 bytes per second");
    assert!(
        first["retry_after"]
            .as_u64()
            .is_some_and(|wait| wait <= 1000),
        "{first}"
    );
    assert_eq!(limited(&cluster.processes[0], "bytes").await, 200);
}

#[tokio::test]
async fn joining_and_leaving_is_charged_by_the_topic() {
    let settings = [
        ("limits.frames_per_second", "1"),
        ("limits.frames_burst", "40"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let names = |count: usize| (0..count).map(|at| format!("t{at}")).collect::<Vec<_>>();
    // 1 for the connect; a hundred topics cost what about 26 frames do.
    peer.done("topic:subscribe", json!({"topics": names(100)}))
        .await;
    let code = peer
        .refused("topic:unsubscribe", json!({"topics": names(100)}))
        .await;
    assert_eq!(code, "rate_limited");
    // One topic is one frame.
    peer.done("topic:unsubscribe", json!({"topics": ["t1"]}))
        .await;
    assert!(limited(&cluster.processes[0], "frames").await >= 1);
}

#[tokio::test]
async fn payloads_nested_deeper_than_configured_are_invalid_in_both_encodings() {
    let cluster = Cluster::memory(&[("limits.nesting_depth", "3")]).await;
    for encoding in ENCODINGS {
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.publish("t", json!([{"a": ["[[[["]}])).await;
        let answer = peer.publish_as("deep", "t", json!([{"a": [[]]}])).await;
        assert_eq!(answer["data"]["code"], "invalid", "{answer}");
        assert_eq!(
            answer["data"]["message"],
            "data: nested deeper than 3 levels"
        );
    }
}

#[tokio::test]
async fn a_connection_with_too_many_requests_under_way_is_not_read_until_they_are_answered() {
    let cluster = Cluster::redis(&[("limits.publishes_in_flight", "4")]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let redis = cluster.redis.as_ref().expect("a redis");
    redis.signal("STOP");
    for number in 0..40 {
        peer.send_publish(&format!("p{number}"), "t", json!(number))
            .await;
    }
    let node = &cluster.processes[0];
    while limited(node, "publishes").await < 1 {}
    redis.signal("CONT");
    for number in 0..40 {
        let answer = peer.answer(&format!("p{number}")).await;
        assert_eq!(answer["type"], "ws:ack", "{answer}");
    }
    assert_eq!(peer.log("t").await.len(), 40);
}

/// S0-56: a client that lags is waited for, and misses nothing.
#[tokio::test]
async fn delivery_pauses_at_max_unacked_and_goes_on_where_it_stopped() {
    let cluster = Cluster::redis(&[("session.max_unacked", "5")]).await;
    for encoding in ENCODINGS {
        let topic = format!("paced:{encoding:?}");
        let mut reader = Peer::connect(cluster.first(), encoding).await;
        reader.subscribe(&[&topic]).await;
        let mut writer = Peer::connect(cluster.second(), encoding).await;
        let mut all = Vec::new();
        for number in 0..40 {
            all.push(writer.publish(&topic, json!(number)).await);
        }
        let mut seen = Vec::new();
        while seen.len() < all.len() {
            let most = (all.len() - seen.len()).min(5);
            let page = reader.messages(most).await;
            seen.extend(page.into_iter().map(|(id, _)| id));
            // Not one more comes before something is acknowledged.
            reader.hears_nothing().await;
            let last = seen.last().expect("an id");
            let ack = json!({"type": "ws:ack", "data": {"ackId": last}});
            reader.wire.send(&ack).await.unwrap();
        }
        assert_eq!(seen, all);
        // Up to date, it is live again.
        let id = writer.publish(&topic, json!("live")).await;
        reader.saw(&id).await;
        // Who names its position on resume has acknowledged what lies before it.
        let ticket = reader.cut();
        for number in 0..8 {
            writer.publish(&topic, json!(number)).await;
        }
        let mut again = Peer::resume(cluster.second(), encoding, &ticket).await;
        let missed = again.messages(5).await;
        again.hears_nothing().await;
        let ack = json!({"type": "ws:ack", "data": {"ackId": missed[4].0}});
        again.wire.send(&ack).await.unwrap();
        assert_eq!(again.messages(3).await.len(), 3);
    }
    // Each pause is counted, where the reader is.
    let node = &cluster.processes[0];
    assert!(limited(node, "unacknowledged").await >= 2);
}
