//! How many appends per second the embedded store takes: run by hand, with
//! `cargo test --release -p sparkway-store --test memory_rate -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sparkway_protocol::{Durability, Partition, Payload, TopicName};
use sparkway_store::feed::FeedRequest;
use sparkway_store::memory::{MemorySettings, MemoryStore};
use sparkway_store::{Append, FeedEvent, Retention, Store};

const MESSAGES: u64 = 1_000_000;
const TOPICS: usize = 100;

fn messages(count: usize, from: u64, topics: &[TopicName], payload: &Payload) -> Vec<Append> {
    let numbers = from..from + count as u64;
    let message = |(at, topic): (u64, &TopicName)| {
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Append {
            topic: topic.clone(),
            payload: payload.clone(),
            from: None,
            origin: None,
            exclude_origin: false,
            digest,
            fence: None,
            trace: None,
            durability: Durability::Stored,
            retention: Retention::default(),
        }
    };
    numbers.zip(topics.iter().cycle()).map(message).collect()
}

/// Appends batches of `batch` while one reader takes every entry; answers nanoseconds per message.
async fn run(batch: usize) -> f64 {
    let store = Arc::new(MemoryStore::new(MemorySettings::default()));
    let partition = Partition::default();
    let names = (0..TOPICS).map(|at| TopicName::parse(&format!("room:{at}")).unwrap());
    let topics: Vec<_> = names.collect();
    let mut feed = store.feed(partition);
    let follow = FeedRequest::Follow(topics.clone());
    assert!(feed.handle.request(follow).await);
    for _ in &topics {
        assert!(matches!(
            feed.events.recv().await,
            Some(FeedEvent::Live { .. })
        ));
    }
    let reader = tokio::spawn(async move {
        let (mut entries, mut repairs) = (0_u64, 0_u64);
        while let Some(event) = feed.events.recv().await {
            match event {
                FeedEvent::Entry(_) => entries += 1,
                FeedEvent::Restored { .. } => repairs += 1,
                FeedEvent::Live { .. }
                | FeedEvent::Ephemeral(_)
                | FeedEvent::Presence(_)
                | FeedEvent::Rewound(_) => {}
            }
            if entries == MESSAGES || repairs > 0 {
                break;
            }
        }
        (entries, repairs)
    });
    let payload = Payload::json(Bytes::from(vec![b'1'; 200]));
    let began = Instant::now();
    let mut sent = 0;
    while sent < MESSAGES {
        let answers = store
            .append(partition, messages(batch, sent, &topics, &payload))
            .await
            .unwrap();
        assert!(answers.iter().all(Result::is_ok));
        sent += batch as u64;
        // The reader shares the thread and takes up to 128 events in its turn.
        if sent.is_multiple_of(64) {
            tokio::task::yield_now().await;
        }
    }
    let taken = began.elapsed();
    assert_eq!(reader.await.unwrap(), (MESSAGES, 0), "the reader kept up");
    taken.as_secs_f64() * 1e9 / MESSAGES as f64
}

#[tokio::test]
#[ignore = "measures; proves nothing"]
async fn appends_per_second() {
    for batch in [1, 16, 64] {
        let nanoseconds = run(batch).await;
        println!("batch {batch}: {nanoseconds:.0} ns per append, one follower");
    }
}
