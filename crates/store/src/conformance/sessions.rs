//! Session records: written, changed, read back.

use sparkway_protocol::{
    Epoch, Format, MessageId, NodeId, Partition, SessionId, TopicName, UserId,
};

use super::fixture::Fixture;
use super::log::odd_names;
use super::sample::{Bench, claim, detach};
use crate::{OnlyOne, Open, Remember, SessionRecord, Subscription};

/// What a record says apart from the order of its lists.
fn sorted(mut record: SessionRecord) -> SessionRecord {
    record.cursors.sort_unstable();
    record
        .subscriptions
        .sort_by(|one, other| one.topic.cmp(&other.topic));
    record
}

fn subscription(topic: &TopicName, start: u64) -> Subscription {
    Subscription {
        topic: topic.clone(),
        start: MessageId::new(start).unwrap(),
        echo: start.is_multiple_of(2),
        presence: start.is_multiple_of(3),
        by_backend: start.is_multiple_of(5),
    }
}

pub(super) async fn session_round_trips(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let owner = bench.node().await;
    for format in Format::ALL {
        for expires_at_ms in [None, Some(0), Some(u64::MAX >> 11)] {
            let mut record = bench.record(&owner);
            record.format = format;
            record.expires_at_ms = expires_at_ms;
            record.grants = "{\"ü\":\"\\n \0 }{\"}".into();
            record.generation = u32::MAX - 1;
            record.confirmed = u32::MAX - 2;
            record.cursors = vec![MessageId::MAX];
            record.subscriptions = vec![subscription(&bench.topic("a"), 6)];
            let open = Open {
                record: record.clone(),
                only_one: OnlyOne::No,
            };
            let opened = bench.store.open(open).await.unwrap();
            assert!(opened.removed.is_empty());
            record.epoch = opened.epoch;
            assert_eq!(other.load(record.session).await, Some(record));
        }
    }
}

pub(super) async fn session_without_user_round_trips(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let mut records = Vec::new();
    for _ in 0..2 {
        let mut record = bench.record(&owner);
        record.user = None;
        record.expires_at_ms = None;
        record.grants = "".into();
        let open = Open {
            record: record.clone(),
            only_one: OnlyOne::OfUser,
        };
        let opened = bench.store.open(open).await.unwrap();
        assert!(opened.removed.is_empty(), "strangers are not one user");
        record.epoch = opened.epoch;
        records.push(record);
    }
    for record in records {
        assert_eq!(bench.load(record.session).await, Some(record));
    }
}

pub(super) async fn odd_user_and_node_names_round_trip(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    for name in odd_names() {
        let text = format!("{} |,", name.as_str().chars().take(60).collect::<String>());
        let user = UserId::parse(&text).unwrap();
        let node = NodeId::parse(&text).unwrap();
        let there = Bench {
            partition: bench.layout.of(user.as_str()),
            ..bench.clone()
        };
        there.lease(&node, 60_000).await;
        let record = there
            .open_record(there.record_of(user.clone(), &node))
            .await;
        assert_eq!((record.user, record.owner), (Some(user), node));
    }
}

pub(super) async fn repeated_open_is_one_session(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let record = bench.record(&bench.node().await);
    let open = || Open {
        record: record.clone(),
        only_one: OnlyOne::OfUser,
    };
    let first = bench.store.open(open()).await.unwrap();
    let again = other.store.open(open()).await.unwrap();
    assert_eq!(first.epoch, again.epoch);
    assert!(again.removed.is_empty(), "a session does not remove itself");
    let held = bench.load(record.session).await.unwrap();
    assert_eq!(held.epoch, first.epoch);
    let change = Remember::nothing(record.session, first.epoch);
    assert_eq!(bench.store.remember(change).await, Ok(()));
}

pub(super) async fn late_repeat_of_an_open_takes_nothing_back(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let record = bench.record(&former);
    let open = || Open {
        record: record.clone(),
        only_one: OnlyOne::No,
    };
    bench.store.open(open()).await.unwrap();
    let claimed = other.store.claim(claim(record.session, 1, &owner)).await;
    let claimed = claimed.unwrap().record;
    let again = bench.store.open(open()).await.unwrap();
    assert!(again.epoch < claimed.epoch, "what it may do is fenced");
    assert_eq!(bench.load(record.session).await, Some(claimed));
}

pub(super) async fn cursors_and_subscriptions_round_trip(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let mut record = bench.open(&bench.node().await).await;
    let odd = odd_names();
    let change = |subscribed, unsubscribed, cursors| Remember {
        subscribed,
        unsubscribed,
        cursors,
        ..Remember::nothing(record.session, Epoch(1))
    };
    let cursor = |number, ms| {
        let partition = Partition::new(number).unwrap();
        MessageId::at(sparkway_protocol::id::ID_EPOCH_MS + ms, partition)
    };
    let all: Vec<_> = (1..)
        .zip(&odd)
        .map(|(start, topic)| subscription(topic, start))
        .collect();
    let first = change(all.clone(), vec![], vec![cursor(0, 5), cursor(3, 7)]);
    bench.store.remember(first).await.unwrap();
    let newer = subscription(&odd[1], 600);
    let second = change(
        vec![newer.clone()],
        vec![odd[0].clone(), bench.topic("never-subscribed")],
        vec![cursor(3, 9), cursor(15, 1)],
    );
    bench.store.remember(second).await.unwrap();
    record.subscriptions = all[1..].to_vec();
    record.subscriptions[0] = newer;
    record.cursors = vec![cursor(0, 5), cursor(3, 9), cursor(15, 1)];
    let held = other.load(record.session).await.unwrap();
    assert_eq!(sorted(held), sorted(record.clone()));
    // A detach moves cursors too.
    let leave = crate::Detach {
        cursors: vec![cursor(0, 8)],
        ..detach(record.session, Epoch(1), 60_000)
    };
    bench.detach(leave).await.unwrap();
    record.cursors[0] = cursor(0, 8);
    record.attached = false;
    let held = other.load(record.session).await.unwrap();
    assert_eq!(sorted(held), sorted(record));
}

pub(super) async fn remember_changes_only_what_it_names(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let mut record = bench.open(&bench.node().await).await;
    let (session, epoch) = (record.session, record.epoch);
    let nothing = Remember::nothing(session, epoch);
    bench.store.remember(nothing.clone()).await.unwrap();
    assert_eq!(bench.load(session).await.as_ref(), Some(&record));
    let grants = Remember {
        grants: Some(("new".into(), None)),
        ..nothing.clone()
    };
    bench.store.remember(grants).await.unwrap();
    record.grants = "new".into();
    record.expires_at_ms = None;
    assert_eq!(bench.load(session).await.as_ref(), Some(&record));
    let generations = Remember {
        generations: Some((8, 7)),
        ..nothing
    };
    // Twice: a write whose answer was lost is repeated.
    bench.store.remember(generations.clone()).await.unwrap();
    bench.store.remember(generations).await.unwrap();
    (record.generation, record.confirmed) = (8, 7);
    assert_eq!(bench.load(session).await.as_ref(), Some(&record));
}

pub(super) async fn ended_session_is_gone(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let attached = bench.open(&bench.node().await).await;
    let detached = bench.open(&bench.node().await).await;
    bench
        .detach(detach(detached.session, detached.epoch, 1))
        .await
        .unwrap();
    for record in [attached, detached] {
        for _ in 0..2 {
            let ended = bench.store.end(record.session, record.epoch).await;
            assert_eq!(ended, Ok(()), "a repeat is a success");
        }
        assert_eq!(other.load(record.session).await, None);
    }
    fixture.advance(50).await;
    let swept = other.store.sweep(bench.partition, 1000, 10).await.unwrap();
    assert!(swept.is_empty(), "what ended does not expire");
}

pub(super) async fn session_ids_are_not_guessed_from_others(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let record = bench.open(&bench.node().await).await;
    let mut bytes = *record.session.as_bytes();
    bytes[15] ^= 1;
    let near = SessionId::from_bytes(bytes).unwrap();
    assert_eq!(bench.load(near).await, None);
    let foreign = SessionId::from_random(bytes, Partition::new(15).unwrap());
    assert_eq!(bench.load(foreign).await, None);
}
