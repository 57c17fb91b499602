//! Source 3.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, also_in, node, request};

const LOBBY: &str = "/ws/room/lobby";

also_in! {
    one_redis: OneRedis, two_nodes: TwoNodes;
    [
        a_text_reaches_everybody_in_the_room_once_and_unchanged,
        all_sessions_hear_the_texts_in_one_order,
        a_session_that_left_hears_nothing_and_the_others_go_on,
        pings_are_answered_and_binary_is_ignored,
        the_path_names_the_room_and_no_name_is_the_default_one,
        since_replays_the_rooms_log_as_plain_texts,
        a_slow_session_does_not_delay_the_others,
        echo_and_binary_are_as_configured,
    ]
}

also_in! {
    redis_cluster: RedisCluster;
    [
        a_text_reaches_everybody_in_the_room_once_and_unchanged,
        since_replays_the_rooms_log_as_plain_texts,
    ]
}

/// Says something and hears it, which also shows that nothing else came before.
async fn speaks(client: &mut Client, text: &str) {
    client.say(text).await;
    assert_eq!(client.text().await, text);
}

#[tokio::test]
async fn a_text_reaches_everybody_in_the_room_once_and_unchanged() {
    let node = node(&[]).await;
    let (mut ada, mut bob) = (node.open(LOBBY).await, node.open(LOBBY).await);
    let mut elsewhere = node.open("/ws/room/kitchen").await;
    speaks(&mut elsewhere, "here").await;
    for (name, client) in [("ada", &mut ada), ("bob", &mut bob)] {
        client.say(name).await;
        while client.text().await != name {}
    }
    // Both are in. Behind what both say now, nothing of the beginning is left.
    ada.say("ready ada").await;
    bob.say("ready bob").await;
    for client in [&mut ada, &mut bob] {
        let mut ready = 0;
        while ready < 2 {
            ready += usize::from(client.text().await.starts_with("ready"));
        }
    }
    let texts = [
        "hello",
        "",
        r#"{"type":"subscribe"}"#,
        "\u{1f600} \"quoted\"\n",
    ];
    for text in texts {
        speaks(&mut ada, text).await;
        assert_eq!(bob.text().await, text);
    }
    speaks(&mut bob, "once").await;
    assert_eq!(ada.text().await, "once");
    speaks(&mut ada, "and no more").await;
    assert_eq!(bob.text().await, "and no more");
    speaks(&mut elsewhere, "alone").await;
}

#[tokio::test]
async fn all_sessions_hear_the_texts_in_one_order() {
    let node = node(&[]).await;
    let (mut ada, mut bob) = (node.open(LOBBY).await, node.open(LOBBY).await);
    speaks(&mut ada, "ada").await;
    bob.say("begin").await;
    for client in [&mut ada, &mut bob] {
        while client.text().await != "begin" {}
    }
    let says = async |client: &mut Client, name: &str| {
        for n in 0..50 {
            client.say(&format!("{name} {n}")).await;
        }
    };
    tokio::join!(says(&mut ada, "ada"), says(&mut bob, "bob"));
    let (mut by_ada, mut by_bob) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        by_ada.push(ada.text().await);
        by_bob.push(bob.text().await);
    }
    assert_eq!(by_ada, by_bob);
    by_ada.retain(|text| text.starts_with("ada"));
    let sent: Vec<String> = (0..50).map(|n| format!("ada {n}")).collect();
    assert_eq!(by_ada, sent);
}

#[tokio::test]
async fn a_session_that_left_hears_nothing_and_the_others_go_on() {
    let node = node(&[]).await;
    let (mut ada, mut bob) = (node.open(LOBBY).await, node.open(LOBBY).await);
    speaks(&mut ada, "one").await;
    bob.say("two").await;
    while bob.text().await != "two" {}
    assert_eq!(ada.text().await, "two");
    assert_eq!(bob.close(1000, "").await, 1000);
    speaks(&mut ada, "three").await;
    let mut again = node.open(LOBBY).await;
    // Plain text has no ids: a new session hears what comes, not what was.
    speaks(&mut again, "four").await;
    assert_eq!(ada.text().await, "four");
}

#[tokio::test]
async fn pings_are_answered_and_binary_is_ignored() {
    let node = node(&[]).await;
    let mut client = node.open(LOBBY).await;
    speaks(&mut client, "hello").await;
    client.send(Message::binary(vec![1, 2, 3])).await;
    client.send(Message::Ping(vec![7].into())).await;
    assert_eq!(client.message().await, Message::Pong(vec![7].into()));
    client.send(Message::Pong(vec![8].into())).await;
    speaks(&mut client, "still here").await;
}

#[tokio::test]
async fn the_node_pings_and_ends_sessions_that_do_not_answer() {
    let node = node(&[("room.ping_interval", "2s")]).await;
    let (mut answers, mut silent) = (node.open(LOBBY).await, node.open(LOBBY).await);
    speaks(&mut answers, "hello").await;
    let began = tokio::time::Instant::now();
    // Reading answers pings; who does not read, does not answer, and is gone after the second.
    for ping in 1..=4 {
        let message = answers.message_within(Duration::from_secs(20)).await;
        assert!(matches!(message, Message::Ping(_)), "{message:?}");
        assert!(began.elapsed() >= Duration::from_millis(1500 * ping));
    }
    let (code, reason, _) = silent.closed().await;
    assert_eq!((code, &*reason), (1001, "Heartbeat timeout"));
    speaks(&mut answers, "still here").await;
}

#[tokio::test]
async fn the_path_names_the_room_and_no_name_is_the_default_one() {
    let routes = ("routes", "/project=room,/ws/room/{room}=room");
    let node = node(&[routes, ("auth.mode", "required")]).await;
    // No credential is asked for unless the route does.
    let mut unnamed = node.open("/project").await;
    speaks(&mut unnamed, "one").await;
    let mut named = node.open("/ws/room/default").await;
    speaks(&mut named, "two").await;
    assert_eq!(unnamed.text().await, "two");
    let long = format!(
        "GET /ws/room/{} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        "x".repeat(251)
    );
    assert_eq!(request(node.port, &long).await, Some(400));
}

#[tokio::test]
async fn since_replays_the_rooms_log_as_plain_texts() {
    let node = node(&[]).await;
    let mut topics = node.open("/ws/topics").await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        let answer = topics
            .ask(json!({"type": "publish", "topic": "room:lobby", "data": text, "messageId": text}))
            .await;
        ids.push(answer["published"].as_str().unwrap().to_owned());
    }
    let mut client = node.open(&format!("{LOBBY}?since={}", ids[0])).await;
    assert_eq!(client.text().await, "two");
    assert_eq!(client.text().await, "three");
    speaks(&mut client, "four").await;
}

#[tokio::test]
async fn a_slow_session_does_not_delay_the_others() {
    let node = node(&[]).await;
    let (mut slow, mut ada) = (node.open(LOBBY).await, node.open(LOBBY).await);
    speaks(&mut slow, "hello").await;
    let text = "x".repeat(60_000);
    // More than any socket buffer takes; `slow` reads none of it.
    ada.say("begin").await;
    while ada.text().await != "begin" {}
    for n in 0..200 {
        speaks(&mut ada, &format!("{n} {text}")).await;
    }
    assert_eq!(slow.text().await, "begin");
    for n in 0..200 {
        assert!(slow.text().await.starts_with(&format!("{n} ")), "{n}");
    }
}

#[tokio::test]
async fn a_room_that_ends_with_its_node_closes_with_1001() {
    let node = node(&[("drain.readiness_delay", "0s"), ("drain.duration", "1s")]).await;
    let mut client = node.open(LOBBY).await;
    speaks(&mut client, "hello").await;
    node.signal("TERM");
    let (code, _, texts) = client.closed().await;
    assert_eq!((code, texts.len()), (1001, 0));
}

async fn heard_besides_hello(client: &mut Client) -> Message {
    loop {
        let message = client.message().await;
        if message != Message::text("hello") {
            return message;
        }
    }
}

#[tokio::test]
async fn what_a_room_ignores_counts_as_frames() {
    let node = node(&[
        ("limits.frames_per_second", "5"),
        ("limits.frames_burst", "5"),
    ])
    .await;
    let mut client = node.open(LOBBY).await;
    speaks(&mut client, "hello").await;
    // Five at once, five per second, and so many refusals in a row until it is closed.
    for _ in 0..220 {
        client.send(Message::binary(vec![1, 2, 3])).await;
    }
    let (code, ..) = client.closed().await;
    assert_eq!(code, 1008);
}

#[tokio::test]
async fn echo_and_binary_are_as_configured() {
    let loud = node(&[("room.echo", "self"), ("room.relay_binary", "true")]).await;
    let (mut ada, mut bob) = (loud.open(LOBBY).await, loud.open(LOBBY).await);
    // The echo comes at once, so it does not show that the room has the text: the other one does.
    speaks(&mut bob, "hello").await;
    ada.say("begin").await;
    assert_eq!(heard_besides_hello(&mut ada).await, Message::text("begin"));
    while bob.text().await != "begin" {}
    ada.send(Message::binary(vec![1, 2, 255])).await;
    ada.say("two").await;
    for client in [&mut ada, &mut bob] {
        let binary = heard_besides_hello(client).await;
        assert_eq!(binary, Message::binary(vec![1, 2, 255]));
        assert_eq!(heard_besides_hello(client).await, Message::text("two"));
    }

    let quiet = node(&[("room.echo", "off")]).await;
    let (mut ada, mut bob) = (quiet.open(LOBBY).await, quiet.open(LOBBY).await);
    // Texts are read only after the session has entered, so both are in when they are stored.
    bob.say("bob").await;
    ada.say("ada").await;
    let mut heard = Vec::new();
    for n in 0.. {
        ada.say(&format!("again {n}")).await;
        heard.push(bob.text().await);
        if heard.len() > 2 {
            break;
        }
    }
    assert!(heard.iter().all(|text| !text.contains("bob")), "{heard:?}");
    bob.say("end").await;
    loop {
        let text = ada.text().await;
        assert!(!text.contains("again"), "{text}");
        if text == "end" {
            break;
        }
    }
}
