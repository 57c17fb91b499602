//! One message, every dialect in its own form; on one node and on two.

use serde_json::json;

use crate::harness::{Client, Process, also_in, node, redis};

async fn spark(node: &Process, topic: &str) -> Client {
    let mut client = node.open("/ws/spark").await;
    let welcome = client.ask(json!({"type": "ws:connect"})).await;
    assert_eq!(welcome["type"], "ws:connect_ack");
    let answer = client
        .ask(json!({"type": "topic:subscribe", "id": "s", "data": {"topics": [topic]}}))
        .await;
    assert_eq!(answer["type"], "ws:ack");
    client
}

/// Everybody says something and everybody hears it, over these nodes.
async fn crosses(first: &Process, second: &Process) {
    let mut spark = spark(first, "room:lobby").await;
    let mut topics = second.open("/ws/topics").await;
    topics.subscribe("room:lobby").await;
    let mut room = second.open("/ws/room/lobby").await;
    room.say("hello").await;
    assert_eq!(room.text().await, "hello");
    assert_eq!(topics.json().await["data"], "hello");
    assert_eq!(spark.json().await["data"], "hello");

    let publish = json!({"type": "topic:publish", "topic": "room:lobby", "data": {"n": [1, 2]}});
    spark.say(&publish.to_string()).await;
    assert_eq!(room.text().await, r#"{"n":[1,2]}"#);
    let event = topics.json().await;
    let heard = spark.json().await;
    assert_eq!(event["type"], "event");
    assert_eq!(event["data"], json!({"n": [1, 2]}));
    assert_eq!(
        (&event["id"], &heard["data"]),
        (&heard["id"], &event["data"])
    );

    topics
        .say(r#"{"type":"publish","topic":"room:lobby","data":"plain"}"#)
        .await;
    assert_eq!(room.text().await, "plain");
    assert_eq!(topics.json().await["data"], "plain");
    assert_eq!(spark.json().await["data"], "plain");
}

also_in! {
    one_redis: OneRedis, two_nodes: TwoNodes, redis_cluster: RedisCluster;
    [a_message_reaches_every_dialect_in_its_own_form]
}

#[tokio::test]
async fn a_message_reaches_every_dialect_in_its_own_form() {
    let node = node(&[]).await;
    crosses(&node, &node).await;
}

#[tokio::test]
async fn two_nodes_over_redis_are_one_room_and_one_topic() {
    let redis = redis().await;
    let store = [("store.url", &*redis.url)];
    let (first, second) = tokio::join!(node(&store), node(&store));
    crosses(&first, &second).await;
    let (mut ada, mut bob) = (
        first.open("/ws/room/kitchen").await,
        second.open("/ws/room/kitchen").await,
    );
    bob.say("bob").await;
    assert_eq!(bob.text().await, "bob");
    ada.say("ada").await;
    while ada.text().await != "ada" {}
    assert_eq!(bob.text().await, "ada");
}
