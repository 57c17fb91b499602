//! Signs of life.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, close_frame, ends_with};
use crate::harness::time_passes;

fn refusal() -> serde_json::Value {
    json!({"type": "ws:error", "data": {
        "code": "bad_heartbeat_token",
        "message": "heartbeat_token: not valid",
        "retryable": false,
    }})
}

everywhere! {
    async fn a_heartbeat_is_answered_and_needs_no_ack_when_nothing_changed(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let data = json!({"heartbeat_token": peer.ticket.token});
        // The first one may come at any time, also at once.
        let answer = peer.ask("ws:heartbeat", data.clone()).await;
        assert_eq!(answer, json!({"type": "ws:heartbeat_ack", "data": {}}));
        peer.wire.send(&json!({"type": "ws:heartbeat", "data": data})).await.unwrap();
        assert_eq!(peer.next().await, json!({"type": "ws:heartbeat_ack", "data": {}}));
        peer.hears_nothing().await;
    }

    async fn one_wrong_token_is_refused_and_a_right_one_forgives_it(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let right = json!({"heartbeat_token": peer.ticket.token});
        for _ in 0..2 {
            let answer = peer.ask("ws:heartbeat", json!({"heartbeat_token": "wrong"})).await;
            assert_eq!(answer, refusal());
            let answer = peer.ask("ws:heartbeat", right.clone()).await;
            assert_eq!(answer, json!({"type": "ws:heartbeat_ack", "data": {}}));
        }
    }

    async fn two_wrong_tokens_in_a_row_close_4007_and_reveal_nothing(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let other = Peer::connect(place.first(), place.encoding).await;
        for token in ["wrong", &other.ticket.token] {
            let data = json!({"heartbeat_token": token});
            peer.wire.send(&json!({"type": "ws:heartbeat", "data": data})).await.unwrap();
        }
        let farewell = close_frame(4007, "bad_heartbeat_token", false);
        let frames = [refusal(), refusal(), farewell];
        ends_with(&mut peer.wire, &frames, 4007, "bad_heartbeat_token").await;
    }

    async fn more_than_four_heartbeats_per_interval_are_rate_limited(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let data = json!({"heartbeat_token": peer.ticket.token});
        for _ in 0..4 {
            let answer = peer.ask("ws:heartbeat", data.clone()).await;
            assert_eq!(answer["type"], "ws:heartbeat_ack");
        }
        let answer = peer.ask("ws:heartbeat", data).await;
        let after = answer["data"]["retry_after"].as_u64().expect("when to try again");
        assert!((1..=25_000).contains(&after), "{after}");
        assert_eq!(
            answer,
            json!({"type": "ws:error", "data": {
                "code": "rate_limited",
                "message": "more than 4 heartbeats per heartbeat_interval",
                "retryable": true,
                "retry_after": after,
            }})
        );
        peer.is_alive().await;
    }

    async fn a_heartbeat_without_a_token_is_invalid(place: &Place<'_>) {
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        for data in [json!({}), json!(null), json!({"heartbeat_token": 7})] {
            assert_eq!(peer.refused("ws:heartbeat", data).await, "invalid");
        }
        peer.is_alive().await;
    }
}

/// 2 × 100 ms + 5 s: other frames do not count as heartbeats.
#[tokio::test]
async fn without_a_heartbeat_the_connection_closes_1001_and_the_session_stays_resumable() {
    let cluster = Cluster::redis(&[("session.heartbeat_interval", "100ms")]).await;
    let mut silent = Peer::connect(cluster.first(), Encoding::Json).await;
    assert_eq!(silent.welcome["data"]["heartbeat_interval"], 100);
    silent.subscribe(&["silence"]).await;
    let mut lively = Peer::connect(cluster.first(), Encoding::Json).await;
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let data = json!({"heartbeat_token": lively.ticket.token});
        assert_eq!(
            lively.ask("ws:heartbeat", data).await["type"],
            "ws:heartbeat_ack"
        );
        silent.is_alive().await;
        time_passes(Duration::from_millis(100)).await;
    }
    let farewell = close_frame(1001, "Heartbeat timeout", true);
    ends_with(&mut silent.wire, &[farewell], 1001, "Heartbeat timeout").await;
    let lasted = began.elapsed();
    assert!(
        lasted > Duration::from_secs(5) && lasted < Duration::from_secs(7),
        "{lasted:?}"
    );
    lively.is_alive().await;
    let id = lively.publish("silence", json!("missed")).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &silent.ticket).await;
    assert_eq!(again.message().await["id"], json!(id));
}

#[tokio::test]
async fn heartbeats_acks_and_deliveries_cost_no_command_of_the_store() {
    let cluster = Cluster::redis(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["cheap"]).await;
    let mut publisher = Peer::connect(cluster.first(), Encoding::Json).await;
    let session = peer.ticket.session.clone();
    let work = async {
        for round in 0..20 {
            publisher.publish("cheap", json!(round)).await;
            let message = peer.message().await;
            let ack = json!({"type": "ws:ack", "data": {"ackId": message["id"]}});
            peer.wire.send(&ack).await.unwrap();
            if round % 5 == 0 {
                let data = json!({"heartbeat_token": peer.ticket.token});
                assert_eq!(
                    peer.ask("ws:heartbeat", data).await["type"],
                    "ws:heartbeat_ack"
                );
            }
        }
        peer.is_alive().await;
    };
    let commands = cluster.redis.as_ref().unwrap().monitor(work).await;
    let publishing = commands
        .lines()
        .filter(|line| line.contains("cheap"))
        .count();
    assert!(publishing >= 20, "the monitor saw nothing: {commands}");
    let about_it: Vec<&str> = commands
        .lines()
        .filter(|line| line.contains(&session))
        .collect();
    assert!(about_it.is_empty(), "{about_it:#?}");
}

#[tokio::test]
async fn another_interval_of_the_node_is_told_at_resume() {
    let redis = crate::harness::redis::Redis::start().await;
    let (slow, quick) = (
        [("session.heartbeat_interval", "40s")],
        [("session.heartbeat_interval", "10s")],
    );
    let cluster = Cluster::with_redis(redis, &slow, &quick).await;
    let peer = Peer::connect(cluster.first(), Encoding::Json).await;
    assert_eq!(peer.welcome["data"]["heartbeat_interval"], 40_000);
    let ticket = peer.cut();
    let again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(again.welcome["data"]["heartbeat_interval"], 10_000);
}
