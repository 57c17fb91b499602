//! A publish is repeated because its answer was lost.

use serde_json::json;
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;
use crate::harness::proxy::Proxy;

#[tokio::test]
async fn a_publish_repeated_on_another_node_after_a_lost_answer_is_stored_once() {
    let cluster = Cluster::redis(&[]).await;
    let mut watcher = Peer::connect(cluster.second(), Encoding::Json).await;
    watcher.subscribe(&["orders"]).await;
    let proxy = Proxy::to(cluster.port()).await;
    let mut peer = Peer::connect(&proxy.url(), Encoding::Json).await;
    proxy.silence_the_node();
    peer.send_publish("order-7", "orders", json!({"n": 7}))
        .await;
    // It is stored, and nobody told the client.
    let stored = watcher.message().await;
    proxy.cut();
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &peer.ticket).await;
    let answer = again.publish_as("order-7", "orders", json!({"n": 7})).await;
    let first = json!({"id": stored["id"], "duplicate": true});
    assert_eq!(answer, json!({"type": "ws:ack", "data": {"result": first}}));
    let id = stored["id"].as_str().unwrap().to_owned();
    assert_eq!(again.log("orders").await, [(id, json!({"n": 7}))]);
    watcher.hears_nothing().await;
}

everywhere! {
    async fn a_repeat_answers_the_first_id_whatever_it_carries(place: &Place<'_>) {
        let topic = place.topic("repeat");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let first = peer.publish_as("p", &topic, json!(1)).await;
        let id = first["data"]["result"]["id"].clone();
        assert_eq!(first["data"]["result"], json!({"id": id}));
        let again = peer.publish_as("p", &topic, json!("another payload")).await;
        assert_eq!(again["data"]["result"], json!({"id": id, "duplicate": true}));
        let ticket = peer.cut();
        let mut peer = Peer::resume(place.second(), place.encoding, &ticket).await;
        let again = peer.publish_as("p", &topic, json!(1)).await;
        assert_eq!(again["data"]["result"], json!({"id": id, "duplicate": true}));
        // The same id in another topic, or of another session, is another publish.
        let other = place.topic("other");
        let elsewhere = peer.publish_as("p", &other, json!(1)).await;
        assert_eq!(elsewhere["data"]["result"].get("duplicate"), None);
        let mut stranger = Peer::connect(place.second(), place.encoding).await;
        let foreign = stranger.publish_as("p", &topic, json!(2)).await;
        assert_eq!(foreign["data"]["result"].get("duplicate"), None);
        let payloads: Vec<_> = peer.log(&topic).await.into_iter().map(|(_, data)| data).collect();
        assert_eq!(payloads, [json!(1), json!(2)]);
    }
}
