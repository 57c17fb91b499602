//! API keys: who gets in, with what, and how they are replaced.

use serde_json::json;

use super::one_node;
use crate::harness::cluster::Cluster;
use crate::harness::node::Process;
use crate::harness::operations::{Backend, KEY};
use crate::harness::{SOON, until};

const READER: &str = "swk_reader_0123456789abcdefghij";
const WRITER: &str = "swk_writer_0123456789abcdefghij";

#[tokio::test]
async fn without_a_valid_key_nothing_is_answered_but_the_document() {
    let (cluster, backend) = one_node().await;
    for key in [None, Some("swk_all_wrongwrongwrongwrong"), Some("")] {
        let nobody = backend.as_key(key);
        for path in ["/v1/topics", "/v1/nodes", "/v1/nothing"] {
            let answer = nobody.get(path).await;
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"));
            assert!(answer.header("www-authenticate").is_some());
        }
    }
    // B94: not on the listener of the clients, whatever key is shown.
    for path in ["/v1/nodes", "/metrics", "/console/", "/openapi.json"] {
        let public = Backend::at_all(cluster.port(), KEY);
        assert_eq!(public.send("GET", path, "").await.status, 404, "{path}");
    }
    // A key in a query ends up in logs: it is no credential.
    let answer = backend
        .as_key(None)
        .get(&format!("/v1/nodes?api_key={KEY}"))
        .await;
    assert_eq!(answer.status, 401);
    let answer = backend.get(&format!("/v1/nodes?api_key={KEY}")).await;
    assert_eq!(answer.code(), "invalid");
    assert!(!answer.body.to_string().contains(KEY));
    assert!(
        !cluster.processes[0].log().contains(KEY),
        "a key in the log"
    );
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let keys = format!("{READER}:read,{WRITER}:publish+manage");
    let cluster = Cluster::memory(&[("api.keys", &keys)]).await;
    let reader = Backend::new(cluster.processes[0].internal[0], Some(READER)).await;
    let writer = reader.as_key(Some(WRITER));
    let message = json!({"topic": "scope:1", "data": 1});
    writer.post("/v1/publish", &message).await.ok();
    reader.get("/v1/topics/scope:1/history").await.ok();
    for refused in [
        reader.post("/v1/publish", &message).await,
        reader.delete("/v1/sessions/x").await,
        writer.get("/v1/topics").await,
    ] {
        assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    }
    // What one key named, another may name again: each has names of its own.
    let two = [READER, WRITER]
        .map(|key| format!("{key}:publish"))
        .join(",");
    let cluster = Cluster::memory(&[("api.keys", &two)]).await;
    let one = Backend::new(cluster.processes[0].internal[0], Some(READER)).await;
    let named = json!({"topic": "scope:1", "data": 1, "id": "same"});
    for backend in [one.clone(), one.as_key(Some(WRITER))] {
        assert_eq!(
            backend.post("/v1/publish", &named).await.ok()["duplicate"],
            false
        );
    }
}

#[tokio::test]
async fn keys_are_replaced_while_the_node_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparkway.toml");
    let write = |keys: &str| std::fs::write(&path, format!("[api]\nkeys = [{keys}]\n")).unwrap();
    write(&format!("\"{READER}\""));
    let file = path.to_str().unwrap();
    let node = Process::serve_with(&["-c", file], "node-a", &[("auth.mode", "off")]).await;
    let reader = Backend::new(node.internal[0], Some(READER)).await;
    let writer = reader.as_key(Some(WRITER));
    reader.get("/v1/nodes").await.ok();
    assert_eq!(writer.get("/v1/nodes").await.status, 401);
    // Both, for as long as the rotation takes.
    write(&format!("\"{READER}\", \"{WRITER}\""));
    until("the new key counts", SOON, || async {
        (writer.get("/v1/nodes").await.status == 200).then_some(())
    })
    .await;
    reader.get("/v1/nodes").await.ok();
    write(&format!("\"{WRITER}\""));
    until("the old key counts no more", SOON, || async {
        (reader.get("/v1/nodes").await.status == 401).then_some(())
    })
    .await;
    // A file that cannot be read changes nothing, and neither does one without any key.
    std::fs::write(&path, "[api]\nkeys = [").unwrap();
    until("the broken file is seen", SOON, || async {
        node.log().contains("not read again").then_some(())
    })
    .await;
    writer.get("/v1/nodes").await.ok();
}

#[tokio::test]
async fn dev_needs_no_key_on_this_machine() {
    let cluster = Cluster::dev().await;
    for port in &cluster.processes[0].internal {
        let backend = Backend::new(*port, None).await;
        let nodes = backend.get("/v1/nodes").await.ok();
        assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
    }
}
