//! Source 2.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Client, Process, also_in, keeps_the_rules_of_frames, node, node_on, redis, request_to, token,
};

const PATH: &str = "/ws/conversation";
const SAID: &str = "2024-01-01T00:00:00.000Z";
const ECHO: &[(&str, &str)] = &[("conversation.responder", "echo")];

also_in! {
    one_redis: OneRedis, two_nodes: TwoNodes;
    [
        a_connect_is_confirmed_and_pings_are_answered,
        versions_and_client_ids_that_are_not_served_close_with_their_codes,
        a_client_comes_back_to_its_conversation_and_what_it_missed,
        of_many_that_come_at_once_as_one_client_exactly_one_is_left,
        a_limit_of_one_connection_per_user_keeps_no_client_from_coming_back,
        clients_of_two_users_never_share_a_conversation,
        a_repeated_message_is_stored_once_and_its_response_sent_again,
        a_message_without_a_response_in_time_is_named,
        messages_are_validated_and_malformed_ones_keep_the_connection,
        too_many_messages_are_refused_in_the_words_of_the_contract_and_a_flood_is_closed,
    ]
}

also_in! {
    redis_cluster: RedisCluster;
    [
        a_client_comes_back_to_its_conversation_and_what_it_missed,
        a_repeated_message_is_stored_once_and_its_response_sent_again,
    ]
}

fn connect(client_id: &str) -> Value {
    json!({"type": "connect", "clientId": client_id, "timestamp": SAID, "version": "1.0"})
}

fn message(client_id: &str, content: &str, id: &str) -> Value {
    json!({
        "type": "message", "clientId": client_id, "content": content,
        "timestamp": SAID, "messageId": id,
    })
}

/// A confirmed client, and the id of its conversation.
async fn confirmed(node: &Process, client_id: &str) -> (Client, String) {
    let mut client = node.open(PATH).await;
    let answer = client.ask(connect(client_id)).await;
    assert_eq!(answer["type"], "connect_confirm", "{answer}");
    let id = answer["conversationId"].as_str().expect("an id").to_owned();
    (client, id)
}

/// Somebody who answers: a topics client that subscribes to the conversation.
async fn responder(node: &Process, conversation: &str) -> (Client, String) {
    let mut client = node.open("/ws/topics").await;
    let topic = format!("conversation:{conversation}");
    client.subscribe(&topic).await;
    (client, topic)
}

async fn respond(responder: &mut Client, topic: &str, id: &str, content: &str) {
    let data = json!({
        "type": "response", "messageId": id, "content": content, "timestamp": SAID,
    });
    let frame = json!({"type": "publish", "topic": topic, "data": data, "messageId": id});
    responder.say(&frame.to_string()).await;
    loop {
        let heard = responder.json().await;
        if heard["messageId"] == id && heard.get("published").is_some() {
            return;
        }
    }
}

fn is_now(timestamp: &Value) -> bool {
    let text = timestamp.as_str().unwrap_or_default();
    text.len() == SAID.len() && text.ends_with('Z') && text > SAID
}

async fn ends(mut client: Client, code: u16) -> Vec<Value> {
    let (closed, _, texts) = client.closed().await;
    assert_eq!(closed, code, "{texts:?}");
    let parse = |text: &String| serde_json::from_str(text).expect("JSON");
    texts.iter().map(parse).collect()
}

#[tokio::test]
async fn a_connect_is_confirmed_and_pings_are_answered() {
    let node = node(&[]).await;
    let mut client = node.open(PATH).await;
    let answer = client.ask(connect("web-1")).await;
    assert_eq!(answer["type"], "connect_confirm");
    assert_eq!(answer["clientId"], "web-1");
    assert_eq!(answer["status"], "confirmed");
    assert!(is_now(&answer["timestamp"]), "{answer}");
    assert!(
        answer["conversationId"]
            .as_str()
            .is_some_and(|id| id.len() == 36)
    );
    let pong = client.ask(json!({"type": "ping", "timestamp": SAID})).await;
    assert_eq!(
        (&pong["type"], &pong["echo"]),
        (&json!("pong"), &json!(SAID))
    );
    assert!(is_now(&pong["timestamp"]), "{pong}");
    let second = client.ask(connect("web-2")).await;
    assert_eq!(second["type"], "error");
    let (_other, another) = confirmed(&node, "web-2").await;
    assert_ne!(answer["conversationId"], another);
}

#[tokio::test]
async fn versions_and_client_ids_that_are_not_served_close_with_their_codes() {
    let node = node(&[]).await;
    let refused = |frame: Value, code: u16, names: &'static str| {
        let node = &node;
        async move {
            let mut client = node.open(PATH).await;
            client.say(&frame.to_string()).await;
            let told = ends(client, code).await;
            let [error] = told.as_slice() else {
                panic!("{told:?}");
            };
            assert_eq!(error["type"], "error");
            let text = error["error"].as_str().expect("a text");
            assert!(text.contains(names), "{text}");
            assert!(is_now(&error["timestamp"]), "{error}");
        }
    };
    let mut old = connect("web-1");
    old["version"] = json!("2.0");
    refused(old, 4400, "version").await;
    for id in ["", "has space", &"x".repeat(129)] {
        refused(connect(id), 1008, "clientId").await;
    }
    let mut nobody = connect("x");
    nobody
        .as_object_mut()
        .expect("an object")
        .remove("clientId");
    refused(nobody, 1008, "clientId").await;
    refused(message("web-1", "hi", "m-1"), 1008, "connect").await;
}

#[tokio::test]
async fn who_does_not_say_who_it_is_in_time_is_closed() {
    let node = node(&[("session.connect_timeout", "1s")]).await;
    ends(node.open(PATH).await, 1008).await;
}

/// A message reaches whoever answers, and the response the client, over these nodes; a response
/// that comes while the client is away waits for it.
async fn answers_over(first: &Process, second: &Process) {
    let (mut client, conversation) = confirmed(first, "web-1").await;
    let (mut responder, topic) = responder(second, &conversation).await;
    client
        .say(&message("web-1", "a\u{7}<b>", "m-1").to_string())
        .await;
    let heard = responder.json().await;
    assert_eq!(heard["data"], message("web-1", "a<b>", "m-1"));
    respond(&mut responder, &topic, "m-1", "well").await;
    let response = client.json().await;
    let expected = json!({
        "type": "response", "messageId": "m-1", "content": "well", "timestamp": SAID,
    });
    assert_eq!(response, expected);

    // Who comes back faster than the end of the former connection is written hears the last
    // response before it once more: twice rather than not at all.
    client.close(1001, "navigation").await;
    for (id, content) in [("m-2", "one"), ("m-3", "two")] {
        respond(&mut responder, &topic, id, content).await;
    }
    let (mut client, again) = confirmed(second, "web-1").await;
    assert_eq!(again, conversation);
    let mut heard = client.json().await;
    if heard["content"] == "well" {
        heard = client.json().await;
    }
    assert_eq!(heard["content"], "one");
    assert_eq!(client.json().await["content"], "two");
    respond(&mut responder, &topic, "m-4", "three").await;
    assert_eq!(client.json().await["content"], "three");

    // The one that is still open gives way, and another conversation is begun on request.
    let mut third = first.open(PATH).await;
    let mut fresh = connect("web-1");
    fresh["resume"] = json!(false);
    let answer = third.ask(fresh).await;
    assert_eq!(answer["type"], "connect_confirm");
    assert_ne!(answer["conversationId"], conversation);
    ends(client, 1008).await;
    respond(&mut responder, &topic, "m-5", "to nobody").await;
    let pong = third.ask(json!({"type": "ping", "timestamp": SAID})).await;
    assert_eq!(pong["type"], "pong");
}

#[tokio::test]
async fn a_client_comes_back_to_its_conversation_and_what_it_missed() {
    let node = node(&[]).await;
    answers_over(&node, &node).await;
}

#[tokio::test]
async fn of_many_that_come_at_once_as_one_client_exactly_one_is_left() {
    const MANY: usize = 8;
    let node = node(ECHO).await;
    let opened = (0..MANY).map(|_| node.open(PATH));
    let mut clients = futures_util::future::join_all(opened).await;
    // All say who they are before any is answered.
    let frame = connect("web-1").to_string();
    let said = clients.iter_mut().map(|client| client.say(&frame));
    futures_util::future::join_all(said).await;
    let ends = clients.iter_mut().map(async |client| {
        let mut conversation = Value::Null;
        loop {
            match timeout(Duration::from_secs(3), client.message()).await {
                Ok(Message::Text(text)) => {
                    let frame: Value = serde_json::from_str(text.as_str()).expect("JSON");
                    if frame["type"] == "connect_confirm" {
                        conversation = frame["conversationId"].clone();
                    }
                }
                Ok(Message::Close(frame)) => {
                    let code = frame.map(|frame| u16::from(frame.code));
                    return (conversation, code);
                }
                Ok(_) => {}
                Err(_) => return (conversation, None),
            }
        }
    });
    let ends = futures_util::future::join_all(ends).await;
    let left: Vec<usize> = (0..MANY).filter(|at| ends[*at].1.is_none()).collect();
    assert_eq!(left.len(), 1, "{ends:?}");
    assert!(
        ends.iter()
            .all(|(_, code)| code.is_none_or(|code| code == 1008))
    );
    let (one, _) = &ends[left[0]];
    let all_in_one = |(other, _): &(Value, Option<u16>)| other.is_null() || other == one;
    assert!(one.is_string() && ends.iter().all(all_in_one), "{ends:?}");
    let response = clients[left[0]]
        .ask(message("web-1", "still here", "m-1"))
        .await;
    assert_eq!(response["content"], "still here");
}

#[tokio::test]
async fn a_limit_of_one_connection_per_user_keeps_no_client_from_coming_back() {
    let settings = [
        ("auth.mode", "required"),
        ("limits.connections_per_user", "1"),
    ];
    let node = node(&settings).await;
    let path = format!("{PATH}?token={}", token("ada", 60));
    let mut old = node.open(&path).await;
    let first = old.ask(connect("web-1")).await;
    assert_eq!(first["type"], "connect_confirm", "{first}");
    // On this node or another one, while the former connection is still open.
    for _ in 0..4 {
        let mut new = node.open(&path).await;
        let again = new.ask(connect("web-1")).await;
        assert_eq!(again["conversationId"], first["conversationId"], "{again}");
        ends(old, 1008).await;
        old = new;
    }
    // Another client of his is one more, wherever he has one already.
    let mut others = Vec::new();
    loop {
        let mut other = node.open(&path).await;
        let answer = other
            .ask(connect(&format!("web-{}", 2 + others.len())))
            .await;
        if answer["type"] == "error" {
            ends(other, 1013).await;
            return;
        }
        others.push(other);
        assert!(others.len() < 3, "one on each node");
    }
}

#[tokio::test]
async fn a_conversation_goes_on_over_redis_on_the_other_node() {
    let redis = redis().await;
    let store = [("store.url", &*redis.url)];
    let (first, second) = tokio::join!(node(&store), node(&store));
    answers_over(&first, &second).await;
}

#[tokio::test]
async fn a_response_reaches_the_client_after_its_node_was_killed() {
    let redis = redis().await;
    let store = [("store.url", &*redis.url)];
    let (first, second) = tokio::join!(node(&store), node(&store));
    let (_client, conversation) = confirmed(&first, "web-1").await;
    let (mut responder, topic) = responder(&second, &conversation).await;
    first.signal("KILL");
    respond(&mut responder, &topic, "m-1", "still here").await;
    let (mut client, again) = confirmed(&second, "web-1").await;
    assert_eq!(again, conversation);
    assert_eq!(client.json().await["content"], "still here");
}

#[tokio::test]
async fn clients_of_two_users_never_share_a_conversation() {
    let node = node(&[("auth.mode", "required")]).await;
    let open = async |user: &str| {
        let path = format!("{PATH}?token={}", token(user, 60));
        let mut client = node.open(&path).await;
        client.ask(connect("web-1")).await["conversationId"].clone()
    };
    let (ada, bob) = (open("ada").await, open("bob").await);
    assert!(ada.is_string() && bob.is_string());
    assert_ne!(ada, bob);
    assert_eq!(open("ada").await, ada);
    let mut nobody = node.open(PATH).await;
    nobody.say(&connect("web-1").to_string()).await;
    ends(nobody, 1008).await;
}

#[tokio::test]
async fn a_repeated_message_is_stored_once_and_its_response_sent_again() {
    let node = node(ECHO).await;
    let (mut client, conversation) = confirmed(&node, "web-1").await;
    let (mut reader, _) = responder(&node, &conversation).await;
    let first = client.ask(message("web-1", "Hello!", "m-1")).await;
    assert_eq!(
        (&first["type"], &first["messageId"]),
        (&json!("response"), &json!("m-1"))
    );
    assert_eq!(first["content"], "Hello!");
    assert!(is_now(&first["timestamp"]), "{first}");
    assert_eq!(
        client.ask(message("web-1", "other words", "m-1")).await,
        first
    );
    // Also after coming back.
    client.close(1000, "").await;
    let (mut client, _) = confirmed(&node, "web-1").await;
    assert_eq!(client.ask(message("web-1", "Hello!", "m-1")).await, first);
    let kept = [reader.json().await, reader.json().await];
    assert_eq!(kept[0]["data"]["type"], "message");
    assert_eq!(kept[1]["data"], first);
    reader.hears_nothing().await;
}

#[tokio::test]
async fn a_message_without_a_response_in_time_is_named() {
    let node = node(&[("conversation.response_timeout", "300ms")]).await;
    let (mut client, conversation) = confirmed(&node, "web-1").await;
    let error = client.ask(message("web-1", "anybody?", "m-1")).await;
    assert_eq!(
        (&error["type"], &error["messageId"]),
        (&json!("error"), &json!("m-1"))
    );
    let (mut responder, topic) = responder(&node, &conversation).await;
    client
        .say(&message("web-1", "now?", "m-2").to_string())
        .await;
    assert_eq!(responder.json().await["data"]["messageId"], "m-2");
    respond(&mut responder, &topic, "m-2", "yes").await;
    assert_eq!(client.json().await["content"], "yes");
}

#[tokio::test]
async fn messages_are_validated_and_malformed_ones_keep_the_connection() {
    let node = node(ECHO).await;
    let (mut client, _) = confirmed(&node, "web-1").await;
    let without = |field: &str| {
        let mut frame = message("web-1", "x", "m-1");
        frame.as_object_mut().expect("an object").remove(field);
        frame
    };
    for (frame, names) in [
        (message("web-2", "x", "m-1"), "clientId"),
        (without("clientId"), "clientId"),
        (without("content"), "content"),
        (without("timestamp"), "timestamp"),
        (without("messageId"), "messageId"),
        (json!({"type": "dance"}), "type"),
        (json!(["no object"]), "frame"),
        (
            json!({"type": "message", "messageId": "m-1", "content": 7}),
            "clientId",
        ),
    ] {
        let error = client.ask(frame).await;
        assert_eq!(error["type"], "error");
        let text = error["error"].as_str().expect("a text");
        assert!(text.starts_with(names), "{text}");
        assert!(is_now(&error["timestamp"]));
        assert!(!text.contains("store") && !text.contains("src/"));
    }
    // None of them was answered, and the connection goes on.
    let response = client.ask(message("web-1", "x", "m-1")).await;
    assert_eq!(response["content"], "x");
    for _ in 0..10 {
        client.say("no JSON").await;
    }
    let told = ends(client, 1008).await;
    assert!(told.iter().all(|frame| frame["type"] == "error"));
}

#[tokio::test]
async fn too_many_messages_are_refused_in_the_words_of_the_contract_and_a_flood_is_closed() {
    let node = node(&[("limits.frames_per_second", "50"), ECHO[0]]).await;
    let (mut client, _) = confirmed(&node, "web-1").await;
    for at in 0..160 {
        let frame = message("web-1", "x", &format!("m-{at}"));
        client.send(Message::text(frame.to_string())).await;
    }
    let (code, reason, texts) = client.closed().await;
    assert_eq!((code, &*reason), (1008, "Rate limit exceeded"));
    let frames: Vec<Value> = texts
        .iter()
        .map(|text| serde_json::from_str(text).expect("JSON"))
        .collect();
    let refused: Vec<&Value> = frames
        .iter()
        .filter(|frame| frame["error"] == "Rate limit exceeded")
        .collect();
    assert!(refused.len() >= 100, "{}", refused.len());
    assert!(refused.iter().all(|frame| frame["messageId"].is_string()));
}

/// Takes a minute: silence is what it is about.
#[tokio::test]
async fn a_conversation_that_is_silent_for_a_minute_is_closed() {
    let node = node(&[]).await;
    let (mut silent, _) = confirmed(&node, "web-1").await;
    let (mut pings, _) = confirmed(&node, "web-2").await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    let ping = json!({"type": "ping", "timestamp": SAID});
    assert_eq!(pings.ask(ping.clone()).await["type"], "pong");
    let Message::Close(Some(frame)) = silent.message_within(Duration::from_secs(54)).await else {
        panic!("not closed");
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(pings.ask(ping).await["type"], "pong");
}

#[tokio::test]
async fn a_draining_node_tells_conversations_when_to_come_back() {
    let redis = redis().await;
    let settings = [("store.url", &*redis.url), ("drain.readiness_delay", "0s")];
    let (first, second) = tokio::join!(node(&settings), node(&settings));
    let (client, conversation) = confirmed(&first, "web-1").await;
    first.signal("TERM");
    let told = ends(client, 1001).await;
    assert!(
        told.iter().any(|frame| frame["type"] == "reconnect"),
        "{told:?}"
    );
    let (_, again) = confirmed(&second, "web-1").await;
    assert_eq!(again, conversation);
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: only the route is looked up.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[tokio::test]
async fn a_conversation_keeps_the_rules_of_frames() {
    let node = node(&[]).await;
    let open = async || confirmed(&node, "web-1").await.0;
    let question = json!({"type": "ping", "timestamp": SAID});
    keeps_the_rules_of_frames(open, &question, "pong").await;
}

#[tokio::test]
async fn a_conversation_from_another_machine_needs_tls_where_that_is_asked_for() {
    let strict = [("conversation.require_tls", "true"), ECHO[0]];
    let node_here = node(&strict).await;
    confirmed(&node_here, "web-1").await;
    // A machine without a network has no other address to come from.
    let Some(address) = own_address() else {
        return;
    };
    let upgrade = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for (settings, status) in [(&strict[..], 403), (&strict[1..], 101)] {
        let node = node_on(address, settings).await;
        let answered = request_to((address, node.port), &upgrade(PATH)).await;
        assert_eq!(answered, Some(status));
    }
}
