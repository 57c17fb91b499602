//! Writes under an epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sparkway_protocol::{Epoch, SessionId};

use super::fixture::{Fixture, PATIENCE, until};
use super::sample::{Bench, claim, detach, fenced, ids, kept_long, node};
use crate::{Remember, SessionRecord, WriteError};

/// A session that was opened on one node and claimed by another: (before, now).
async fn taken_over(bench: &Bench) -> (SessionRecord, SessionRecord) {
    let (former, owner) = (bench.node().await, bench.node().await);
    let before = bench.open(&former).await;
    let claimed = bench.store.claim(claim(before.session, 1, &owner)).await;
    (before, claimed.unwrap().record)
}

pub(super) async fn fenced_publish_is_not_stored(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (before, now) = taken_over(&bench).await;
    let topic = bench.topic("a");
    let refused = bench
        .append(fenced(&topic, now.session, before.epoch))
        .await;
    assert_eq!(refused, Err(WriteError::Fenced));
    assert!(bench.log(&topic).await.is_empty());
    let stored = bench.append(fenced(&topic, now.session, now.epoch)).await;
    assert_eq!(ids(&bench.log(&topic).await), [stored.unwrap().id]);
}

pub(super) async fn publish_of_a_missing_session_is_not_stored(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let missing = bench.record(&node()).session;
    let refused = bench.append(fenced(&topic, missing, Epoch(1))).await;
    assert_eq!(refused, Err(WriteError::Gone));
    assert!(bench.log(&topic).await.is_empty());
}

pub(super) async fn fence_holds_for_topics_of_every_partition(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (before, now) = taken_over(&bench).await;
    for partition in bench.layout.iter() {
        let there = Bench {
            partition,
            ..bench.clone()
        };
        let topic = there.topic("a");
        let refused = there
            .append(fenced(&topic, now.session, before.epoch))
            .await;
        assert_eq!(refused, Err(WriteError::Fenced), "{partition:?}");
        let stored = there.append(fenced(&topic, now.session, now.epoch)).await;
        assert_eq!(ids(&there.log(&topic).await), [stored.unwrap().id]);
    }
}

pub(super) async fn repeat_of_a_former_owner_answers_the_first_id(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let former = bench.node().await;
    let record = bench.open(&former).await;
    let topic = bench.topic("a");
    let publish = fenced(&topic, record.session, record.epoch);
    let first = bench.append(publish.clone()).await.unwrap();
    let owner = bench.node().await;
    let claimed = bench.store.claim(claim(record.session, 1, &owner)).await;
    assert!(claimed.is_ok());
    let again = bench.append(publish).await.unwrap();
    assert_eq!((again.id, again.duplicate), (first.id, true));
}

/// Races a publisher against the claim that fences it.
pub(super) async fn nothing_of_the_former_owner_is_stored_after_the_claim(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    for _ in 0..20 {
        let record = bench.open(&former).await;
        let topic = bench.topic("race");
        let stored = Arc::new(AtomicUsize::new(0));
        let publisher = tokio::spawn({
            let (bench, topic, stored) = (bench.clone(), topic.clone(), Arc::clone(&stored));
            async move {
                let publish = || {
                    let fenced = fenced(&topic, record.session, record.epoch);
                    bench.append(kept_long(fenced))
                };
                // Bounded: a store that does not fence must fail, not run for ever.
                while stored.load(Ordering::Relaxed) < 200_000 && publish().await.is_ok() {
                    stored.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        let has_begun = async || (stored.load(Ordering::Relaxed) > 3).then_some(());
        until("the publisher has begun", has_begun).await;
        let claimed = other.store.claim(claim(record.session, 1, &owner)).await;
        assert!(claimed.is_ok());
        let at_claim = ids(&other.log(&topic).await);
        let end = tokio::time::timeout(PATIENCE, publisher).await;
        end.expect("the publisher is fenced in the end").unwrap();
        assert_eq!(ids(&other.log(&topic).await), at_claim);
        assert_eq!(at_claim.len(), stored.load(Ordering::Relaxed));
    }
}

pub(super) async fn old_epoch_writes_nothing(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (before, now) = taken_over(&bench).await;
    let (session, old) = (before.session, before.epoch);
    let change = Remember {
        grants: Some(("{}".into(), None)),
        generations: Some((9, 9)),
        ..Remember::nothing(session, old)
    };
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Fenced));
    let detached = bench.detach(detach(session, old, 1)).await;
    assert_eq!(detached, Err(WriteError::Fenced));
    let ended = bench.store.end(session, old).await;
    assert_eq!(ended, Err(WriteError::Fenced));
    let restored = bench.store.restore(before).await;
    assert_eq!(restored, Err(WriteError::Fenced));
    assert_eq!(bench.load(session).await, Some(now));
}

pub(super) async fn writes_to_a_missing_session_say_so(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let session: SessionId = bench.record(&node()).session;
    assert_eq!(bench.load(session).await, None);
    let change = Remember::nothing(session, Epoch(1));
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Gone));
    let detached = bench.detach(detach(session, Epoch(1), 1000)).await;
    assert_eq!(detached, Err(WriteError::Gone));
    assert_eq!(bench.store.end(session, Epoch(1)).await, Ok(()));
    assert_eq!(bench.load(session).await, None);
}

pub(super) async fn detach_answers_in_order_with_a_failing_one_in_the_middle(
    fixture: &dyn Fixture,
) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let (first, last) = (bench.open(&owner).await, bench.open(&owner).await);
    let (before, now) = taken_over(&bench).await;
    let missing = bench.record(&owner).session;
    let batch = vec![
        detach(first.session, first.epoch, 60_000),
        detach(before.session, before.epoch, 60_000),
        detach(missing, Epoch(1), 60_000),
        detach(last.session, last.epoch, 60_000),
    ];
    let answers = bench.store.detach(bench.partition, batch).await.unwrap();
    let expected = [
        Ok(()),
        Err(WriteError::Fenced),
        Err(WriteError::Gone),
        Ok(()),
    ];
    assert_eq!(answers, expected);
    assert!(!bench.load(first.session).await.unwrap().attached);
    assert!(!bench.load(last.session).await.unwrap().attached);
    assert!(bench.load(now.session).await.unwrap().attached);
}
