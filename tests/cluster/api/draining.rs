//! Nodes that an operator sends away, and keeps.

use serde_json::json;
use sparkway_client::Encoding;

use super::KEYED;
use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};
use crate::harness::peer::Peer;
use crate::harness::{SOON, until};

#[tokio::test]
async fn a_node_is_drained_from_another_one_and_its_clients_resume() {
    let quick = [
        KEYED,
        &[("drain.readiness_delay", "0s"), ("drain.duration", "1s")],
    ]
    .concat();
    let mut cluster = Cluster::redis(&quick).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    peer.subscribe(&["drain:1"]).await;
    let told = backend.call("POST", "/v1/nodes/node-b/drain", "").await;
    assert_eq!(
        (told.status, &told.body["state"]),
        (202, &json!("draining"))
    );
    let ended = cluster.processes[1].ended(3 * SOON).await;
    assert!(ended.success(), "{ended}");
    backend
        .post(
            "/v1/publish",
            &json!({"topic": "drain:1", "data": "meanwhile"}),
        )
        .await
        .ok();
    let mut peer = Peer::resume(cluster.first(), Encoding::Json, &peer.ticket).await;
    assert_eq!(peer.message().await["data"], "meanwhile");
    until("the node has left", SOON, || async {
        let nodes = backend.get("/v1/nodes").await.ok();
        (nodes["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(
        backend
            .call("POST", "/v1/nodes/node-b/drain", "")
            .await
            .code(),
        "not_found"
    );
}

#[tokio::test]
async fn a_node_can_be_kept_until_it_begins_to_close() {
    let slow = [KEYED, &[("drain.readiness_delay", "60s")]].concat();
    let cluster = Cluster::redis(&slow).await;
    let backend = Backend::new(cluster.processes[0].internal[0], Some(KEY)).await;
    let own = cluster.processes[1].internal[0];
    let ready = || async { crate::harness::http::status(own, "/readyz").await };
    assert_eq!(
        backend
            .call("POST", "/v1/nodes/node-b/drain", "")
            .await
            .status,
        202
    );
    until("it is unready", SOON, || async {
        (ready().await == Some(503)).then_some(())
    })
    .await;
    assert_eq!(backend.delete("/v1/nodes/node-b/drain").await.status, 202);
    until("it is ready again", SOON, || async {
        (ready().await == Some(200)).then_some(())
    })
    .await;
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    peer.is_alive().await;
}
