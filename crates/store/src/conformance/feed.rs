//! What a feed promises between `Live` and the end.

use std::collections::BTreeSet;

use sparkway_protocol::{MessageId, TopicName};

use super::fixture::{Fixture, PATIENCE};
use super::follower::Follower;
use super::log::odd_names;
use super::sample::{Bench, ephemeral, ids, kept_long, message};
use crate::FeedEvent;
use crate::feed::FEED_EVENTS;

pub(super) async fn live_topic_tells_its_tip(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (old, silent) = (bench.topic("old"), bench.topic("silent"));
    let tip = bench.publish(&old, "before").await;
    let mut follower = Follower::of(&bench, &[&old, &silent]).await;
    assert_eq!(follower.position(&old), Some(tip));
    assert_eq!(follower.position(&silent), Some(MessageId::ZERO));
    assert!(follower.entries.is_empty(), "the log has what was before");
    let id = bench.publish(&silent, "after").await;
    follower.reach(&silent, id).await;
    assert_eq!(ids(&follower.entries), [id]);
}

/// A publisher runs all the while; whatever is not at or below the tip must arrive.
pub(super) async fn live_topic_misses_nothing_published_while_it_was_being_followed(
    fixture: &dyn Fixture,
) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    for _ in 0..20 {
        let topic = bench.topic("race");
        let publisher = tokio::spawn({
            let (other, topic) = (other.clone(), topic.clone());
            async move {
                let mut given = Vec::new();
                for _ in 0..60 {
                    given.push(other.publish(&topic, "x").await);
                    tokio::task::yield_now().await;
                }
                given
            }
        });
        tokio::task::yield_now().await;
        let mut follower = Follower::new(&bench);
        follower.follow(&[&topic]).await;
        let tip = loop {
            if let FeedEvent::Live { tip, .. } = follower.step().await {
                break tip;
            }
        };
        let given = publisher.await.unwrap();
        follower.reach(&topic, given[59]).await;
        let later: Vec<_> = given.into_iter().filter(|&id| id > tip).collect();
        assert_eq!(ids(&follower.entries), later);
    }
}

pub(super) async fn feed_keeps_id_order_over_topics(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let topics: Vec<_> = (0..5).map(|_| bench.topic("many")).collect();
    let mut follower = Follower::of(&bench, &topics.iter().collect::<Vec<_>>()).await;
    let publish = |bench: Bench, topic: TopicName| async move {
        let mut given = Vec::new();
        for _ in 0..60 {
            given.push(bench.publish(&topic, "x").await);
            tokio::task::yield_now().await;
        }
        given
    };
    let publishers: Vec<_> = topics
        .iter()
        .zip([&bench, &other, &bench, &other, &other])
        .map(|(topic, bench)| tokio::spawn(publish(bench.clone(), topic.clone())))
        .collect();
    let mut given = BTreeSet::new();
    for publisher in publishers {
        given.extend(publisher.await.unwrap());
    }
    assert_eq!(given.len(), 300, "no id is given twice");
    while follower.entries.len() < given.len() {
        follower.step().await;
    }
    let in_order: Vec<_> = given.into_iter().collect();
    assert_eq!(ids(&follower.entries), in_order);
}

pub(super) async fn every_node_hears_what_any_node_appends(fixture: &dyn Fixture) {
    let nodes = [Bench::new(fixture), Bench::new(fixture)];
    let topic = nodes[0].topic("shared");
    let mut followers = Vec::new();
    for node in &nodes {
        followers.push(Follower::of(node, &[&topic]).await);
    }
    let mut given = Vec::new();
    for round in 0..10 {
        given.push(nodes[round % 2].publish(&topic, "x").await);
    }
    for follower in &mut followers {
        follower.reach(&topic, given[9]).await;
        assert_eq!(ids(&follower.entries), given);
    }
    let log = nodes[0].log(&topic).await;
    assert_eq!(followers[0].entries, log, "feed and log tell the same");
}

pub(super) async fn announced_entry_is_in_the_log(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let topic = bench.topic("a");
    let mut follower = Follower::of(&bench, &[&topic]).await;
    let publisher = tokio::spawn({
        let topic = topic.clone();
        async move {
            for _ in 0..100 {
                other.publish(&topic, "x").await;
            }
        }
    });
    while follower.entries.len() < 100 {
        follower.step().await;
        if let Some(newest) = follower.entries.last() {
            assert!(bench.log(&topic).await.contains(newest));
        }
    }
    publisher.await.unwrap();
}

pub(super) async fn following_again_answers_again(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    let mut follower = Follower::of(&bench, &[&topic]).await;
    let first = bench.publish(&topic, "1").await;
    follower.reach(&topic, first).await;
    follower.follow(&[&topic]).await;
    let again = follower.step().await;
    assert!(
        matches!(&again, FeedEvent::Live { topic: told, tip, .. } if *told == topic && *tip == first),
        "{again:?}"
    );
    let second = bench.publish(&topic, "2").await;
    follower.reach(&topic, second).await;
    assert_eq!(ids(&follower.entries), [first, second]);
}

pub(super) async fn forget_stops_delivery(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (dull, kept) = (bench.topic("dull"), bench.topic("kept"));
    let mut follower = Follower::of(&bench, &[&dull, &kept]).await;
    follower.forget(&[&dull]).await;
    // Requests are carried out in order: once this one is answered, the other one holds.
    follower.follow(&[&kept]).await;
    while !matches!(follower.step().await, FeedEvent::Live { .. }) {}
    bench.publish(&dull, "unheard").await;
    let heard = bench.publish(&kept, "heard").await;
    follower.reach(&kept, heard).await;
    assert_eq!(ids(&follower.entries), [heard]);
    let missed = bench.store.tip(dull.clone()).await.unwrap();
    follower.follow(&[&dull]).await;
    while follower.position(&dull).is_none() {
        follower.step().await;
    }
    assert_eq!(follower.position(&dull), Some(missed));
}

pub(super) async fn ephemeral_reaches_followers_and_is_not_in_the_log(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (topic, elsewhere) = (bench.topic("a"), bench.topic("b"));
    let mut follower = Follower::of(&bench, &[&topic]).await;
    let unheard = ephemeral(&elsewhere, "unheard");
    other.store.announce(unheard).await.unwrap();
    let typing = ephemeral(&topic, "typing");
    other.store.announce(typing.clone()).await.unwrap();
    while follower.ephemerals.is_empty() {
        follower.step().await;
    }
    assert_eq!(*follower.ephemerals[0], typing);
    assert!(bench.log(&topic).await.is_empty());
    let tip = bench.store.tip(topic.clone()).await.unwrap();
    assert_eq!(tip, MessageId::ZERO, "it carries no id");
    let entry = bench.publish(&topic, "kept").await;
    follower.reach(&topic, entry).await;
    assert_eq!(follower.ephemerals.len(), 1);
    assert_eq!(follower.entries[0].prev, MessageId::ZERO);
}

pub(super) async fn odd_topic_names_are_heard_each_for_itself(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    for name in odd_names() {
        let there = Bench {
            partition: bench.layout.of(name.as_str()),
            ..bench.clone()
        };
        let mut follower = Follower::of(&there, &[&name]).await;
        let near = there.topic_of(name.as_str().get(..1).unwrap_or("x"), there.partition);
        there.publish(&near, "not followed").await;
        let id = there.publish(&name, "x").await;
        follower.reach(&name, id).await;
        assert_eq!(ids(&follower.entries), [id], "{name}");
        assert_eq!(follower.entries[0].topic, name);
    }
}

/// More entries than the queue holds while the reader reads nothing: it is told to repair, or
/// nothing was dropped; either way it ends with everything, once, in order.
pub(super) async fn reader_that_falls_behind_still_gets_everything(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topics = [bench.topic("a"), bench.topic("b")];
    let mut follower = Follower::of(&bench, &[&topics[0], &topics[1]]).await;
    let mut given = Vec::new();
    for round in 0..FEED_EVENTS * 3 / 2 / 64 {
        let batch = (0..64).map(|_| kept_long(message(&topics[round % 2], "flood")));
        let answers = bench.append_all(batch.collect()).await;
        given.extend(answers.into_iter().map(|answer| answer.unwrap().id));
    }
    while follower.entries.len() < given.len() {
        follower.step().await;
    }
    // What comes after the flood is live again.
    for topic in &topics {
        let id = bench.publish(topic, "after").await;
        given.push(id);
        follower.reach(topic, id).await;
    }
    assert_eq!(ids(&follower.entries), given);
}

pub(super) async fn topics_can_be_followed_while_the_reader_is_behind(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (flooded, late) = (bench.topic("flooded"), bench.topic("late"));
    let mut follower = Follower::of(&bench, &[&flooded]).await;
    let tip = bench.publish(&late, "before").await;
    for _ in 0..FEED_EVENTS / 64 + 2 {
        let batch = (0..64).map(|_| kept_long(message(&flooded, "flood")));
        bench.append_all(batch.collect()).await;
    }
    follower.follow(&[&late]).await;
    while follower.position(&late).is_none() {
        follower.step().await;
    }
    assert_eq!(follower.position(&late), Some(tip));
    let id = bench.publish(&late, "after").await;
    follower.reach(&late, id).await;
    let newest = bench.store.tip(flooded.clone()).await.unwrap();
    follower.reach(&flooded, newest).await;
}

pub(super) async fn dropped_feed_holds_nobody_up(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let topic = bench.topic("a");
    drop(Follower::of(&bench, &[&topic]).await);
    let mut follower = Follower::of(&bench, &[&topic]).await;
    let flood = async {
        let mut last = MessageId::ZERO;
        for _ in 0..200 {
            last = bench.publish(&topic, "x").await;
        }
        last
    };
    let last = tokio::time::timeout(PATIENCE, flood).await.unwrap();
    follower.reach(&topic, last).await;
    assert_eq!(follower.entries.len(), 200);
}
