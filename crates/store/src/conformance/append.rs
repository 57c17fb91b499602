//! Ids, back links, repeats and fences.

use sparkway_protocol::MessageId;

use super::fixture::Fixture;
use super::sample::{Bench, message};

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
