//! What publishing costs Redis, in its own processor time. Run it with
//! `cargo test -p sparkway-store --test redis_cost -- --ignored --nocapture`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "this is a measurement: what fails, panics; it needs only a part of the server's harness"
)]

#[path = "redis_support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use server::Server;
use sparkway_protocol::{
    Durability, Epoch, Format, MessageId, NodeId, Partition, Payload, SessionId, TopicName, UserId,
};
use sparkway_store::feed::FeedRequest;
use sparkway_store::redis::{RedisSettings, RedisStore};
use sparkway_store::{Append, FeedEvent, Open, Retention, SessionRecord, Store, Subscription};

/// Messages of one measurement.
const MESSAGES: usize = 64_000;
/// Topics that the messages go to.
const TOPICS: usize = 8;

fn cpu_us(server: &Server) -> f64 {
    let text = server.cli(&["INFO", "cpu"]);
    let field = |name: &str| -> f64 {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().parse().unwrap()
    };
    (field("used_cpu_user:") + field("used_cpu_sys:")) * 1e6
}

async fn connect(server: &Server) -> RedisStore {
    let settings = RedisSettings::new(&server.url()).unwrap();
    RedisStore::connect(settings).await.unwrap()
}

fn topic(number: usize) -> TopicName {
    TopicName::parse(&format!("room:{}", number % TOPICS)).unwrap()
}

fn message(number: usize) -> Append {
    Append {
        topic: topic(number),
        payload: Payload::json(Bytes::from(vec![b'1'; 200])),
        from: None,
        origin: None,
        exclude_origin: false,
        digest: rand::random(),
        fence: None,
        trace: None,
        durability: Durability::Stored,
        retention: Retention::default(),
    }
}

async fn publish(store: Arc<RedisStore>, batch: usize, messages: usize) {
    for call in 0..messages / batch {
        let batch = (0..batch).map(|at| message(call * batch + at)).collect();
        let answers = store.append(Partition::default(), batch).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_publish_in_redis() {
    println!("followers batch tasks | redis us per message | messages/s");
    for followers in [0, 3] {
        let server = Server::start(&[]);
        let store = Arc::new(connect(&server).await);
        let mut nodes = Vec::new();
        for _ in 0..followers {
            let node = connect(&server).await;
            let mut feed = node.feed(Partition::default());
            let topics = (0..TOPICS).map(topic).collect();
            feed.handle.request(FeedRequest::Follow(topics)).await;
            for _ in 0..TOPICS {
                let live = feed.events.recv().await.unwrap();
                assert!(matches!(live, FeedEvent::Live { .. }));
            }
            nodes.push(tokio::spawn(async move {
                let _node = node;
                while feed.events.recv().await.is_some() {}
            }));
        }
        for (batch, tasks) in [(1, 1), (1, 32), (16, 8), (64, 2)] {
            let messages = if batch == 1 { MESSAGES / 4 } else { MESSAGES };
            publish(Arc::clone(&store), batch, 640).await;
            let (before, began) = (cpu_us(&server), Instant::now());
            let publishers: Vec<_> = (0..tasks)
                .map(|_| tokio::spawn(publish(Arc::clone(&store), batch, messages / tasks)))
                .collect();
            for publisher in publishers {
                publisher.await.unwrap();
            }
            let seconds = began.elapsed().as_secs_f64();
            let cost = (cpu_us(&server) - before) / messages as f64;
            let rate = messages as f64 / seconds;
            println!("{followers:9} {batch:5} {tasks:5} | {cost:20.1} | {rate:10.0}");
        }
        nodes.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn bytes_of(server: &Server, key: &str) -> String {
    let told = server.cli(&["MEMORY", "USAGE", key, "SAMPLES", "0"]);
    told.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bytes_of_keys_in_redis() {
    let server = Server::start(&[]);
    let store = Arc::new(connect(&server).await);
    for topics in [0, 5, 20, 100] {
        let session = SessionId::from_random(rand::random(), Partition::default());
        let name = |at| TopicName::parse(&format!("gift-list:{topics}{at:03}")).unwrap();
        let subscription = |at| Subscription {
            topic: name(at),
            start: MessageId::MAX,
            echo: true,
            presence: false,
            by_backend: false,
        };
        let record = SessionRecord {
            session,
            user: Some(UserId::parse(&format!("user-{topics}")).unwrap()),
            grants: "{\"subscribe\":[\"room:*\"]}".into(),
            expires_at_ms: Some(1_900_000_000_000),
            generation: 12,
            confirmed: 11,
            epoch: Epoch(0),
            owner: NodeId::parse("gateway-7c9f-1a2b3c4d").unwrap(),
            attached: true,
            format: Format::SparkJson,
            cursors: vec![MessageId::MAX],
            subscriptions: (0..topics).map(subscription).collect(),
        };
        let only_one = sparkway_store::OnlyOne::No;
        store.open(Open { record, only_one }).await.unwrap();
        let key = format!("sw:{{ms3}}:sess:{session}");
        println!("session with {topics} topics: {}", bytes_of(&server, &key));
        let key = format!("sw:{{ms3}}:user:user-{topics}");
        println!("  its user: {}", bytes_of(&server, &key));
    }
    for entries in [1, 10, 999] {
        publish(Arc::clone(&store), 1, entries * TOPICS).await;
        let log = bytes_of(&server, "sw:{ms3}:log:room:0");
        println!("log after {entries} more entries of 200 bytes: {log}");
    }
    println!("tip: {}", bytes_of(&server, "sw:{ms3}:tip:room:0"));
    let digests = server.cli(&["--raw", "KEYS", "sw:{ms3}:idem:*"]);
    for key in digests.lines() {
        let count = server.cli(&["HLEN", key]);
        println!("digests: {} in {}", bytes_of(&server, key), count.trim());
    }
}
