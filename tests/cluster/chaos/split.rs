//! Two masters at once: nodes do not leave a former one at the same moment.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{Encoding, FrameType};

use crate::harness::node::Process;
use crate::harness::peer::{Peer, code_of};
use crate::harness::proxy::Proxy;
use crate::harness::redis::Redis;
use crate::harness::until_true;

/// Longest time until a node is with the server that its line leads to.
const FOLLOWS: Duration = Duration::from_secs(20);

async fn node(name: &str, line: &Proxy) -> Process {
    let store = format!("redis://{}", line.address());
    let settings = [("auth.mode", "off"), ("store.url", store.as_str())];
    Process::serve(name, &settings).await
}

/// Publishes until the store takes it.
async fn publish(peer: &mut Peer, topic: &str, text: &str) -> String {
    loop {
        let answer = peer.publish_as(text, topic, json!(text)).await;
        if answer["type"] == "ws:ack" {
            return answer["data"]["result"]["id"].as_str().unwrap().to_owned();
        }
        assert_eq!(code_of(&answer), "unavailable");
    }
}

/// A server, and its replica.
async fn pair() -> (Redis, Redis) {
    let former = Redis::start().await;
    let port = former.port.to_string();
    let next = Redis::with(&["--replicaof", "127.0.0.1", &port]).await;
    (former, next)
}

/// Makes a master of the replica, once it has this message.
async fn promote(replica: &Redis, id: &str) {
    until_true("the replica has it", FOLLOWS, || {
        replica.cli(&["GET", "sw:{ms3}:clock"]).trim() == id
    })
    .await;
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]).trim(), "OK");
}

fn number(id: &str) -> u64 {
    id.parse().unwrap()
}

/// Whether the server's time is past the millisecond of an id.
fn is_past(server: &Redis, id: &str) -> bool {
    const EPOCH_MS: u64 = 1_735_689_600_000;
    let time = server.cli(&["TIME"]);
    let mut parts = time.lines().map(number);
    let (seconds, micros) = (parts.next().unwrap(), parts.next().unwrap());
    seconds * 1000 + micros / 1000 > EPOCH_MS + number(id) / 4096
}

/// Hears of losses until one covers the message.
async fn is_told_of(peer: &mut Peer, topic: &str, id: &str) {
    let covers = |gap: &Value| {
        let edge = |name: &str| number(gap[name].as_str().unwrap());
        edge("after") < number(id) && number(id) < edge("before")
    };
    loop {
        let gap = peer.wire.wait_for(FrameType::Gap, FOLLOWS).await.unwrap();
        assert_eq!(gap.field("reason"), "rewound");
        if gap.topic.as_deref() == Some(topic) && covers(&gap.data()) {
            return;
        }
    }
}

#[tokio::test]
async fn what_either_of_two_masters_got_alone_is_told_and_nothing_comes_out_of_order() {
    let (former, next) = pair().await;
    let lines = [Proxy::to(former.port).await, Proxy::to(former.port).await];
    let (late, early) = (
        node("late", &lines[0]).await,
        node("early", &lines[1]).await,
    );
    let mut on_late = Peer::connect(&late.url(0), Encoding::Json).await;
    let mut on_early = Peer::connect(&early.url(0), Encoding::Json).await;
    for peer in [&mut on_late, &mut on_early] {
        peer.subscribe(&["t", "u"]).await;
    }
    let first = on_early.publish("t", json!("first")).await;
    on_early.saw(&first).await;
    on_late.saw(&first).await;
    // One node goes there.
    promote(&next, &first).await;
    lines[1].lead_to(next.port);
    let only_next = publish(&mut on_early, "t", "only next").await;
    assert_eq!(former.cli(&["GET", "sw:{ms3}:clock"]).trim(), first);
    on_early.saw(&only_next).await;
    // The other one is still with the former master, which takes what it gets.
    let only_former = on_late.publish("u", json!("only former")).await;
    assert!(number(&only_former) > number(&only_next));
    on_late.saw(&only_former).await;
    // Two masters give the same id in the same millisecond; what is to come is of a later one.
    until_true("time goes on", FOLLOWS, || is_past(&next, &only_former)).await;
    let after = publish(&mut on_early, "t", "after").await;
    assert!(number(&after) > number(&only_former));
    on_early.saw(&after).await;
    // Now it follows. Each side learns what it cannot have.
    lines[0].lead_to(next.port);
    is_told_of(&mut on_early, "u", &only_former).await;
    is_told_of(&mut on_late, "t", &only_next).await;
    // What is newer than all that was handed on comes, what is older does not come behind it.
    let seen = on_late.message().await;
    assert_eq!(seen["id"], json!(after), "{seen}");
    let last = publish(&mut on_late, "u", "last").await;
    for peer in [&mut on_late, &mut on_early] {
        let seen = peer.message().await;
        assert_eq!(seen["id"], json!(last), "{seen}");
        peer.is_alive().await;
    }
}

/// The connections of a node do not change servers at one moment: those for commands may lead to the
/// former one, which answers, while the feed says what the next one has.
#[tokio::test]
async fn what_the_feed_says_to_be_in_the_log_is_not_looked_for_in_a_former_master() {
    let (former, next) = pair().await;
    let line = Proxy::to(former.port).await;
    let node = node("between", &line).await;
    let mut peer = Peer::connect(&node.url(0), Encoding::Json).await;
    peer.subscribe(&["t"]).await;
    let first = peer.publish("t", json!("first")).await;
    peer.saw(&first).await;
    // Now its connection for reads of logs stands.
    assert_eq!(peer.log("t").await.len(), 1);
    promote(&next, &first).await;
    let direct = Proxy::to(next.port).await;
    let there = self::node("there", &direct).await;
    let mut other = Peer::connect(&there.url(0), Encoding::Json).await;
    let missed = publish(&mut other, "t", "missed").await;

    line.lead_new_to(next.port);
    former.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    let seen = peer.message().await;
    assert_eq!(seen["id"], json!(missed), "{seen}");
    // Nothing more goes to the former one.
    let own = publish(&mut peer, "t", "own").await;
    let last = publish(&mut other, "t", "last").await;
    for id in [own, last] {
        let seen = peer.message().await;
        assert_eq!(seen["id"], json!(id), "{seen}");
    }
    assert_eq!(former.cli(&["GET", "sw:{ms3}:clock"]).trim(), first);
}
