//! What a session may receive and publish.

use serde_json::json;
use sparkway_client::Encoding;

use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;
use crate::harness::redis::Redis;
use crate::harness::tokens::{SECRET, token};

const REQUIRED: &[(&str, &str)] = &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)];

#[tokio::test]
async fn grants_are_exact_names_or_prefixes_and_each_way_has_its_own() {
    let cluster = Cluster::memory(REQUIRED).await;
    let token = token("ada", &["room:*", "lobby"], &["room:1"]);
    let mut peer = Peer::connect_as(cluster.first(), &token).await;
    let asked = [
        "room:1", "lobby", "room", "lobby:2", "rooms:1", "Room:1", "room:",
    ];
    let result = peer.done("topic:subscribe", json!({"topics": asked})).await;
    let granted: Vec<&str> = result["topics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["topic"].as_str().unwrap())
        .collect();
    assert_eq!(granted, ["room:1", "lobby", "room:"]);
    let rejected: Vec<_> = ["room", "lobby:2", "rooms:1", "Room:1"]
        .map(|topic| json!({"topic": topic, "code": "forbidden"}))
        .into();
    assert_eq!(result["rejected"], json!(rejected));
    peer.publish("room:1", json!(1)).await;
    for topic in ["room:2", "lobby", "room:11"] {
        let answer = peer.publish_as("p", topic, json!(1)).await;
        assert_eq!(
            answer,
            json!({"type": "ws:error", "data": {
                "code": "forbidden",
                "message": "the grants do not cover this",
                "retryable": false,
            }}),
            "{topic}"
        );
    }
    // History is reading.
    peer.done("topic:history", json!({"topic": "room:2", "limit": 1}))
        .await;
    let foreign = json!({"topic": "elsewhere", "limit": 1});
    assert_eq!(peer.refused("topic:history", foreign).await, "forbidden");
}

#[tokio::test]
async fn ephemeral_publishes_need_the_grant_too() {
    let cluster = Cluster::memory(REQUIRED).await;
    let mut peer = Peer::connect_as(cluster.first(), &token("ada", &["*"], &[])).await;
    let frame = json!({"type": "topic:publish", "id": "e", "topic": "t", "data": 1,
        "ephemeral": true});
    peer.wire.send(&frame).await.unwrap();
    assert_eq!(peer.answer("e").await["data"]["code"], "forbidden");
}

#[tokio::test]
async fn inboxes_belong_to_their_owner_and_nobody_publishes_into_the_gateways_topics() {
    let cluster = Cluster::redis(REQUIRED).await;
    let all = token("ada", &["*"], &["*"]);
    let mut peer = Peer::connect_as(cluster.first(), &all).await;
    let own = [
        format!("$session:{}", peer.ticket.session),
        "$user:ada".to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    peer.subscribe(&own).await;
    let foreign = [
        "$user:eve",
        "$session:6f1f2d9c-0000-8000-8000-000000000000",
        "$sys",
        "$",
    ];
    let result = peer
        .done("topic:subscribe", json!({"topics": foreign}))
        .await;
    assert_eq!(result["topics"], json!([]));
    for rejected in result["rejected"].as_array().unwrap() {
        assert_eq!(rejected["code"], "forbidden", "{rejected}");
    }
    assert_eq!(result["rejected"].as_array().unwrap().len(), foreign.len());
    for topic in ["$user:ada", "$user:eve", "$sys:config", own[0]] {
        let answer = peer.publish_as("p", topic, json!(1)).await;
        assert_eq!(answer["data"]["code"], "forbidden", "{topic}");
    }
}

#[tokio::test]
async fn the_sender_of_a_message_is_who_the_token_says() {
    let cluster = Cluster::redis(REQUIRED).await;
    let all = |user: &str| token(user, &["*"], &["*"]);
    let mut ada = Peer::connect_as(cluster.first(), &all("ada")).await;
    ada.subscribe(&["talk"]).await;
    let mut eve = Peer::connect_as(cluster.second(), &all("eve")).await;
    let spoofed = json!({"type": "topic:publish", "id": "s", "topic": "talk", "data": "hi",
        "from": "ada", "ts": 1, "user": "ada"});
    eve.wire.send(&spoofed).await.unwrap();
    let id = eve.answer("s").await["data"]["result"]["id"].clone();
    let message = ada.message().await;
    let ts = message["ts"].as_u64().unwrap();
    assert!(ts.abs_diff(crate::harness::tokens::now_ms()) < 60_000);
    let expected = json!({"type": "topic:message", "id": id, "topic": "talk", "data": "hi",
        "from": "eve", "ts": ts});
    assert_eq!(message, expected);
}

/// A grant that is withdrawn while the session is away.
#[tokio::test]
async fn topics_that_are_no_longer_granted_are_dropped_at_resume_and_named() {
    let redis = Redis::start().await;
    let closed = [("namespaces.secret.subscribe", "nobody")];
    let cluster = Cluster::with_redis(redis, &[], &closed).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["secret:plans", "open"]).await;
    let ticket = peer.cut();
    let mut publisher = Peer::connect(cluster.first(), Encoding::Json).await;
    publisher.publish("secret:plans", json!("hidden")).await;
    let id = publisher.publish("open", json!("seen")).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(
        again.welcome["data"]["dropped_topics"],
        json!(["secret:plans"])
    );
    assert_eq!(again.welcome["data"]["replay_count"], 1);
    assert_eq!(again.message().await["id"], json!(id));
    assert_eq!(again.next().await["type"], "ws:replay_done");
    publisher
        .publish("secret:plans", json!("still hidden"))
        .await;
    again.hears_nothing().await;
}
