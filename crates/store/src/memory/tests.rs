//! What the embedded store does beyond the trait: lagging feeds, bounds, hooks for simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sparkway_protocol::{Durability, Entry, Format, Payload, UserId};

use super::*;
use crate::feed::{FEED_EVENTS, FeedRequest};
use crate::{FeedEvent, OnlyOne, Retention};

const P0: Partition = match Partition::new(0) {
    Some(partition) => partition,
    None => panic!("partition 0 exists"),
};
const AGE_MS: u64 = 1000;

/// A store with a clock of its own.
fn store(partitions: u8) -> (MemoryStore, Arc<AtomicU64>) {
    let now_ms = Arc::new(AtomicU64::new(1_800_000_000_000));
    let time = Arc::clone(&now_ms);
    let store = MemoryStore::new(MemorySettings {
        partitions: Partitions::new(partitions).unwrap(),
        clock: Arc::new(move || time.load(Ordering::Relaxed)),
        ..MemorySettings::default()
    });
    (store, now_ms)
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn message(name: &str) -> Append {
    Append {
        topic: topic(name),
        payload: Payload::json(Bytes::from_static(b"1")),
        from: None,
        origin: None,
        exclude_origin: false,
        digest: rand::random(),
        fence: None,
        trace: None,
        durability: Durability::Stored,
        retention: Retention {
            entries: 100_000,
            age_ms: AGE_MS,
        },
    }
}

async fn publish(store: &MemoryStore, name: &str) -> MessageId {
    let mut answers = store.append(P0, vec![message(name)]).await.unwrap();
    answers.pop().unwrap().unwrap().id
}

async fn log(store: &MemoryStore, name: &str) -> Vec<Arc<Entry>> {
    let want = Want {
        topic: topic(name),
        after: MessageId::ZERO,
    };
    let pages = store.read(P0, vec![want], 1_000_000).await.unwrap();
    pages.into_iter().flat_map(|page| page.entries).collect()
}

async fn next(feed: &mut Feed) -> FeedEvent {
    tokio::time::timeout(Duration::from_secs(10), feed.events.recv())
        .await
        .expect("an event in time")
        .expect("an open feed")
}

async fn following(store: &MemoryStore, names: &[&str]) -> Feed {
    let mut feed = store.feed(P0);
    let topics = names.iter().map(|name| topic(name)).collect();
    feed.handle.request(FeedRequest::Follow(topics)).await;
    for _ in names {
        assert!(matches!(next(&mut feed).await, FeedEvent::Live { .. }));
    }
    feed
}

/// Fills the queue of a feed that follows `name`, and one entry more.
async fn flood(store: &MemoryStore, name: &str) -> MessageId {
    for _ in 0..FEED_EVENTS {
        publish(store, name).await;
    }
    publish(store, name).await
}

fn record(partition: Partition) -> SessionRecord {
    SessionRecord {
        session: SessionId::from_random(rand::random(), partition),
        user: Some(UserId::parse("ann").unwrap()),
        grants: "".into(),
        expires_at_ms: None,
        generation: 1,
        confirmed: 1,
        epoch: Epoch(0),
        owner: NodeId::parse("n1").unwrap(),
        attached: true,
        format: Format::SparkJson,
        cursors: Vec::new(),
        subscriptions: Vec::new(),
    }
}

#[tokio::test]
async fn lagging_feed_is_restored_when_its_reader_has_drained() {
    let (store, _) = store(1);
    let mut feed = following(&store, &["a"]).await;
    let newest = flood(&store, "a").await;
    let mut last = MessageId::ZERO;
    for _ in 0..FEED_EVENTS {
        match next(&mut feed).await {
            FeedEvent::Entry(entry) => last = entry.id,
            other => panic!("{other:?}"),
        }
    }
    assert!(last < newest, "the last one did not fit");
    match next(&mut feed).await {
        FeedEvent::Restored { clock } => assert_eq!(clock, newest),
        other => panic!("{other:?}"),
    }
    let after = publish(&store, "a").await;
    match next(&mut feed).await {
        FeedEvent::Entry(entry) => assert_eq!((entry.id, entry.prev), (after, newest)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn loss_is_told_to_a_lagging_feed_before_it_repairs() {
    let (store, _) = store(1);
    let mut feed = following(&store, &["a"]).await;
    flood(&store, "a").await;
    let hole = store.lose_newest(P0, 3).unwrap();
    for _ in 0..FEED_EVENTS {
        assert!(matches!(next(&mut feed).await, FeedEvent::Entry(_)));
    }
    match next(&mut feed).await {
        FeedEvent::Rewound(told) => assert_eq!(told, hole),
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut feed).await, FeedEvent::Restored { .. }));
}

#[tokio::test]
async fn more_topics_than_the_queue_holds_all_become_live() {
    let (store, _) = store(1);
    let mut feed = store.feed(P0);
    let names: Vec<_> = (0..FEED_EVENTS * 2 + 10).map(|n| format!("t{n}")).collect();
    for names in names.chunks(100) {
        let topics = names.iter().map(|name| topic(name)).collect();
        feed.handle.request(FeedRequest::Follow(topics)).await;
    }
    let mut live = Vec::new();
    while live.len() < names.len() {
        match next(&mut feed).await {
            FeedEvent::Live { topic, .. } => live.push(topic.as_str().to_owned()),
            FeedEvent::Restored { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(live, names, "in the order of the requests");
}

#[tokio::test]
async fn forgotten_topic_does_not_become_live_afterwards() {
    let (store, _) = store(1);
    let mut feed = following(&store, &["a"]).await;
    flood(&store, "a").await;
    let ask = |request| feed.handle.request(request);
    ask(FeedRequest::Follow(vec![topic("b"), topic("c")])).await;
    ask(FeedRequest::Forget(vec![topic("b")])).await;
    loop {
        match next(&mut feed).await {
            FeedEvent::Live { topic: told, .. } => {
                assert_eq!(told, topic("c"));
                break;
            }
            FeedEvent::Entry(_) | FeedEvent::Restored { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn dropped_feed_is_unhooked_from_every_topic() {
    let (store, _) = store(1);
    let feed = following(&store, &["a", "b"]).await;
    let followers = || lock(&store.cells[0].logs).followers();
    assert_eq!(followers(), 2);
    drop(feed);
    let unhooked = async {
        while followers() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), unhooked)
        .await
        .expect("unhooked in time");
}

#[tokio::test]
async fn feed_of_a_missing_partition_is_closed() {
    let (store, _) = store(1);
    let mut feed = store.feed(Partition::new(5).unwrap());
    assert!(feed.events.recv().await.is_none());
    assert!(!feed.handle.request(FeedRequest::Follow(vec![])).await);
}

#[tokio::test]
async fn idle_topics_are_dropped_while_others_are_used() {
    let (store, now_ms) = store(1);
    for at in 0..1000 {
        publish(&store, &format!("t{at}")).await;
    }
    let topics = || lock(&store.cells[0].logs).topics();
    assert_eq!(topics(), 1000);
    // So many ids of one millisecond run ahead of the clock, by 3 ms.
    now_ms.fetch_add(AGE_MS, Ordering::Relaxed);
    for _ in 0..700 {
        publish(&store, "used").await;
    }
    assert_eq!(topics(), 1001, "tips outlive their logs");
    now_ms.fetch_add(AGE_MS + 10, Ordering::Relaxed);
    let before = store.tip(topic("t7")).await.unwrap();
    assert_ne!(before, MessageId::ZERO);
    for _ in 0..500 {
        publish(&store, "used").await;
    }
    assert_eq!(topics(), 1);
}

#[tokio::test]
async fn followed_topic_keeps_its_tip_until_the_last_follower_goes() {
    let (store, now_ms) = store(1);
    let feed = following(&store, &["a"]).await;
    let id = publish(&store, "a").await;
    let sweep = || store.sweep(P0, 1000, 10);
    for _ in 0..5 {
        now_ms.fetch_add(2 * AGE_MS, Ordering::Relaxed);
        sweep().await.unwrap();
    }
    assert_eq!(store.tip(topic("a")).await.unwrap(), id);
    assert!(log(&store, "a").await.is_empty());
    let forget = FeedRequest::Forget(vec![topic("a")]);
    assert!(feed.handle.request(forget).await);
    let dropped = async {
        while lock(&store.cells[0].logs).topics() > 0 {
            sweep().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dropped)
        .await
        .expect("dropped in time");
}

#[tokio::test]
async fn ids_rise_when_the_clock_is_set_back() {
    let (store, now_ms) = store(1);
    let before = publish(&store, "a").await;
    now_ms.fetch_sub(3_600_000, Ordering::Relaxed);
    let after = publish(&store, "a").await;
    assert!(after > before);
    let entries = log(&store, "a").await;
    assert_eq!(entries.len(), 2, "nothing is trimmed by a clock set back");
    assert_eq!(entries[1].prev, before);
}

#[tokio::test]
async fn entries_are_kept_by_count_and_by_age_exactly() {
    let (store, now_ms) = store(1);
    let mut given = Vec::new();
    for _ in 0..10 {
        let retention = Retention {
            entries: 4,
            age_ms: AGE_MS,
        };
        let few = Append {
            retention,
            ..message("a")
        };
        let answers = store.append(P0, vec![few]).await.unwrap();
        given.push(answers[0].clone().unwrap().id);
        now_ms.fetch_add(100, Ordering::Relaxed);
    }
    let ids = async || {
        let entries = log(&store, "a").await;
        entries.iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, given[6..]);
    // The newest was given 100 ms ago; the last but one 200 ms ago.
    now_ms.fetch_add(AGE_MS - 200, Ordering::Relaxed);
    assert_eq!(ids().await, given[9..]);
}

#[tokio::test]
async fn newest_entries_of_the_partition_are_lost_on_demand() {
    let (store, _) = store(1);
    let mut feed = following(&store, &["a", "b"]).await;
    let kept = [publish(&store, "a").await, publish(&store, "b").await];
    let lost = [publish(&store, "a").await, publish(&store, "b").await];
    let hole = store.lose_newest(P0, 2).unwrap();
    assert_eq!(hole.after, kept[1]);
    assert!(hole.before > lost[1]);
    assert_eq!(store.holes(P0).await.unwrap(), [hole]);
    assert_eq!(store.tip(topic("a")).await.unwrap(), kept[0]);
    assert_eq!(store.tip(topic("b")).await.unwrap(), kept[1]);
    for _ in 0..4 {
        assert!(matches!(next(&mut feed).await, FeedEvent::Entry(_)));
    }
    assert!(matches!(next(&mut feed).await, FeedEvent::Rewound(told) if told == hole));
    let after = publish(&store, "a").await;
    assert!(after > hole.before);
    assert_eq!(log(&store, "a").await[1].prev, kept[0]);
    for _ in 0..20 {
        store.lose_newest(P0, 0).unwrap();
    }
    assert_eq!(store.holes(P0).await.unwrap().len(), 16);
    assert_eq!(log(&store, "a").await.len(), 2, "nothing more is lost");
}

#[tokio::test]
async fn topics_and_sessions_of_other_partitions_are_refused() {
    let (store, _) = store(2);
    let layout = store.partitions();
    let foreign = (0..100)
        .map(|at| format!("t{at}"))
        .find(|name| layout.of(name) != P0)
        .unwrap();
    let refused = store.append(P0, vec![message(&foreign)]).await;
    assert!(matches!(refused, Err(StoreError::Layout(_))));
    let want = Want {
        topic: topic(&foreign),
        after: MessageId::ZERO,
    };
    let refused = store.read(P0, vec![want], 10).await;
    assert!(matches!(refused, Err(StoreError::Layout(_))));
    let record = record(Partition::new(7).unwrap());
    let session = record.session;
    assert_eq!(store.load(session).await, Ok(None));
    assert_eq!(store.end(session, Epoch(1)).await, Ok(()));
    assert_eq!(store.restore(record.clone()).await, Err(WriteError::Gone));
    let open = Open {
        record,
        only_one: OnlyOne::No,
    };
    let refused = store.open(open).await;
    assert!(matches!(refused, Err(StoreError::Layout(_))));
}

#[tokio::test]
async fn repeated_restore_is_one_restore() {
    let (store, _) = store(1);
    let record = record(P0);
    assert_eq!(store.restore(record.clone()).await, Ok(Epoch(1)));
    assert_eq!(store.restore(record.clone()).await, Ok(Epoch(1)));
    let claim = Claim {
        session: record.session,
        generation: 1,
        node: record.owner.clone(),
        nonce: 1,
    };
    store.claim(claim).await.unwrap();
    assert_eq!(store.restore(record).await, Err(WriteError::Fenced));
}

#[tokio::test]
async fn removed_session_is_forgotten_in_the_end() {
    let (store, now_ms) = store(1);
    let (first, second) = (record(P0), record(P0));
    for record in [first.clone(), second.clone()] {
        let open = Open {
            record,
            only_one: OnlyOne::OfUser,
        };
        store.open(open).await.unwrap();
    }
    assert_eq!(store.restore(first.clone()).await, Err(WriteError::Fenced));
    let epoch = Epoch(1);
    assert_eq!(store.end(second.session, epoch).await, Ok(()));
    now_ms.fetch_add(3_600_000, Ordering::Relaxed);
    store.sweep(P0, 1000, 10).await.unwrap();
    let nothing = Remember::nothing(first.session, epoch);
    assert_eq!(store.remember(nothing).await, Err(WriteError::Gone));
    assert!(lock(&store.cells[0].sessions).is_empty());
    assert!(lock(&store.cells[0].members).is_empty());
}

#[tokio::test]
async fn write_happens_when_it_is_polled_and_not_before() {
    let (store, _) = store(1);
    drop(store.append(P0, vec![message("a")]));
    assert!(log(&store, "a").await.is_empty());
}
