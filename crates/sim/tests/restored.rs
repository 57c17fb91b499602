//! Sessions that are taken up again: from a store that goes back, on a node that is behind.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sparkway_metrics::Metrics;
use sparkway_protocol::{NodeId, SessionId, TopicName};
use sparkway_sim::cluster::Cluster;
use sparkway_sim::line::{Heard, Line};
use sparkway_sim::plan::Plan;
use sparkway_store::{Control, Directory as _, Remember, SessionRecord, Store as _};
use tokio::time::{sleep, timeout};

/// For how long the second node hears nothing, in milliseconds.
const DEAF_MS: u64 = 3000;

/// So many nodes that nothing happens to by itself.
async fn calm(nodes: usize) -> Arc<Cluster> {
    let plan = Plan {
        nodes,
        workers: 1,
        ..Plan::of(1)
    };
    let cluster = Cluster::new(&plan, Metrics::new());
    cluster.weather.calm_down();
    for at in 0..nodes {
        cluster.start(at).await;
    }
    cluster
}

fn dial(cluster: &Arc<Cluster>, at: usize) -> Line {
    Line::new(0, cluster.connect(at, 0).unwrap())
}

/// A client with a new session, and what it was told of it.
async fn connect(cluster: &Arc<Cluster>, at: usize) -> (Line, Value) {
    let mut line = dial(cluster, at);
    line.send(&json!({"type": "ws:connect"}).to_string());
    let welcome = hear(&mut line, "ws:connect_ack").await;
    (line, welcome)
}

/// A client that asks to go on with the session of this welcome, and does not wait for the answer.
fn resume(cluster: &Arc<Cluster>, at: usize, welcome: &Value) -> Line {
    let mut line = dial(cluster, at);
    let data = json!({
        "session_id": welcome["session_id"],
        "heartbeat_token": welcome["heartbeat_token"],
    });
    line.send(&json!({"type": "ws:resume", "data": data}).to_string());
    line
}

/// The data of the next frame of this type.
async fn hear(line: &mut Line, kind: &str) -> Value {
    frame(line, kind).await["data"].clone()
}

/// The next frame of this type.
async fn frame(line: &mut Line, kind: &str) -> Value {
    loop {
        match poll_fn(|cx| line.poll_hear(cx)).await {
            Heard::Frame(frame) if frame["type"] == kind => return frame,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code:?} before {kind}"),
        }
    }
}

/// Subscribes, and waits for the answer.
async fn follow(line: &mut Line, topics: &[&str]) {
    let topics = json!({"topics": topics});
    line.send(&json!({"type": "topic:subscribe", "id": "s", "data": topics}).to_string());
    hear(line, "ws:ack").await;
}

/// The session's record, once it is as wanted.
async fn record(
    cluster: &Arc<Cluster>,
    session: SessionId,
    is_wanted: impl Fn(&SessionRecord) -> bool,
) -> SessionRecord {
    let looking = async {
        loop {
            let record = cluster.store.load(session).await.unwrap();
            if let Some(record) = record.filter(&is_wanted) {
                return record;
            }
            // Time is virtual.
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_millis(DEAF_MS / 2), looking)
        .await
        .unwrap()
}

/// A node claims a session, and the store goes back behind the claim before the session has its
/// places: what the node writes again is the session as it was claimed.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_written_again_while_it_takes_its_places_keeps_its_topics() {
    let cluster = calm(2).await;
    let (mut first, welcome) = connect(&cluster, 0).await;
    follow(&mut first, &["t:0"]).await;
    let session = SessionId::parse(welcome["session_id"].as_str().unwrap()).unwrap();
    let begun = record(&cluster, session, |record| !record.subscriptions.is_empty()).await;
    let saved = cluster.store.save();

    // Its feed has no connection: it cannot follow the topic yet.
    cluster.weather.deafen(1, DEAF_MS);
    let mut second = resume(&cluster, 1, &welcome);
    let heard = poll_fn(|cx| second.poll_hear(cx));
    let claimed = async {
        record(&cluster, session, |record| record.epoch > begun.epoch).await;
        cluster.store.restart_from(&saved);
        let node = NodeId::parse("n1-1").unwrap();
        cluster.store.tell(node, Control::Restored).await.unwrap();
        record(&cluster, session, |record| record.epoch > begun.epoch).await
    };
    let written = tokio::select! {
        biased;
        written = claimed => written,
        heard = heard => panic!("{heard:?} before the node follows the topic"),
    };
    assert_eq!(written.owner.as_str(), "n1-1");
    assert_eq!(written.subscriptions.len(), begun.subscriptions.len());
    assert_eq!(written.subscriptions[0].topic, begun.subscriptions[0].topic);
    hear(&mut second, "ws:resume_ack").await;
}

/// A backend takes a topic away from a session that a node has claimed, and that has no places yet.
#[tokio::test(start_paused = true)]
async fn a_topic_that_a_backend_takes_away_during_a_resume_stays_away() {
    let cluster = calm(2).await;
    let (mut publisher, _) = connect(&cluster, 0).await;
    let (mut first, welcome) = connect(&cluster, 0).await;
    follow(&mut first, &["t:0", "t:1"]).await;
    let session = SessionId::parse(welcome["session_id"].as_str().unwrap()).unwrap();
    let begun = record(&cluster, session, |record| record.subscriptions.len() == 2).await;

    // Its feed has no connection: it cannot follow the topics yet.
    cluster.weather.deafen(1, DEAF_MS);
    let mut second = resume(&cluster, 1, &welcome);
    let heard = poll_fn(|cx| second.poll_hear(cx));
    let taking = async {
        let claimed = record(&cluster, session, |record| record.epoch > begun.epoch).await;
        let topics = vec![TopicName::parse("t:0").unwrap()];
        let mut change = Remember::nothing(session, claimed.epoch);
        change.unsubscribed.clone_from(&topics);
        cluster.store.remember(change).await.unwrap();
        let delist = Control::Delist { session, topics };
        cluster.store.tell(claimed.owner, delist).await.unwrap();
    };
    tokio::select! {
        biased;
        () = taking => {}
        heard = heard => panic!("{heard:?} before the node follows the topics"),
    }
    hear(&mut second, "ws:resume_ack").await;
    publish(&mut publisher, "t:0", 0).await;
    let kept = publish(&mut publisher, "t:1", 1).await;
    assert_eq!(frame(&mut second, "topic:message").await["id"], json!(kept));
    let topics = record(&cluster, session, |_| true).await.subscriptions;
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0].topic.as_str(), "t:1");
}

/// A record is on its way to a store that lost it, and names a topic that is left meanwhile.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_left_while_its_session_is_written_again_stays_left() {
    let cluster = calm(1).await;
    let empty = cluster.store.save();
    let (mut client, welcome) = connect(&cluster, 0).await;
    follow(&mut client, &["t:0", "t:1"]).await;
    let session = SessionId::parse(welcome["session_id"].as_str().unwrap()).unwrap();
    let begun = record(&cluster, session, |record| record.subscriptions.len() == 2).await;

    cluster.weather.slow_restores(DEAF_MS / 6);
    cluster.store.restart_from(&empty);
    let node = NodeId::parse("n0-1").unwrap();
    cluster.store.tell(node, Control::Restored).await.unwrap();
    // Time is virtual: it is on its way.
    sleep(Duration::from_millis(DEAF_MS / 12)).await;
    let topics = json!({"topics": ["t:0"]});
    client.send(&json!({"type": "topic:unsubscribe", "id": "u", "data": topics}).to_string());
    hear(&mut client, "ws:ack").await;
    assert_eq!(cluster.store.load(session).await, Ok(None), "not written");
    record(&cluster, session, |record| {
        let topics = record.subscriptions.iter();
        let topics: Vec<&str> = topics.map(|sub| sub.topic.as_str()).collect();
        record.epoch > begun.epoch && topics == ["t:1"]
    })
    .await;
}

/// The id of the message that was published.
async fn publish(line: &mut Line, topic: &str, number: u32) -> String {
    let data = json!([number, "x".repeat(100)]);
    let id = format!("{topic} {number}");
    let frame = json!({"type": "topic:publish", "id": id, "topic": topic, "data": data});
    line.send(&frame.to_string());
    let answer = hear(line, "ws:ack").await;
    answer["result"]["id"].as_str().unwrap().to_owned()
}

/// The node has seen nothing of what the client had from another one, and while it catches up the
/// client's outbox is full: where it goes on from is not where the node stands.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_fed_on_a_node_behind_it_is_not_given_again_what_it_named() {
    // Whichever partition the node catches up with first.
    for topics in [["t:0", "t:2"], ["t:2", "t:0"]] {
        is_fed_behind(topics).await;
    }
}

async fn is_fed_behind([seen, missed]: [&str; 2]) {
    let plan = Plan {
        nodes: 2,
        workers: 1,
        partitions: 2,
        outbox: 600,
        pipe: 256,
        page: 2,
        ..Plan::of(1)
    };
    let cluster = Cluster::new(&plan, Metrics::new());
    cluster.weather.calm_down();
    cluster.start(0).await;
    cluster.start(1).await;
    let layout = cluster.store.partitions();
    assert_ne!(layout.of(seen), layout.of(missed));

    let (mut first, welcome) = connect(&cluster, 0).await;
    follow(&mut first, &[seen, missed]).await;
    let (mut publisher, _) = connect(&cluster, 0).await;
    let (mut guest, _) = connect(&cluster, 1).await;
    // The second node follows both topics, and hears nothing from now on.
    follow(&mut guest, &[seen, missed]).await;
    guest.frozen = true;
    cluster.weather.deafen(1, DEAF_MS);
    let mut named = vec![publish(&mut publisher, missed, 0).await];
    for number in 0..20 {
        named.push(publish(&mut publisher, seen, number).await);
    }
    for _ in 0..named.len() {
        hear(&mut first, "topic:message").await;
    }
    drop(first);
    let mut owed = Vec::new();
    for number in 1..20 {
        owed.push(publish(&mut publisher, missed, number).await);
    }

    let mut second = dial(&cluster, 1);
    let resume = json!({
        "session_id": welcome["session_id"],
        "heartbeat_token": welcome["heartbeat_token"],
        "last_message_id": [named.first(), named.last()],
    });
    second.send(&json!({"type": "ws:resume", "data": resume}).to_string());
    hear(&mut second, "ws:resume_ack").await;
    assert!(cluster.weather.deaf_ms(1) > 0, "the node has seen nothing");
    sleep(Duration::from_millis(DEAF_MS * 2)).await;
    // Behind both, so that nothing comes later either.
    owed.push(publish(&mut publisher, missed, 20).await);
    let marker = publish(&mut publisher, seen, 20).await;
    let mut given = [Vec::new(), Vec::new()];
    for _ in 0..=owed.len() {
        let message = frame(&mut second, "topic:message").await;
        let id = message["id"].as_str().unwrap().to_owned();
        given[usize::from(message["topic"] == seen)].push(id);
    }
    assert_eq!(given, [owed, vec![marker]]);
}
