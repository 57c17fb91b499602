//! Publish, batch, broadcast; once, whatever is repeated.

use serde_json::{Value, json};
use sparkway_client::Encoding;

use super::{one_node, two_nodes};
use crate::harness::operations::Backend;
use crate::harness::peer::Peer;

#[tokio::test]
async fn what_a_backend_publishes_reaches_clients_of_every_node() {
    let (cluster, backend, _) = two_nodes().await;
    for url in [cluster.first(), cluster.second()] {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let mut peer = Peer::connect(url, encoding).await;
            peer.subscribe(&["api:1"]).await;
            let data = json!({"text": "hello", "n": 9_007_199_254_740_993_u64});
            let body = json!({"topic": "api:1", "data": data, "from": "ada"});
            let stored = backend.post("/v1/publish", &body).await.ok();
            assert_eq!(stored["duplicate"], false);
            let message = peer.message().await;
            assert_eq!(message["id"], stored["id"]);
            assert_eq!(message["data"], data);
            assert_eq!(message["from"], "ada");
        }
    }
}

/// The same request on both nodes, in every form that names it.
async fn is_stored_once(first: &Backend, second: &Backend, topic: &str) {
    let named = json!({"topic": topic, "data": 1, "id": "order-1"});
    let stored = first.post("/v1/publish", &named).await.ok();
    let again = second.post("/v1/publish", &named).await.ok();
    assert_eq!(again["id"], stored["id"]);
    assert_eq!(
        (&stored["duplicate"], &again["duplicate"]),
        (&json!(false), &json!(true))
    );

    let plain = json!({"topic": topic, "data": 2});
    let key = "Idempotency-Key: 4e1a2b";
    let stored = first.with(key).post("/v1/publish", &plain).await.ok();
    let again = second.with(key).post("/v1/publish", &plain).await.ok();
    assert_eq!(
        (&again["id"], &again["duplicate"]),
        (&stored["id"], &json!(true))
    );
    let other = first
        .with("Idempotency-Key: other")
        .post("/v1/publish", &plain)
        .await
        .ok();
    assert_eq!(other["duplicate"], false);

    let batch = json!({"messages": [{"topic": topic, "data": 3}, {"topic": topic, "data": 4}]});
    let key = "Idempotency-Key: batch-1";
    let stored = first.with(key).post("/v1/publish/batch", &batch).await.ok();
    let again = second
        .with(key)
        .post("/v1/publish/batch", &batch)
        .await
        .ok();
    for at in 0..2 {
        let (stored, again) = (
            &stored["results"][at]["published"],
            &again["results"][at]["published"],
        );
        assert_eq!(
            (&again["id"], &again["duplicate"]),
            (&stored["id"], &json!(true))
        );
    }

    let path = format!("/v1/topics/{topic}/history");
    let log = first.get(&path).await.ok();
    let data: Vec<&Value> = log["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["data"])
        .collect();
    assert_eq!(
        data,
        [&json!(1), &json!(2), &json!(2), &json!(3), &json!(4)]
    );
}

#[tokio::test]
async fn a_repeated_request_is_stored_once_on_whatever_node_and_store() {
    let (_cluster, first, second) = two_nodes().await;
    is_stored_once(&first, &second, "api:once").await;
    let (_cluster, alone) = one_node().await;
    is_stored_once(&alone, &alone, "api:once").await;
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_each_message_has_its_own_result() {
    let (_cluster, backend) = one_node().await;
    let mut messages: Vec<Value> = (0..1000)
        .map(|number| json!({"topic": "api:many", "data": number}))
        .collect();
    messages[500] = json!({"topic": "not a topic", "data": 1});
    let results = backend
        .post("/v1/publish/batch", &json!({"messages": messages}))
        .await
        .ok();
    let results = results["results"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    assert_eq!(results[500]["problem"]["code"], "invalid");
    let ids: Vec<u64> = results
        .iter()
        .filter_map(|one| one["published"]["id"].as_str()?.parse().ok())
        .collect();
    assert_eq!(ids.len(), 999);
    assert!(ids.is_sorted());
    let log = backend
        .get("/v1/topics/api:many/history?limit=1000")
        .await
        .ok();
    let log = log["messages"].as_array().unwrap();
    assert_eq!(log.len(), 999);
    assert!(
        log.windows(2)
            .all(|pair| pair[0]["data"].as_u64() < pair[1]["data"].as_u64())
    );
}

#[tokio::test]
async fn a_broadcast_says_the_same_in_every_topic() {
    let (_cluster, backend) = one_node().await;
    let body = json!({"topics": ["api:a", "api:b", "$user:1"], "data": "closing"});
    let results = backend.post("/v1/broadcast", &body).await.ok();
    assert!(results["results"][0]["published"]["id"].is_string());
    assert_eq!(results["results"][1]["published"]["topic"], "api:b");
    assert_eq!(results["results"][2]["problem"]["code"], "forbidden");
    for topic in ["api:a", "api:b"] {
        let log = backend
            .get(&format!("/v1/topics/{topic}/history"))
            .await
            .ok();
        assert_eq!(log["messages"][0]["data"], "closing");
    }
}

#[tokio::test]
async fn what_is_ephemeral_is_told_and_not_kept() {
    let (cluster, backend) = one_node().await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["api:now"]).await;
    let body = json!({"topic": "api:now", "data": "typing", "ephemeral": true});
    let told = backend.post("/v1/publish", &body).await.ok();
    assert_eq!(told["id"], Value::Null);
    assert_eq!(peer.message().await["data"], "typing");
    let log = backend.get("/v1/topics/api:now/history").await.ok();
    assert_eq!(log["messages"], json!([]));
}

#[tokio::test]
async fn raw_bytes_and_null_are_payloads_too() {
    let (_cluster, backend) = one_node().await;
    backend
        .post(
            "/v1/publish",
            &json!({"topic": "api:raw", "data_b64": "AQID"}),
        )
        .await
        .ok();
    backend
        .post("/v1/publish", &json!({"topic": "api:raw", "data": null}))
        .await
        .ok();
    let log = backend
        .get("/v1/topics/api:raw/history?order=desc")
        .await
        .ok();
    assert_eq!(log["messages"][0]["data"], Value::Null);
    assert_eq!(log["messages"][1]["data"], "AQID");
    assert_eq!(log["messages"][1]["encoding"], "base64");
}

#[tokio::test]
async fn a_session_named_by_the_backend_does_not_receive_it() {
    let (cluster, backend) = one_node().await;
    let mut author = Peer::connect(cluster.first(), Encoding::Json).await;
    let mut reader = Peer::connect(cluster.first(), Encoding::Json).await;
    for peer in [&mut author, &mut reader] {
        peer.subscribe(&["api:others"]).await;
    }
    let body = json!({"topic": "api:others", "data": 1, "exclude_session": author.ticket.session});
    backend.post("/v1/publish", &body).await.ok();
    backend
        .post("/v1/publish", &json!({"topic": "api:others", "data": 2}))
        .await
        .ok();
    assert_eq!(reader.message().await["data"], 1);
    assert_eq!(author.message().await["data"], 2);
}
