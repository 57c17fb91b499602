//! Subscriptions and messages that a backend makes for others.

use serde_json::json;
use sparkway_client::Encoding;

use super::{KEYED, one_node, two_nodes};
use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};
use crate::harness::peer::Peer;
use crate::harness::tokens::{SECRET, named, token};

#[tokio::test]
async fn a_session_on_another_node_is_subscribed_whatever_its_grants_and_keeps_it() {
    let settings = [
        KEYED,
        &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)],
    ]
    .concat();
    let cluster = Cluster::redis(&settings).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    let poor = token("ada", &[], &[]);
    let mut peer = Peer::connect_as(cluster.second(), &poor).await;
    let path = format!("/v1/sessions/{}/subscriptions", peer.ticket.session);
    let body = json!({"topics": ["secret:1", "secret:2"]});
    assert_eq!(
        peer.refused("topic:history", json!({"topic": "secret:1"}))
            .await,
        "forbidden"
    );
    let done = backend.post(&path, &body).await.ok();
    assert_eq!(done["subscribed"], body["topics"]);
    // Published at once: what comes after the answer is never missed.
    backend
        .post("/v1/publish", &json!({"topic": "secret:1", "data": 1}))
        .await
        .ok();
    assert_eq!(peer.message().await["data"], 1);
    assert_eq!(
        backend.post(&path, &body).await.ok()["subscribed"],
        json!([])
    );
    // Neither a refresh nor a resume takes it away.
    let refreshed = peer
        .ask("ws:refresh", json!({"token": token("ada", &[], &[])}))
        .await;
    assert_eq!(refreshed["type"], "ws:ack", "{refreshed}");
    let ticket = peer.cut();
    backend
        .post("/v1/publish", &json!({"topic": "secret:2", "data": 2}))
        .await
        .ok();
    let mut peer = Peer::resume(cluster.first(), Encoding::Json, &ticket).await;
    assert_eq!(peer.message().await["data"], 2);
    // Until the backend does.
    let answer = backend.delete(&format!("{path}/secret:1")).await;
    assert_eq!(answer.status, 204);
    let id = format!("/v1/sessions/{}", ticket.session);
    crate::harness::until("the node has obeyed", crate::harness::SOON, || async {
        let topic = backend.get("/v1/topics/secret:1").await;
        let shown = backend.get(&id).await.ok();
        let one = shown["subscriptions"].as_array().unwrap().len() == 1;
        (one && topic.body["node_subscribers"] == 0).then_some(())
    })
    .await;
    backend
        .post("/v1/publish", &json!({"topic": "secret:1", "data": 3}))
        .await
        .ok();
    backend
        .post("/v1/publish", &json!({"topic": "secret:2", "data": 4}))
        .await
        .ok();
    assert_eq!(peer.message().await["data"], 4);
}

#[tokio::test]
async fn a_detached_session_finds_what_it_was_subscribed_to_meanwhile() {
    let (cluster, backend) = one_node().await;
    let ticket = Peer::connect(cluster.first(), Encoding::Json).await.cut();
    let path = format!("/v1/sessions/{}", ticket.session);
    crate::harness::until("the session is detached", crate::harness::SOON, || async {
        let shown = backend.get(&path).await.ok();
        (shown["state"] == "detached").then_some(())
    })
    .await;
    backend
        .post(
            "/v1/publish",
            &json!({"topic": "later:1", "data": "before"}),
        )
        .await
        .ok();
    backend
        .post(
            &format!("{path}/subscriptions"),
            &json!({"topics": ["later:1"]}),
        )
        .await
        .ok();
    backend
        .post("/v1/publish", &json!({"topic": "later:1", "data": "after"}))
        .await
        .ok();
    let mut peer = Peer::resume(cluster.first(), Encoding::Json, &ticket).await;
    assert_eq!(peer.message().await["data"], "after");
}

#[tokio::test]
async fn direct_messages_are_stored_and_survive_a_cut() {
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
    let one = format!("/v1/sessions/{}/messages", there.ticket.session);
    let sent = backend
        .post(&one, &json!({"data": "only you", "id": "m1"}))
        .await
        .ok();
    assert_eq!(there.message().await["data"], "only you");
    assert_eq!(
        backend
            .post(&one, &json!({"data": "only you", "id": "m1"}))
            .await
            .ok()["id"],
        sent["id"]
    );
    backend
        .post("/v1/users/ada/messages", &json!({"data": "both of you"}))
        .await
        .ok();
    for peer in [&mut here, &mut there] {
        assert_eq!(peer.message().await["data"], "both of you");
    }
    let ticket = there.cut();
    backend
        .post(&one, &json!({"data": "while away"}))
        .await
        .ok();
    let mut there = Peer::resume(cluster.first(), Encoding::Json, &ticket).await;
    assert_eq!(there.message().await["data"], "while away");
    here.hears_nothing().await;
    let nobody = backend
        .post("/v1/sessions/none/messages", &json!({"data": 1}))
        .await;
    assert_eq!(nobody.code(), "not_found");
}

#[tokio::test]
async fn all_sessions_of_a_user_are_subscribed() {
    let settings = [
        KEYED,
        &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)],
    ]
    .concat();
    let cluster = Cluster::redis(&settings).await;
    let backend = Backend::new(cluster.processes[1].internal[0], Some(KEY)).await;
    let token = named("ada", "one", 10);
    let mut here = Peer::connect_as(cluster.first(), &token).await;
    let mut there = Peer::connect_as(cluster.second(), &token).await;
    let done = backend
        .post(
            "/v1/users/ada/subscriptions",
            &json!({"topics": ["team:1"]}),
        )
        .await
        .ok();
    assert_eq!(done["sessions"].as_array().unwrap().len(), 2);
    backend
        .post("/v1/publish", &json!({"topic": "team:1", "data": "hi"}))
        .await
        .ok();
    for peer in [&mut here, &mut there] {
        assert_eq!(peer.message().await["data"], "hi");
    }
    for wrong in [
        json!({"topics": []}),
        json!({"topics": ["$user:ada"]}),
        json!({"topics": ["a b"]}),
    ] {
        assert_eq!(
            backend
                .post("/v1/users/ada/subscriptions", &wrong)
                .await
                .code(),
            "invalid"
        );
    }
}

#[tokio::test]
async fn a_trimmed_log_is_gone_and_whoever_comes_back_is_told() {
    let (cluster, backend, second) = two_nodes().await;
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    peer.subscribe(&["trim:1"]).await;
    let first = backend
        .post("/v1/publish", &json!({"topic": "trim:1", "data": 1}))
        .await
        .ok();
    peer.saw(first["id"].as_str().unwrap()).await;
    let ticket = peer.cut();
    let mut ids = Vec::new();
    for data in 2..=4 {
        let sent = backend
            .post("/v1/publish", &json!({"topic": "trim:1", "data": data}))
            .await
            .ok();
        ids.push(sent["id"].as_str().unwrap().to_owned());
    }
    let answer = backend
        .delete(&format!("/v1/topics/trim:1/history?until={}", ids[1]))
        .await;
    assert_eq!(answer.status, 204);
    let log = second.get("/v1/topics/trim:1/history").await.ok();
    assert_eq!(log["messages"].as_array().unwrap().len(), 1);
    assert_eq!(
        second.get("/v1/topics/trim:1").await.ok()["last_id"],
        ids[2].as_str()
    );
    let mut peer = Peer::resume(cluster.first(), Encoding::Json, &ticket).await;
    assert_eq!(
        peer.welcome["data"]["gaps"][0]["reason"], "trimmed",
        "{}",
        peer.welcome
    );
    assert_eq!(peer.message().await["data"], 4);
}
