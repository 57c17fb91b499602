//! What a backend does to sessions and tokens, on whatever node they are.

use serde_json::json;
use sparkway_client::Encoding;

use super::{KEYED, two_nodes};
use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};
use crate::harness::peer::{Peer, close_frame, ends_with, next, open};
use crate::harness::tokens::{SECRET, named};

#[tokio::test]
async fn a_session_on_another_node_is_ended_and_cannot_be_resumed() {
    let (cluster, backend, _) = two_nodes().await;
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    let path = format!("/v1/sessions/{}", peer.ticket.session);
    assert_eq!(backend.delete(&path).await.status, 204);
    let farewell = close_frame(4011, "disconnected", false);
    ends_with(&mut peer.wire, &[farewell], 4011, "disconnected").await;
    assert_eq!(backend.get(&path).await.code(), "not_found");
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let resume = json!({"type": "ws:resume", "data": peer.ticket.data()});
    wire.send(&resume).await.unwrap();
    assert_eq!(next(&mut wire).await["type"], "ws:resume_failed");
}

#[tokio::test]
async fn a_session_may_be_told_to_come_back() {
    let (cluster, backend, _) = two_nodes().await;
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    let path = format!("/v1/sessions/{}", peer.ticket.session);
    let answer = backend.call("DELETE", &path, r#"{"reconnect":true}"#).await;
    assert_eq!(answer.status, 204);
    let farewell = close_frame(4200, "session_lost", true);
    ends_with(&mut peer.wire, &[farewell], 4200, "session_lost").await;
}

#[tokio::test]
async fn all_sessions_of_a_user_are_ended_and_tokens_revoked() {
    let settings = [
        KEYED,
        &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)],
    ]
    .concat();
    let cluster = Cluster::redis(&settings).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    let token = named("ada", "one", 10);
    let mut here = Peer::connect_as(cluster.first(), &token).await;
    let mut there = Peer::connect_as(cluster.second(), &token).await;
    let mut eve = Peer::connect_as(cluster.second(), &named("eve", "two", 10)).await;
    let ended = backend
        .post("/v1/users/ada/disconnect", &json!({}))
        .await
        .ok();
    assert_eq!(
        (&ended["sessions"], &ended["more"]),
        (&json!(2), &json!(false))
    );
    for peer in [&mut here, &mut there] {
        let farewell = close_frame(4011, "disconnected", false);
        ends_with(&mut peer.wire, &[farewell], 4011, "disconnected").await;
    }
    eve.is_alive().await;
    backend
        .post("/v1/tokens/revoke", &json!({"token_id": "two"}))
        .await
        .ok();
    let farewell = close_frame(1008, "Unauthorized", false);
    ends_with(&mut eve.wire, &[farewell], 1008, "Unauthorized").await;
    for wrong in [
        json!({}),
        json!({"user": "ada", "everyone": true}),
        json!({"everyone": false}),
        json!({"user": "ada", "until": 1}),
    ] {
        assert_eq!(
            backend.post("/v1/tokens/revoke", &wrong).await.code(),
            "invalid"
        );
    }
}

#[tokio::test]
async fn what_is_to_be_traced_is_named_once_and_ends_by_itself() {
    let (_cluster, backend) = super::one_node().await;
    let before = backend.get("/v1/info").await.ok()["now"].as_u64().unwrap();
    let marked = backend
        .post("/v1/trace", &json!({"topic": "a:1"}))
        .await
        .ok();
    let until = marked["until"].as_u64().unwrap();
    assert!((590_000..660_000).contains(&(until - before)), "{marked}");
    assert_eq!(marked["exported"], json!(false), "no collector is named");
    let session = "0198f9c2-8a6e-8000-8000-000000000000";
    backend
        .post("/v1/trace", &json!({"session": session, "seconds": 0}))
        .await
        .ok();
    for wrong in [
        json!({}),
        json!({"topic": "a:1", "session": session}),
        json!({"topic": "a 1"}),
        json!({"session": "nobody"}),
        json!({"topic": "a:1", "seconds": 601}),
    ] {
        assert_eq!(
            backend.post("/v1/trace", &wrong).await.code(),
            "invalid",
            "{wrong}"
        );
    }
}
