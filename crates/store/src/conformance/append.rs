//! Ids, back links, repeats.

use futures_util::future::join_all;
use sparkway_protocol::MessageId;

use super::fixture::Fixture;
use super::sample::{Bench, fenced, ids, message, node};
use crate::WriteError;

pub(super) async fn ids_rise_over_all_topics_of_a_partition(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let other = Bench::new(fixture);
    let topics = [bench.topic("a"), bench.topic("b"), bench.topic("c")];
    let mut last = MessageId::ZERO;
    for round in 0..300 {
        let topic = &topics[round % topics.len()];
        let writer = if round % 2 == 0 { &bench } else { &other };
        let id = writer.publish(topic, "x").await;
        assert!(id > last, "{id} follows {last}");
        assert_eq!(id.partition(), bench.partition);
        last = id;
    }
}

pub(super) async fn back_link_names_the_entry_before(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (a, b) = (bench.topic("a"), bench.topic("b"));
    let mut last = MessageId::ZERO;
    for _ in 0..5 {
        let id = bench.publish(&a, "in a").await;
        bench.publish(&b, "in b").await;
        let newest = bench.log(&a).await.pop().unwrap();
        assert_eq!((newest.id, newest.prev), (id, last));
        last = id;
    }
}

pub(super) async fn back_links_of_one_batch_form_a_chain(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (a, b) = (bench.topic("a"), bench.topic("b"));
    let batch = [&a, &b, &a, &a, &b];
    let batch = batch.map(|topic| message(topic, "x")).to_vec();
    bench.append_all(batch).await;
    for topic in [&a, &b] {
        let mut last = MessageId::ZERO;
        for entry in bench.log(topic).await {
            assert_eq!(entry.prev, last);
            last = entry.id;
        }
        assert_eq!(bench.store.tip(topic.clone()).await.unwrap(), last);
    }
}

pub(super) async fn repeat_is_stored_once_and_answers_the_first_id(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let first = message(&topic, "once");
    let id = bench.append(first.clone()).await.unwrap().id;
    bench.publish(&topic, "between").await;
    let again = bench.append(first).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.id, id);
    assert_eq!(bench.log(&topic).await.len(), 2);
}

pub(super) async fn repeat_on_another_node_is_stored_once(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let topic = bench.topic("a");
    let first = message(&topic, "once");
    let id = bench.append(first.clone()).await.unwrap().id;
    let again = other.append(first).await.unwrap();
    assert_eq!((again.id, again.duplicate), (id, true));
    assert_eq!(ids(&bench.log(&topic).await), [id]);
}

pub(super) async fn repeats_at_once_are_stored_once(fixture: &dyn Fixture) {
    let nodes = [Bench::new(fixture), Bench::new(fixture)];
    let topic = nodes[0].topic("a");
    for _ in 0..20 {
        let same = message(&topic, "once");
        let attempts = (0..8).map(|at| {
            let (bench, same) = (nodes[at % 2].clone(), same.clone());
            tokio::spawn(async move { bench.append(same).await.unwrap() })
        });
        let answers: Vec<_> = join_all(attempts)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(answers.iter().filter(|one| !one.duplicate).count(), 1);
        assert!(answers.iter().all(|one| one.id == answers[0].id));
    }
    assert_eq!(nodes[0].log(&topic).await.len(), 20);
}

pub(super) async fn repeat_within_one_batch_is_stored_once(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let same = message(&topic, "once");
    let answers = bench.append_all(vec![same.clone(), same]).await;
    let (first, second) = (answers[0].clone().unwrap(), answers[1].clone().unwrap());
    assert_eq!(first.id, second.id);
    assert_eq!((first.duplicate, second.duplicate), (false, true));
    assert_eq!(ids(&bench.log(&topic).await), [first.id]);
}

pub(super) async fn digest_is_remembered_for_the_whole_window(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let most = fixture.idempotency_window_ms() / 4 * 3;
    // Begin at several places of the backend's buckets of time.
    for _ in 0..3 {
        let first = message(&topic, "once");
        let id = bench.append(first.clone()).await.unwrap().id;
        fixture.advance(most).await;
        let again = bench.append(first).await.unwrap();
        assert_eq!((again.id, again.duplicate), (id, true));
    }
}

pub(super) async fn batch_answers_in_order_with_a_failing_one_in_the_middle(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let record = bench.open(&owner).await;
    let topic = bench.topic("a");
    let stored_before = message(&topic, "before");
    let before = bench.append(stored_before.clone()).await.unwrap().id;
    let stale = crate::Epoch(record.epoch.0.saturating_sub(1));
    let unknown = bench.record(&node()).session;
    let answers = bench
        .append_all(vec![
            message(&topic, "first"),
            fenced(&topic, record.session, stale),
            stored_before,
            fenced(&topic, unknown, record.epoch),
            fenced(&topic, record.session, record.epoch),
        ])
        .await;
    assert_eq!(answers[1], Err(WriteError::Fenced));
    assert_eq!(answers[3], Err(WriteError::Gone));
    let repeat = answers[2].clone().unwrap();
    assert_eq!((repeat.id, repeat.duplicate), (before, true));
    let (first, last) = (answers[0].clone().unwrap(), answers[4].clone().unwrap());
    assert!(before < first.id && first.id < last.id);
    assert_eq!(ids(&bench.log(&topic).await), [before, first.id, last.id]);
}

pub(super) async fn cluster_key_is_the_same_on_every_node(fixture: &dyn Fixture) {
    let (one, two) = (fixture.store(), fixture.store());
    let keys = join_all([one.cluster_key(), two.cluster_key(), one.cluster_key()]).await;
    let first = keys[0].clone().unwrap();
    assert_ne!(first, [0; 32]);
    assert!(keys.into_iter().all(|key| key.unwrap() == first));
    assert_eq!(one.partitions(), two.partitions());
}
