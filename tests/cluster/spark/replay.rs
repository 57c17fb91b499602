//! What a resumed session receives before it is live again.

use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, FrameType};

use crate::everywhere;
use crate::harness::cluster::{Cluster, ENCODINGS, Layout};
use crate::harness::peer::Peer;
use crate::harness::{SOON, time_passes};

everywhere! {
    /// More than a page of the log, over several topics.
    async fn replay_count_and_replay_done_say_how_many_came(place: &Place<'_>) {
        let topics: Vec<String> = (0..3).map(|at| place.topic(&format!("long{at}"))).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&names).await;
        let ticket = peer.cut();
        // `sparkway dev` lets a connection send a hundred frames at once.
        let count = if place.layout == Layout::Dev { 80 } else { 270 };
        let mut publisher = Peer::connect(place.second(), place.encoding).await;
        publisher.subscribe(&names).await;
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(publisher.publish(names[number % 3], json!(number)).await);
        }
        publisher.saw(&ids[count - 1]).await;
        let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
        assert_eq!(again.welcome["data"]["replay_count"], count);
        let came: Vec<String> =
            again.messages(count).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(came, ids);
        let done = json!({"type": "ws:replay_done", "data": {"replayed": count}});
        assert_eq!(again.next().await, done);
    }

    async fn a_replay_that_is_cut_off_is_resumed_from_the_last_id_received(place: &Place<'_>) {
        let topic = place.topic("cut-off");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let mut ticket = peer.cut();
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        publisher.subscribe(&[&topic]).await;
        let mut ids = Vec::new();
        for number in 0..60 {
            ids.push(publisher.publish(&topic, json!(number)).await);
        }
        publisher.saw(&ids[59]).await;
        let mut came = Vec::new();
        for piece in [1, 7, 20] {
            let mut again = Peer::resume(place.second(), place.encoding, &ticket).await;
            came.extend(again.messages(piece).await.into_iter().map(|(id, _)| id));
            ticket = again.cut();
        }
        let mut again = Peer::resume(place.first(), place.encoding, &ticket).await;
        came.extend(again.messages(60 - 28).await.into_iter().map(|(id, _)| id));
        assert_eq!(came, ids);
        assert_eq!(again.next().await["data"], json!({"replayed": 32}));
    }

    async fn replayed_messages_come_before_any_newer_one(place: &Place<'_>) {
        let topic = place.topic("before");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        peer.subscribe(&[&topic]).await;
        let ticket = peer.cut();
        let mut publisher = Peer::connect(place.first(), place.encoding).await;
        let mut ids = Vec::new();
        for number in 0..30 {
            ids.push(publisher.publish(&topic, json!(number)).await);
        }
        // Published while the replay is on its way.
        let (again, more) = tokio::join!(
            Peer::resume(place.second(), place.encoding, &ticket),
            async {
                let mut more = Vec::new();
                for number in 30..60 {
                    more.push(publisher.publish(&topic, json!(number)).await);
                }
                more
            }
        );
        ids.extend(more);
        let mut again = again;
        let came: Vec<String> = again.messages(60).await.into_iter().map(|(id, _)| id).collect();
        assert_eq!(came, ids);
        let done = again.wire.wait_for(FrameType::ReplayDone, SOON).await.unwrap();
        assert!(done.field("replayed").as_u64().unwrap() >= 30);
    }
}

/// A log may keep somewhat more than it must; what it really holds decides.
#[tokio::test]
async fn what_was_trimmed_is_named_and_the_rest_is_replayed() {
    let cluster = Cluster::redis(&[("topics.history_entries", "5")]).await;
    for encoding in ENCODINGS {
        let (short, whole) = (format!("short:{encoding:?}"), format!("whole:{encoding:?}"));
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.subscribe(&[&short, &whole]).await;
        let mut publisher = Peer::connect(cluster.first(), encoding).await;
        let seen = publisher.publish(&short, json!("seen")).await;
        peer.message().await;
        let ticket = peer.cut();
        for number in 0..250 {
            publisher.publish(&short, json!(number)).await;
        }
        let complete = publisher.publish(&whole, json!("all of it")).await;
        let kept: Vec<String> = publisher
            .log(&short)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert!(kept.len() >= 5 && kept.len() < 250, "{}", kept.len());
        let mut again = Peer::resume(cluster.second(), encoding, &ticket).await;
        let gap = json!({"topic": short, "reason": "trimmed", "after": seen, "before": kept[0]});
        assert_eq!(again.welcome["data"]["gaps"], json!([gap]));
        let expected = [&kept[..], &[complete]].concat();
        assert_eq!(again.welcome["data"]["replay_count"], expected.len());
        let came = again.messages(expected.len()).await;
        assert_eq!(
            came.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(
            again.next().await["data"],
            json!({"replayed": expected.len()})
        );
    }
}

#[tokio::test]
async fn what_is_too_old_is_named_as_expired() {
    let cluster = Cluster::redis(&[("topics.history_age", "1s")]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["old", "calm"]).await;
    let start = peer.ticket.last.clone();
    let ticket = peer.cut();
    let mut publisher = Peer::connect(cluster.first(), Encoding::Json).await;
    let gone = publisher.publish("old", json!("gone")).await;
    time_passes(Duration::from_millis(2200)).await;
    let young = publisher.publish("old", json!("young")).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    let gap = json!({"topic": "old", "reason": "expired", "after": start, "before": young});
    assert_eq!(again.welcome["data"]["gaps"], json!([gap]), "{gone}");
    assert_eq!(again.message().await["id"], json!(young));
}
