//! What reaches the application.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{Client, Cut, Encoding, Error, LossReason, MessageId, Options, Start};

#[tokio::test]
async fn repeated_message_is_dropped_and_counted() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    for id in [16, 32, 16, 32, 48, 40] {
        peer.message("t", id).await;
    }
    assert_eq!(ids(&mut topic, 4).await, [16, 32, 48, 40]);
    let counts = client.counts();
    assert_eq!(
        (counts.delivered, counts.duplicates, counts.reordered),
        (4, 2, 1)
    );
}

#[tokio::test]
async fn losses_told_by_the_gateway_reach_the_application_in_place() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    peer.message("t", 16).await;
    peer.say(
        &json!({"type": "topic:gap", "topic": "t", "data": {"reason": "trimmed",
        "after": "16", "before": "64"}}),
    )
    .await;
    peer.message("t", 64).await;
    assert_eq!(ids(&mut topic, 1).await, [16]);
    match event(&mut topic).await {
        Event::Loss(loss) => {
            assert_eq!(loss.reason, LossReason::Trimmed);
            assert_eq!(
                (loss.after, loss.before),
                (MessageId::new(16), MessageId::new(64))
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ids(&mut topic, 1).await, [64]);
    peer.cut();

    let mut peer = node.accept().await;
    peer.expect("ws:resume").await;
    peer.say(
        &json!({"type": "ws:resume_ack", "id": "c1", "data": {"session_id": "s-1",
        "heartbeat_token": "hb-2", "heartbeat_interval": 60_000, "last_message_id": "0",
        "gaps": [{"topic": "t", "reason": "rewound", "after": "32", "before": "96"}],
        "dropped_topics": ["t"]}}),
    )
    .await;
    assert!(
        matches!(event(&mut topic).await, Event::Loss(loss) if loss.reason == LossReason::Rewound)
    );
    assert!(matches!(event(&mut topic).await, Event::Ended { code, .. } if &*code == "forbidden"));
    assert_eq!(client.counts().losses, 2);
}

#[tokio::test]
async fn after_a_rewind_of_the_store_the_position_goes_back_with_it() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    peer.message("t", 960).await;
    ids(&mut topic, 1).await;
    peer.say(
        &json!({"type": "topic:gap", "topic": "t", "data": {"reason": "rewound",
        "after": "320", "before": "640"}}),
    )
    .await;
    assert!(matches!(event(&mut topic).await, Event::Loss(_)));
    peer.message("t", 656).await;
    assert_eq!(
        ids(&mut topic, 1).await,
        [656],
        "a lower id is new after a rewind"
    );
    peer.cut();
    let (_, asked) = node.resume().await;
    assert_eq!(asked["last_message_id"], "656");
}

#[tokio::test]
async fn application_that_does_not_read_loses_nothing_and_holds_nothing_up() {
    let node = Fake::bind().await;
    let client = Client::start(
        [node.url()],
        Options {
            events_max: 4,
            ..quick()
        },
    )
    .unwrap();
    let mut peer = node.begin().await;
    let mut slow = follow(&client, &mut peer, &["slow"], Subscribe::default(), "0").await;
    let mut quick = follow(&client, &mut peer, &["quick"], Subscribe::default(), "0").await;
    for id in 1..=10 {
        peer.message("slow", id * 16).await;
    }
    let left = peer.expect("topic:unsubscribe").await;
    assert_eq!(left["data"]["topics"], json!(["slow"]));
    peer.message("quick", 1600).await;
    assert_eq!(ids(&mut quick, 1).await, [1600], "the other topic goes on");
    peer.ack(&left, json!({"unsubscribed": ["slow"]})).await;

    assert_eq!(ids(&mut slow, 4).await, [16, 32, 48, 64]);
    let asked = peer.grant("160").await;
    assert_eq!(asked["data"], json!({"topics": ["slow"], "since": "64"}));
    for id in 5..=8 {
        peer.message("slow", id * 16).await;
    }
    assert_eq!(ids(&mut slow, 4).await, [80, 96, 112, 128]);
    let counts = client.counts();
    assert_eq!((counts.pauses, counts.duplicates, counts.losses), (1, 0, 0));
}

#[tokio::test]
async fn topic_that_overflows_before_its_grant_is_taken_up_again() {
    let node = Fake::bind().await;
    let options = Options {
        events_max: 4,
        ..quick()
    };
    let client = Client::start([node.url()], options).unwrap();
    let mut peer = node.begin().await;
    let since = Subscribe {
        start: Start::Since(MessageId::new(1).unwrap()),
        ..Subscribe::default()
    };
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe(["t"], since).await }
    });
    let asked = peer.expect("topic:subscribe").await;
    for id in 1..=6 {
        peer.message("t", id * 16).await;
    }
    let left = peer.expect("topic:unsubscribe").await;
    peer.ack(
        &asked,
        json!({"topics": [{"topic": "t", "position": "96", "recovered": true}]}),
    )
    .await;
    peer.ack(&left, json!({"unsubscribed": ["t"]})).await;
    let mut topic = asking.await.unwrap().unwrap();
    assert_eq!(ids(&mut topic, 4).await, [16, 32, 48, 64]);
    let asked = peer.grant("96").await;
    assert_eq!(asked["data"]["since"], "64");
    for id in [80, 96] {
        peer.message("t", id).await;
    }
    assert_eq!(ids(&mut topic, 2).await, [80, 96]);
}

#[tokio::test]
async fn topic_of_a_dropped_subscription_can_be_followed_anew() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    drop(follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await);
    let mut again = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    peer.message("t", 16).await;
    assert_eq!(ids(&mut again, 1).await, [16]);
}

#[tokio::test]
async fn history_that_is_still_coming_in_holds_the_position_back() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let mut live = follow(&client, &mut peer, &["live"], Subscribe::default(), "0").await;
    let since = Subscribe {
        start: Start::Since(MessageId::new(16).unwrap()),
        ..Subscribe::default()
    };
    let mut old = follow(&client, &mut peer, &["old"], since, "320").await;
    peer.message("live", 640).await;
    peer.message("old", 160).await;
    ids(&mut live, 1).await;
    ids(&mut old, 1).await;
    peer.cut();

    let (mut peer, asked) = node.resume().await;
    assert_eq!(
        asked["last_message_id"], "160",
        "not 640: 176 to 320 of the other topic are missing"
    );
    peer.message("old", 320).await;
    peer.message("live", 640).await;
    peer.say(&json!({"type": "ws:replay_done", "data": {"replayed": 2}}))
        .await;
    peer.message("live", 656).await;
    assert_eq!(ids(&mut old, 1).await, [320]);
    assert_eq!(ids(&mut live, 1).await, [656]);
    assert_eq!(
        client.counts().duplicates,
        0,
        "that repetition was asked for"
    );
}

#[tokio::test]
async fn received_messages_are_acknowledged_by_number_and_by_time() {
    let node = Fake::bind().await;
    let options = Options {
        ack_every: 3,
        ack_after: Duration::from_mins(1),
        ..quick()
    };
    let client = Client::start([node.url()], options).unwrap();
    let mut peer = node.begin().await;
    let _topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    for id in [16, 32, 48] {
        peer.message("t", id).await;
    }
    assert_eq!(
        peer.expect("ws:ack").await["data"]["ackId"],
        "48",
        "cumulative"
    );

    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let _topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    peer.message("t", 16).await;
    assert_eq!(peer.expect("ws:ack").await["data"]["ackId"], "16");
}

#[tokio::test]
async fn lost_grant_is_asked_for_again_and_its_repetitions_are_no_defect() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let since = Subscribe {
        start: Start::Since(MessageId::new(16).unwrap()),
        ..Subscribe::default()
    };
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe(["t"], since).await }
    });
    let first = peer.expect("topic:subscribe").await;
    peer.message("t", 32).await;
    until(|| client.counts().delivered == 1).await;
    client.cut(Cut::Reset, Duration::ZERO).await;
    let (mut peer, _) = node.resume().await;
    let again = peer.expect("topic:subscribe").await;
    assert_eq!(again, first);
    for id in [32, 48] {
        peer.message("t", id).await;
    }
    peer.ack(
        &again,
        json!({"topics": [{"topic": "t", "position": "48", "recovered": true}]}),
    )
    .await;
    let mut topic = asking.await.unwrap().unwrap();
    assert_eq!(ids(&mut topic, 2).await, [32, 48]);
    assert_eq!(client.counts().duplicates, 0);
}

#[tokio::test]
async fn refused_topics_are_told_and_a_topic_is_followed_once() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let (subscription, ()) =
        tokio::join!(client.subscribe(["a", "b"], Subscribe::default()), async {
            let asked = peer.expect("topic:subscribe").await;
            peer.ack(
                &asked,
                json!({"topics": [{"topic": "a", "position": "0", "recovered": true}],
            "rejected": [{"topic": "b", "code": "forbidden"}]}),
            )
            .await;
        });
    let subscription = subscription.unwrap();
    assert_eq!(subscription.topics().len(), 1);
    assert_eq!(&*subscription.rejected()[0].code, "forbidden");
    let twice = client.subscribe(["a"], Subscribe::default()).await;
    assert!(matches!(twice, Err(Error::AlreadySubscribed(_))));
    let bad = client
        .subscribe(["white space"], Subscribe::default())
        .await;
    assert!(matches!(bad, Err(Error::Invalid(_))));
    let (left, ()) = tokio::join!(subscription.unsubscribe(), async {
        let asked = peer.expect("topic:unsubscribe").await;
        peer.ack(&asked, json!({"unsubscribed": ["a"]})).await;
    });
    left.unwrap();
    follow(&client, &mut peer, &["a"], Subscribe::default(), "0").await;
}

#[tokio::test]
async fn dropped_subscription_leaves_its_topic() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    drop(follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await);
    peer.message("t", 16).await;
    let left = peer.expect("topic:unsubscribe").await;
    assert_eq!(left["data"]["topics"], json!(["t"]));
}

#[tokio::test]
async fn messages_read_the_same_over_message_pack() {
    let node = Fake::bind().await;
    let mut options = quick();
    options.dial.encoding = Encoding::MsgPack;
    let client = Client::start([node.url()], options).unwrap();
    let mut peer = node.begin().await;
    let mut topic = follow(&client, &mut peer, &["t"], Subscribe::default(), "0").await;
    peer.message("t", 16).await;
    let message = message(&mut topic).await;
    assert_eq!(message.data(), json!({"n": 16}));
    assert_eq!(message.text(), r#"{"n":16}"#);
    assert_eq!(peer.encoding, Encoding::MsgPack);
}
