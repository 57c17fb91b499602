//! The example backend of `deploy/examples`, asked by real nodes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{Encoding, Incoming, RawMessage, Wire};

use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, last_words, next, open, whole};
use crate::harness::redis::Redis;
use crate::harness::{SOON, until};

const HOOK_SECRET: &str = "the-secret-of-the-example-backend";

/// The process, and what it printed. It ends with the handle.
struct Example {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Example {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/backend.py");
        let mut child = Command::new("python3")
            .args([script, "0"])
            .env("SPARKWAY_HOOK_SECRET", HOOK_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        out.read_line(&mut first).expect("a line");
        let port = first.trim().rsplit(' ').next().expect("a word").parse();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                told.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            child,
            port: port.expect("a port"),
            lines,
        }
    }

    /// Settings of a node that asks it everything.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://127.0.0.1:{}/", self.port);
        [
            "hooks.connect",
            "hooks.subscribe",
            "hooks.publish",
            "hooks.message",
            "hooks.rpc",
            "hooks.refresh",
            "hooks.events",
        ]
        .map(|hook| (hook, url.clone()))
        .into_iter()
        .chain([
            ("auth.mode", "required".to_owned()),
            ("hooks.secret", HOOK_SECRET.to_owned()),
            ("hooks.timeout", "5s".to_owned()),
            ("namespaces.private.subscribe", "hook".to_owned()),
            ("namespaces.private.publish", "hook".to_owned()),
            ("session.resume_window", "1s".to_owned()),
        ])
        .collect()
    }

    fn told(&self, kind: &str, session: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        let is_it = |event: &&Value| event["type"] == kind && event["session"] == session;
        lines.iter().filter(is_it).count()
    }

    async fn hears(&self, kind: &str, session: &str) -> Value {
        until(kind, 6 * SOON, async || {
            let lines = self.lines.lock().unwrap();
            lines
                .iter()
                .find(|event| event["type"] == kind && event["session"] == session)
                .cloned()
        })
        .await
    }
}

/// Of a topic: kinds and users, in the order in which they were told.
fn of_topic(example: &Example, topic: &str) -> Vec<(String, Value)> {
    let lines = example.lines.lock().unwrap();
    lines
        .iter()
        .filter(|event| event["topic"] == topic)
        .map(|event| {
            assert_eq!(event["session"], Value::Null, "{event}");
            (
                event["type"].to_string().replace('"', ""),
                event["user"].clone(),
            )
        })
        .collect()
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}

/// The next frame of a dialect that is not Spark.
async fn heard(wire: &mut Wire) -> Value {
    let incoming = tokio::time::timeout(SOON, wire.next()).await;
    match incoming.expect("a frame comes") {
        Incoming::Frame(frame) => whole(&frame),
        Incoming::Other(RawMessage::Text(text)) => serde_json::from_str(&text).expect("JSON"),
        other => panic!("no frame: {other:?}"),
    }
}

#[tokio::test]
async fn the_example_lets_in_decides_topics_and_answers_calls_and_messages() {
    let example = Example::start();
    let settings = example.settings();
    let cluster = Cluster::memory(&borrowed(&settings)).await;
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": "somebody"}});
    wire.send(&connect).await.unwrap();
    assert_eq!(next(&mut wire).await["data"]["code"], "unauthorized");
    assert_eq!(last_words(&mut wire).await.1.code, Some(1008));

    let mut ada = Peer::connect_as(cluster.first(), "user-ada").await;
    assert_eq!(ada.welcome["data"]["gateway"]["user"], "ada");
    let topics = json!({"topics": ["private:ada:1", "private:eve:1", "open"]});
    let result = ada.done("topic:subscribe", topics).await;
    assert_eq!(
        result["rejected"],
        json!([{"topic": "private:eve:1", "code": "forbidden"}])
    );
    ada.publish("private:ada:1", json!("LOUD")).await;
    assert_eq!(ada.message().await["data"], json!("loud"));
    let call = json!({"method": "add", "params": [1, 2, 39]});
    let result = ada.done("rpc:call", call).await;
    assert_eq!(result["result"], json!({"sum": 42}));
    let call = json!({"method": "subtract", "params": []});
    assert_eq!(ada.refused("rpc:call", call).await, "not_found");

    let url = cluster
        .first()
        .replace("/ws", "/ws/conversation?token=user-eve");
    let mut talk = open(&url, Encoding::Json).await;
    let connect = json!({"type": "connect", "clientId": "c1", "version": "1",
        "timestamp": "2026-01-01T00:00:00.000Z"});
    talk.send(&connect).await.unwrap();
    assert_eq!(heard(&mut talk).await["type"], "connect_confirm");
    let message = json!({"type": "message", "clientId": "c1", "messageId": "m1",
        "content": "hello", "timestamp": "2026-01-01T00:00:00.000Z"});
    talk.send(&message).await.unwrap();
    let response = heard(&mut talk).await;
    assert_eq!(response["type"], "response", "{response}");
    assert_eq!(response["content"], "You said: hello");
    assert_eq!(response["messageId"], "m1");

    let session = ada.ticket.session.clone();
    let opened = example.hears("session.opened", &session).await;
    assert_eq!(opened["user"], "ada");
    ada.wire.close(1000, "").await.unwrap();
    example.hears("session.closed", &session).await;
}

/// What a killed node could not tell, another one does, and each event once.
#[tokio::test]
async fn events_of_a_killed_node_are_told_by_another() {
    let example = Example::start();
    let settings = example.settings();
    let redis = Redis::start().await;
    let both = borrowed(&settings);
    let mut cluster = Cluster::with_redis(redis, &both, &both).await;
    let lost = Peer::connect_as(cluster.first(), "user-ada").await;
    let kept = Peer::connect_as(cluster.second(), "user-eve").await;
    for peer in [&lost, &kept] {
        example.hears("session.opened", &peer.ticket.session).await;
    }
    cluster.processes[0].kill();
    let expired = example.hears("session.expired", &lost.ticket.session).await;
    assert_eq!(expired["user"], "ada");
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (kind, times) in [
        ("session.opened", 1),
        ("session.expired", 1),
        ("session.closed", 0),
    ] {
        assert_eq!(example.told(kind, &lost.ticket.session), times, "{kind}");
    }
    assert_eq!(example.told("session.expired", &kept.ticket.session), 0);
}

/// Who is in a topic is told once, in order, and also of a node that was killed.
#[tokio::test]
async fn who_comes_and_leaves_is_told_once_also_after_a_kill() {
    let example = Example::start();
    let mut settings = example.settings();
    settings.push(("presence.grace", "1s".to_owned()));
    let both = borrowed(&settings);
    let mut cluster = Cluster::with_redis(Redis::start().await, &both, &both).await;
    let mut ada = Peer::connect_as(cluster.first(), "user-ada").await;
    let mut again = Peer::connect_as(cluster.second(), "user-ada").await;
    let mut eve = Peer::connect_as(cluster.second(), "user-eve").await;
    let told = async |wanted: &[(&str, Option<&str>)]| {
        let wanted: Vec<(String, Value)> = wanted
            .iter()
            .map(|(kind, user)| ((*kind).to_owned(), json!(user)))
            .collect();
        until("they are told", 6 * SOON, async || {
            let heard = of_topic(&example, "room:1");
            assert!(wanted.starts_with(&heard), "{heard:?}");
            (heard == wanted).then_some(())
        })
        .await;
    };
    let (came, went) = ("presence.joined", "presence.left");
    let mut all = vec![("topic.occupied", None), (came, Some("ada"))];
    ada.subscribe(&["room:1"]).await;
    told(&all).await;
    again.subscribe(&["room:1"]).await;
    eve.subscribe(&["room:1"]).await;
    all.push((came, Some("eve")));
    told(&all).await;
    again
        .done("topic:unsubscribe", json!({"topics": ["room:1"]}))
        .await;
    eve.done("topic:unsubscribe", json!({"topics": ["room:1"]}))
        .await;
    all.push((went, Some("eve")));
    told(&all).await;
    // Her only session there was on the node that is killed: another one tells.
    cluster.processes[0].kill();
    all.extend([(went, Some("ada")), ("topic.vacated", None)]);
    told(&all).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    told(&all).await;
}
