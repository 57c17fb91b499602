//! The live tail: what happens, as it happens; whoever does not read is let go.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{one_node, two_nodes};
use crate::harness::SOON;
use crate::harness::cluster::Cluster;
use crate::harness::operations::KEY;

/// A stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(port: u16, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!(
            "GET /v1/events?{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    /// The next event: its name and its data.
    async fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(SOON, self.0.read_line(&mut line))
                .await
                .expect("an event");
            assert!(read.unwrap() > 0, "the stream ended");
            if let Some(event) = line.strip_prefix("event: ") {
                event.trim().clone_into(&mut name);
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
    }
}

fn port(cluster: &Cluster, at: usize) -> u16 {
    cluster.processes[at].internal[0]
}

#[tokio::test]
async fn a_tail_shows_what_is_published_on_any_node() {
    let (cluster, backend, _) = two_nodes().await;
    let mut events = Events::open(port(&cluster, 1), "topic=tail:1&topic=tail:2").await;
    let (name, hello) = events.next().await;
    assert_eq!((name.as_str(), &hello["node"]), ("hello", &json!("node-b")));
    backend
        .post("/v1/publish", &json!({"topic": "tail:9", "data": 0}))
        .await
        .ok();
    let sent = backend
        .post(
            "/v1/publish",
            &json!({"topic": "tail:2", "data": {"a": 1}, "from": "ada"}),
        )
        .await
        .ok();
    let (name, message) = events.next().await;
    assert_eq!(name, "message");
    assert_eq!(
        (
            &message["topic"],
            &message["id"],
            &message["data"],
            &message["from"]
        ),
        (
            &json!("tail:2"),
            &sent["id"],
            &json!({"a": 1}),
            &json!("ada")
        )
    );
    backend
        .post(
            "/v1/publish",
            &json!({"topic": "tail:1", "data": "x", "ephemeral": true}),
        )
        .await
        .ok();
    let (name, message) = events.next().await;
    assert_eq!(
        (name.as_str(), &message["data"]),
        ("ephemeral", &json!("x"))
    );
    for wrong in ["", "topic=", "topic=a b"] {
        let answer = backend
            .get(&format!("/v1/events?{}", wrong.replace(' ', "%20")))
            .await;
        assert_eq!(answer.code(), "invalid", "{wrong}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_let_go_with_a_notice() {
    let (cluster, backend) = one_node().await;
    let mut events = Events::open(port(&cluster, 0), "topic=flood:1").await;
    assert_eq!(events.next().await.0, "hello");
    let data = "x".repeat(30_000);
    let messages: Vec<Value> = (0..100)
        .map(|_| json!({"topic": "flood:1", "data": data}))
        .collect();
    let batch = json!({"messages": messages});
    // Nobody reads meanwhile: more than sockets and queues hold.
    for _ in 0..25 {
        backend.post("/v1/publish/batch", &batch).await.ok();
    }
    let mut seen = 0;
    loop {
        match events.next().await {
            (name, _) if name == "message" => seen += 1,
            (name, notice) => {
                assert_eq!(
                    (name.as_str(), &notice["reason"]),
                    ("dropped", &json!("slow"))
                );
                break;
            }
        }
    }
    assert!(seen < 2500, "{seen}");
    let mut rest = Vec::new();
    timeout(SOON, events.0.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
}
