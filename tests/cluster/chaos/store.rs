//! The store is away, or comes back with less than it had.

use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, FrameType};

use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, code_of, next, open};
use crate::harness::{http, until, until_true};

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

/// Longer than a node's lease of 15 s.
const LONG: Duration = Duration::from_secs(21);

#[tokio::test]
async fn a_store_that_is_away_for_twenty_seconds_costs_no_connection_and_everything_heals() {
    let cluster = Cluster::redis(&[]).await;
    let redis = cluster.redis.as_ref().unwrap();
    let mut peers = Vec::new();
    for url in [cluster.first(), cluster.second()] {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let mut peer = Peer::connect(url, encoding).await;
            peer.subscribe(&["patience"]).await;
            peers.push(peer);
        }
    }
    redis.signal("STOP");
    let began = tokio::time::Instant::now();
    let mut refused = 0;
    while began.elapsed() < LONG {
        let answer = peers[0].publish_as("p", "patience", json!(1)).await;
        assert_eq!(code_of(&answer), "unavailable");
        assert_eq!(answer["data"]["retryable"], true, "{answer}");
        refused += 1;
        for process in &cluster.processes {
            for path in ["/healthz", "/readyz"] {
                let status = http::status(process.internal[0], path).await;
                assert_eq!(status, Some(200), "{path} after {:?}", began.elapsed());
            }
        }
        for peer in &mut peers {
            peer.is_alive().await;
        }
    }
    for peer in &mut peers {
        let heartbeat = json!({"heartbeat_token": peer.ticket.token});
        let answer = peer.ask("ws:heartbeat", heartbeat).await;
        assert_eq!(answer["type"], "ws:heartbeat_ack", "{answer}");
    }
    eprintln!("{refused} refusals in {:?}", began.elapsed());
    redis.signal("CONT");
    let id = loop {
        let answer = peers[0].publish_as("p", "patience", json!(1)).await;
        if answer["type"] == "ws:ack" {
            break answer["data"]["result"]["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(code_of(&answer), "unavailable");
    };
    // Once, on the sockets that were open all the time, and nothing is said to be lost.
    for peer in &mut peers {
        assert_eq!(peer.message().await["id"], json!(id));
        peer.hears_nothing().await;
    }
    assert_eq!(peers[0].log("patience").await.len(), 1);
    // The leases ran out; the sessions are whose they were, and can be resumed as ever.
    let last = peers.pop().unwrap().cut();
    let again = Peer::resume(cluster.first(), Encoding::MsgPack, &last).await;
    assert_eq!(again.welcome["data"]["gaps"], json!([]));
    let second = peers[0].publish("patience", json!(2)).await;
    for peer in &mut peers {
        assert_eq!(peer.message().await["id"], json!(second));
    }
}

#[tokio::test]
async fn whoever_could_have_seen_what_an_older_copy_lacks_is_told_rewound() {
    let mut cluster = Cluster::redis(&[]).await;
    let mut saw = Peer::connect(cluster.first(), Encoding::Json).await;
    saw.subscribe(&["copied"]).await;
    let mut live = Peer::connect(cluster.second(), Encoding::Json).await;
    live.subscribe(&["copied"]).await;
    let mut present = Peer::connect(cluster.first(), Encoding::Json).await;
    present.subscribe(&["copied"]).await;
    let mut away = Peer::connect(cluster.first(), Encoding::Json).await;
    away.subscribe(&["copied"]).await;
    let kept = saw.publish("copied", json!("kept")).await;
    for peer in [&mut saw, &mut live, &mut present, &mut away] {
        assert_eq!(peer.message().await["id"], json!(kept));
    }
    let away = away.cut();
    let redis = cluster.redis.as_mut().unwrap();
    until_true("who left is detached", GIVES_UP, || {
        redis.is_detached(&away.session)
    })
    .await;
    assert_eq!(redis.cli(&["SAVE"]).trim(), "OK");
    let lost = saw.publish("copied", json!("lost")).await;
    for peer in [&mut saw, &mut live, &mut present] {
        assert_eq!(peer.message().await["id"], json!(lost));
    }
    let saw = saw.cut();
    cluster.redis.as_mut().unwrap().restart().await;
    let number = |id: &serde_json::Value| id.as_str().unwrap().parse::<u64>().unwrap();
    let lost = number(&json!(lost));
    let covers = |gap: &serde_json::Value| {
        assert_eq!(gap["reason"], "rewound", "{gap}");
        assert!(
            number(&gap["after"]) < lost && lost < number(&gap["before"]),
            "{gap} and {lost}"
        );
    };
    for peer in [&mut live, &mut present] {
        let gap = peer.wire.wait_for(FrameType::Gap, GIVES_UP).await.unwrap();
        covers(&gap.data());
    }
    // One named the lost message, the other the one before: both are told.
    for ticket in [saw, away] {
        let welcome = loop {
            let mut wire = open(cluster.second(), Encoding::Json).await;
            let resume = json!({"type": "ws:resume", "data": ticket.data()});
            wire.send(&resume).await.unwrap();
            let answer = next(&mut wire).await;
            if answer["type"] == "ws:resume_ack" {
                break answer;
            }
            assert_eq!(answer["data"]["reason"], "unavailable", "{answer}");
        };
        let gaps = welcome["data"]["gaps"].as_array().unwrap();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        covers(&gaps[0]);
    }
    // Who comes when its node knows of it is told of nothing.
    let mut late = Peer::connect(cluster.first(), Encoding::Json).await;
    late.subscribe(&["copied"]).await;
    late.hears_nothing().await;
}

#[tokio::test]
async fn a_dying_subscribe_does_not_move_the_starts_of_topics_that_are_followed() {
    let cluster = Cluster::redis(&[]).await;
    let redis = cluster.redis.as_ref().unwrap();
    let mut publisher = Peer::connect(cluster.second(), Encoding::Json).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["held"]).await;
    let read = publisher.publish("held", json!("read")).await;
    assert_eq!(peer.message().await["id"], json!(read));
    let mut ticket = peer.ticket.clone();
    ticket.last = json!(read);
    // It reached the node, but its client never read it.
    let unread = publisher.publish("held", json!("unread")).await;
    peer.is_alive().await;
    redis.signal("STOP");
    // Waits for the new topic to become live, when its connection ends.
    peer.send("topic:subscribe", json!({"topics": ["held", "new"]}))
        .await;
    drop(peer.cut());
    let internal = cluster.processes[0].internal[0];
    until("its node has noticed", GIVES_UP, || async {
        let text = http::body(internal, "/metrics").await;
        let mut lines = text.lines();
        let open = |line: &str| line.starts_with("sparkway_connections{") && !line.ends_with(" 0");
        (text.contains("sparkway_connections{") && !lines.any(open)).then_some(())
    })
    .await;
    redis.signal("CONT");
    until_true("it is detached", GIVES_UP, || {
        redis.is_detached(&ticket.session)
    })
    .await;
    let mut again = loop {
        let mut wire = open(cluster.second(), Encoding::Json).await;
        let resume = json!({"type": "ws:resume", "data": ticket.data()});
        wire.send(&resume).await.unwrap();
        if next(&mut wire).await["type"] == "ws:resume_ack" {
            break wire;
        }
    };
    let message = again.wait_for(FrameType::Message, GIVES_UP).await.unwrap();
    assert_eq!(message.id.as_deref(), Some(unread.as_str()));
}
