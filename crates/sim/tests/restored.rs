//! A store that goes back while a session is being taken up again.

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
use sparkway_protocol::{NodeId, SessionId};
use sparkway_sim::cluster::Cluster;
use sparkway_sim::line::{Heard, Line};
use sparkway_sim::plan::Plan;
use sparkway_store::{Control, Directory as _, SessionRecord, Store as _};
use tokio::time::{sleep, timeout};

/// For how long the second node hears nothing, in milliseconds.
const DEAF_MS: u64 = 3000;

fn dial(cluster: &Arc<Cluster>, at: usize) -> Line {
    Line::new(0, cluster.connect(at, 0).unwrap())
}

/// The data of the next frame of this type.
async fn hear(line: &mut Line, kind: &str) -> Value {
    loop {
        match poll_fn(|cx| line.poll_hear(cx)).await {
            Heard::Frame(frame) if frame["type"] == kind => return frame["data"].clone(),
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed with {code:?} before {kind}"),
        }
    }
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
    let plan = Plan {
        nodes: 2,
        workers: 1,
        ..Plan::of(1)
    };
    let cluster = Cluster::new(&plan, Metrics::new());
    cluster.weather.calm_down();
    cluster.start(0).await;
    cluster.start(1).await;
    let mut first = dial(&cluster, 0);
    first.send(&json!({"type": "ws:connect"}).to_string());
    let welcome = hear(&mut first, "ws:connect_ack").await;
    let topics = json!({"topics": ["t:0"]});
    first.send(&json!({"type": "topic:subscribe", "id": "s", "data": topics}).to_string());
    hear(&mut first, "ws:ack").await;
    let session = SessionId::parse(welcome["session_id"].as_str().unwrap()).unwrap();
    let begun = record(&cluster, session, |record| !record.subscriptions.is_empty()).await;
    let saved = cluster.store.save();

    // Its feed has no connection: it cannot follow the topic yet.
    cluster.weather.deafen(1, DEAF_MS);
    let mut second = dial(&cluster, 1);
    let token = &welcome["heartbeat_token"];
    let resume = json!({"session_id": session.to_string(), "heartbeat_token": token});
    second.send(&json!({"type": "ws:resume", "data": resume}).to_string());
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

/// A record is on its way to a store that lost it, and names a topic that is left meanwhile.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_left_while_its_session_is_written_again_stays_left() {
    let plan = Plan {
        nodes: 1,
        workers: 1,
        ..Plan::of(1)
    };
    let cluster = Cluster::new(&plan, Metrics::new());
    cluster.weather.calm_down();
    cluster.start(0).await;
    let empty = cluster.store.save();
    let mut client = dial(&cluster, 0);
    client.send(&json!({"type": "ws:connect"}).to_string());
    let welcome = hear(&mut client, "ws:connect_ack").await;
    let topics = json!({"topics": ["t:0", "t:1"]});
    client.send(&json!({"type": "topic:subscribe", "id": "s", "data": topics}).to_string());
    hear(&mut client, "ws:ack").await;
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
