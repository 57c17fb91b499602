//! Publishes and other requests.

use std::future::IntoFuture as _;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{Client, Cut, Error, MessageId, Options, Published};

#[tokio::test]
async fn unanswered_publish_is_repeated_under_the_same_id_on_the_next_node() {
    let (first, second) = (Fake::bind().await, Fake::bind().await);
    let client = Client::start([first.url(), second.url()], quick()).unwrap();
    let mut peer = first.begin().await;
    let one = client.publish("t", &json!({"n": 1})).start().await.unwrap();
    let two = client.publish("t", &json!({"n": 2})).start().await.unwrap();
    let sent = [
        peer.expect("topic:publish").await,
        peer.expect("topic:publish").await,
    ];
    assert_eq!(sent[0]["id"], one.id());
    assert_eq!(sent[0]["data"], json!({"n": 1}));
    peer.ack(&sent[1], json!({"id": "32"})).await;
    assert_eq!(two.done().await.unwrap().id, MessageId::new(32));
    client.cut(Cut::Reset, Duration::ZERO).await;

    let (mut peer, _) = second.resume().await;
    let again = peer.expect("topic:publish").await;
    assert_eq!(
        again, sent[0],
        "only what was not answered, and nothing of it changed"
    );
    peer.ack(&again, json!({"id": "16", "duplicate": true}))
        .await;
    let published = one.done().await.unwrap();
    assert_eq!(
        published,
        Published {
            id: MessageId::new(16),
            duplicate: true
        }
    );
    let counts = client.counts();
    assert_eq!(
        (counts.published, counts.publish_duplicates, counts.retries),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn retryable_refusal_is_tried_again_and_a_final_one_is_not() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let publish = client.publish("t", &1).id("mine").start().await.unwrap();
    for code in ["unavailable", "rate_limited"] {
        let sent = peer.expect("topic:publish").await;
        assert_eq!(sent["id"], "mine");
        peer.say(
            &json!({"type": "ws:error", "data": {"ackId": "mine", "code": code,
            "message": "later", "retryable": true, "retry_after": 10}}),
        )
        .await;
    }
    let sent = peer.expect("topic:publish").await;
    peer.say(
        &json!({"type": "ws:error", "data": {"ackId": sent["id"], "code": "forbidden",
        "message": "no", "retryable": false}}),
    )
    .await;
    match publish.done().await {
        Err(Error::Refused { code, .. }) => assert_eq!(&*code, "forbidden"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.counts().retries, 2);
}

#[tokio::test]
async fn publish_sent_in_a_lost_session_is_uncertain_and_one_not_sent_goes_on() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let sent = client.publish("t", &1).start().await.unwrap();
    peer.expect("topic:publish").await;
    client.cut(Cut::Reset, Duration::from_millis(50)).await;
    let waiting = client.publish("t", &2).start().await.unwrap();
    let mut peer = node.accept().await;
    peer.expect("ws:resume").await;
    peer.say(&json!({"type": "ws:resume_failed", "data": {"reason": "not_resumable"}}))
        .await;
    peer.expect("ws:connect").await;
    peer.connect_ack("0").await;
    assert!(matches!(sent.done().await, Err(Error::Uncertain)));
    let publish = peer.expect("topic:publish").await;
    assert_eq!(publish["data"], 2);
    peer.ack(&publish, json!({"id": "16"})).await;
    assert!(waiting.done().await.is_ok());
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let node = Fake::bind().await;
    let client = Client::start(
        [node.url()],
        Options {
            requests_max: 2,
            ..quick()
        },
    )
    .unwrap();
    let mut peer = node.begin().await;
    let mut under_way = Vec::new();
    for n in 0..3 {
        under_way.push(client.publish("t", &n).start().await.unwrap());
    }
    let first = peer.expect("topic:publish").await;
    peer.expect("topic:publish").await;
    let quiet = timeout(Duration::from_millis(50), peer.frame()).await;
    assert!(quiet.is_err(), "the third waits");
    peer.ack(&first, json!({"id": "16"})).await;
    assert_eq!(peer.expect("topic:publish").await["data"], 2);
}

#[tokio::test]
async fn publish_gives_up_in_time_and_says_so() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let _peer = node.begin().await;
    let late = client
        .publish("t", &1)
        .within(Duration::from_millis(50))
        .await;
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
}

#[tokio::test]
async fn bad_arguments_are_refused_before_anything_is_sent() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let long = "x".repeat(65);
    for refused in [
        client.publish("white space", &1).await,
        client.publish("t", &1).id(&long).await,
    ] {
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let no_json = std::collections::HashMap::from([(vec![1_u8], 1)]);
    assert!(matches!(
        client.publish("t", &no_json).await,
        Err(Error::Encode(_))
    ));
    for bad in [0, 257] {
        let options = Options {
            requests_max: bad,
            ..quick()
        };
        assert!(matches!(
            Client::start([node.url()], options),
            Err(Error::Invalid(_))
        ));
    }
}

#[tokio::test]
async fn call_whose_answer_was_lost_is_not_repeated() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .request("rpc:call", &json!({"method": "pay", "params": 1}))
                .await
        }
    });
    peer.expect("rpc:call").await;
    peer.cut();
    let _peer = node.resume().await;
    assert!(matches!(call.await.unwrap(), Err(Error::Uncertain)));
}

#[tokio::test]
async fn options_of_a_publish_are_written_as_the_protocol_says() {
    let node = Fake::bind().await;
    let client = Client::start([node.url()], quick()).unwrap();
    let mut peer = node.begin().await;
    let publish = client
        .publish("t", &true)
        .id("p")
        .ephemeral()
        .replicated()
        .exclude_self();
    let (published, ()) = tokio::join!(publish.into_future(), async {
        let sent = peer.expect("topic:publish").await;
        assert_eq!(
            sent,
            json!({"type": "topic:publish", "id": "p", "topic": "t", "data": true,
                "ephemeral": true, "durability": "replicated", "exclude_self": true})
        );
        peer.ack(&sent, json!({})).await;
    });
    assert_eq!(
        published.unwrap(),
        Published {
            id: None,
            duplicate: false
        }
    );
}
