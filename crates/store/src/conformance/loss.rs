//! The store is not always the same store.

use sparkway_protocol::MessageId;

use super::fixture::{Fixture, until};
use super::follower::Follower;
use super::sample::{Bench, ids, message};
use crate::Hole;

/// Waits until the newest hole covers `lost`, and none covers `kept`.
async fn reported(bench: &Bench, kept: MessageId, lost: &[MessageId]) -> Hole {
    let hole = until("the loss is reported", async || {
        let holes = bench.store.holes(bench.partition).await.ok()?;
        let hole = *holes.last()?;
        lost.iter().all(|&id| covers(hole, id)).then_some(hole)
    })
    .await;
    assert!(!covers(hole, kept), "{kept} was kept: {hole:?}");
    hole
}

fn covers(hole: Hole, id: MessageId) -> bool {
    hole.after < id && id < hole.before
}

/// Publishes as soon as the store answers again.
async fn publish_again(bench: &Bench, topic: &sparkway_protocol::TopicName) -> MessageId {
    let same = message(topic, "again");
    until("the store takes a message", async || {
        let batch = vec![same.clone()];
        let answers = bench.store.append(bench.partition, batch).await.ok()?;
        answers.first()?.as_ref().ok().map(|stored| stored.id)
    })
    .await
}

pub(super) async fn loss_is_reported_as_a_hole_and_ids_rise_over_it(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (a, b) = (bench.topic("a"), bench.topic("b"));
    let kept = bench.publish(&a, "kept").await;
    fixture.save().await;
    let lost = [
        bench.publish(&a, "lost").await,
        bench.publish(&b, "lost").await,
        bench.publish(&a, "lost").await,
    ];
    fixture.lose_since_save().await;
    let next = publish_again(&bench, &a).await;
    let hole = reported(&bench, kept, &lost).await;
    assert!(next >= hole.before, "new ids lie behind the hole");
    let log = bench.log(&a).await;
    assert_eq!(ids(&log), [kept, next]);
    assert_eq!(log[1].prev, kept, "the back link names a survivor");
    assert!(bench.log(&b).await.is_empty());
    assert!(bench.store.clock(bench.partition).await.unwrap() >= next);
}

pub(super) async fn every_loss_is_reported_in_order(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let mut kept = bench.publish(&topic, "kept").await;
    let mut holes = Vec::new();
    for _ in 0..2 {
        fixture.save().await;
        let lost = bench.publish(&topic, "lost").await;
        fixture.lose_since_save().await;
        let next = publish_again(&bench, &topic).await;
        holes.push(reported(&bench, kept, &[lost]).await);
        kept = next;
    }
    let told = bench.store.holes(bench.partition).await.unwrap();
    assert_eq!(told, holes, "oldest first");
}

pub(super) async fn lost_publish_is_stored_when_it_is_repeated(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let kept = message(&topic, "kept");
    let first = bench.append(kept.clone()).await.unwrap().id;
    fixture.save().await;
    let lost = message(&topic, "lost");
    let before = bench.append(lost.clone()).await.unwrap().id;
    fixture.lose_since_save().await;
    let between = publish_again(&bench, &topic).await;
    let again = bench.append(lost).await.unwrap();
    assert!(!again.duplicate && again.id > before);
    // What survived is still known.
    let known = bench.append(kept).await.unwrap();
    assert_eq!((known.id, known.duplicate), (first, true));
    assert_eq!(ids(&bench.log(&topic).await), [first, between, again.id]);
}

pub(super) async fn live_feed_is_told_of_a_loss_and_goes_on(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let topic = bench.topic("a");
    let kept = bench.publish(&topic, "kept").await;
    let mut follower = Follower::of(&bench, &[&topic]).await;
    fixture.save().await;
    let lost = bench.publish(&topic, "lost").await;
    follower.reach(&topic, lost).await;
    fixture.lose_since_save().await;
    let next = publish_again(&other, &topic).await;
    follower.reach(&topic, next).await;
    while !follower.holes.iter().any(|&hole| covers(hole, lost)) {
        follower.step().await;
    }
    assert!(!follower.holes.iter().any(|&hole| covers(hole, kept)));
    assert_eq!(ids(&follower.entries), [lost, next]);
}
