//! Source 1.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, also_in, node, redis, request, request_json, token};

const PATH: &str = "/ws/topics";
const REQUIRED: &[(&str, &str)] = &[("auth.mode", "required")];
const OPTIONAL: &[(&str, &str)] = &[("auth.mode", "optional")];

also_in! {
    one_redis: OneRedis, two_nodes: TwoNodes;
    [
        a_first_message_authenticates_and_nothing_else_may_come_first,
        a_token_that_runs_out_is_announced_and_can_be_replaced,
        topics_are_subscribed_and_left_with_the_answers_of_the_source,
        subscriptions_belong_to_the_connection_and_end_with_it,
        refused_topics_are_named_with_the_rule_and_the_others_hold,
        a_publish_is_answered_and_its_message_id_is_stored_once,
        since_replays_what_was_missed_and_says_whether_all_of_it,
        what_is_no_frame_is_answered_and_ten_in_a_row_close,
    ]
}

also_in! {
    redis_cluster: RedisCluster;
    [
        topics_are_subscribed_and_left_with_the_answers_of_the_source,
        since_replays_what_was_missed_and_says_whether_all_of_it,
    ]
}

fn unauthorized() -> (u16, String) {
    (1008, "Unauthorized".to_owned())
}

async fn ends_unauthorized(mut client: Client) {
    let (code, reason, _) = client.closed().await;
    assert_eq!((code, reason), unauthorized());
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

/// A publish that is stored; its id.
async fn publish(client: &mut Client, topic: &str, data: Value) -> String {
    let name = format!("m-{data}");
    let answer = client
        .ask(json!({"type": "publish", "topic": topic, "data": data, "messageId": name}))
        .await;
    answer["published"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_token_in_the_url_counts_before_others_and_a_bad_one_closes_with_1008() {
    let node = node(REQUIRED).await;
    let good = token("ada", 3600);
    let mut client = node.open(&format!("{PATH}?token={good}")).await;
    client.subscribe("gift-list:123").await;
    // The handshake succeeds, so that the client sees the code (S1-03).
    ends_unauthorized(node.open(&format!("{PATH}?token=forged")).await).await;
    ends_unauthorized(
        node.open(&format!("{PATH}?token={}", token("ada", -60)))
            .await,
    )
    .await;

    let bad_cookie = [
        ("cookie", "session=forged"),
        ("origin", &*origin(node.port)),
    ];
    let mut client = node
        .open_with(&format!("{PATH}?token={good}"), &bad_cookie)
        .await;
    client.subscribe("gift-list:123").await;
    let bearer = format!("bearer.{good}");
    let both = [
        ("cookie", "session=forged"),
        ("sec-websocket-protocol", &*bearer),
    ];
    // A subprotocol that is no dialect's is not echoed, which this client library refuses; what
    // counts is that the cookie beside it is not looked at.
    let raw = format!(
        "GET {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         {}: {}\r\n{}: {}\r\n\r\n",
        both[0].0, both[0].1, both[1].0, both[1].1
    );
    assert_eq!(request(node.port, &raw).await, Some(101));
    ends_unauthorized(
        node.open_with(&format!("{PATH}?token=forged"), &bad_cookie)
            .await,
    )
    .await;
}

fn origin(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn a_first_message_authenticates_and_nothing_else_may_come_first() {
    let node = node(REQUIRED).await;
    let mut client = node.open(PATH).await;
    let answer = client.ask(auth(&token("ada", 3600))).await;
    assert_eq!(answer, json!({"type": "auth_ok", "userId": "ada"}));
    client.subscribe("gift-list:123").await;

    let mut client = node.open(PATH).await;
    client.say(&auth("forged").to_string()).await;
    ends_unauthorized(client).await;
    for first in [
        r#"{"type":"subscribe","topics":["a"]}"#,
        r#"{"type":"ping"}"#,
        "no JSON",
    ] {
        let mut client = node.open(PATH).await;
        client.say(first).await;
        ends_unauthorized(client).await;
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_where_it_must_say_who_it_is() {
    let quick = [("session.connect_timeout", "1s")];
    let required = node(&[REQUIRED, &quick].concat()).await;
    ends_unauthorized(required.open(PATH).await).await;

    let optional = node(&[OPTIONAL, &quick].concat()).await;
    let mut nobody = optional.open(PATH).await;
    let mut somebody = optional.open(PATH).await;
    let answer = somebody.ask(auth(&token("ada", 3600))).await;
    assert_eq!(answer["userId"], "ada");
    let mut eager = optional.open(PATH).await;
    eager.hears_nothing().await;
    // Longer than the limit for a first frame: who may be nobody is not closed for it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    nobody.hears_nothing().await;
}

#[tokio::test]
async fn the_session_cookie_authenticates_from_allowed_origins_only() {
    let node = node(REQUIRED).await;
    let cookie = format!("session={}", token("ada", 3600));
    let own = origin(node.port);
    let mut client = node
        .open_with(PATH, &[("cookie", &cookie), ("origin", &own)])
        .await;
    client.subscribe("user:456").await;
    let bad = [("cookie", "session=forged"), ("origin", &*own)];
    ends_unauthorized(node.open_with(PATH, &bad).await).await;
    let foreign = format!(
        "GET {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         cookie: {cookie}\r\norigin: https://elsewhere.example\r\n\r\n"
    );
    assert_eq!(request(node.port, &foreign).await, Some(403));
}

#[tokio::test]
async fn a_token_that_runs_out_is_announced_and_can_be_replaced() {
    let node = node(REQUIRED).await;
    let url = format!("{PATH}?token={}", token("ada", 2));
    let (mut stays, mut goes) = (node.open(&url).await, node.open(&url).await);
    for client in [&mut stays, &mut goes] {
        let warning = client.json().await;
        assert_eq!(warning, json!({"type": "token_expiring", "in": 10}));
    }
    let answer = stays.ask(auth(&token("ada", 3600))).await;
    assert_eq!(answer, json!({"type": "auth_ok"}));
    ends_unauthorized(goes).await;
    stays.subscribe("user:456").await;
}

#[tokio::test]
async fn topics_are_subscribed_and_left_with_the_answers_of_the_source() {
    let node = node(&[]).await;
    let (mut reader, mut writer) = (node.open(PATH).await, node.open(PATH).await);
    let both = json!({"type": "subscribe", "topics": ["gift-list:123", "user:456"]});
    for _ in 0..2 {
        let answer = reader.ask(both.clone()).await;
        assert_eq!(answer, json!({"subscribed": ["gift-list:123", "user:456"]}));
    }
    let id = publish(&mut writer, "gift-list:123", json!({"n": 1})).await;
    let event = json!({"type": "event", "topic": "gift-list:123", "id": id, "data": {"n": 1}});
    assert_eq!(reader.json().await, event);
    reader.hears_nothing().await;

    let topics = json!(["gift-list:123", "never:there"]);
    let answer = reader
        .ask(json!({"type": "unsubscribe", "topics": topics}))
        .await;
    assert_eq!(answer, json!({"unsubscribed": topics}));
    publish(&mut writer, "gift-list:123", json!(2)).await;
    let id = publish(&mut writer, "user:456", json!(3)).await;
    assert_eq!(reader.json().await["id"], json!(id));
}

#[tokio::test]
async fn subscriptions_belong_to_the_connection_and_end_with_it() {
    let node = node(REQUIRED).await;
    let url = format!("{PATH}?token={}", token("ada", 3600));
    let (mut first, mut second) = (node.open(&url).await, node.open(&url).await);
    first.subscribe("gift-list:123").await;
    publish(&mut second, "gift-list:123", json!(1)).await;
    assert_eq!(first.json().await["data"], json!(1));
    second.hears_nothing().await;
    assert_eq!(first.close(1000, "Component unmounted").await, 1000);
    // The same user again: nothing of the former connection is left.
    let mut third = node.open(&url).await;
    publish(&mut second, "gift-list:123", json!(2)).await;
    third.hears_nothing().await;
}

#[tokio::test]
async fn refused_topics_are_named_with_the_rule_and_the_others_hold() {
    let node = node(&[("limits.topics_per_session", "100")]).await;
    let mut client = node.open(PATH).await;
    let long = "x".repeat(256);
    let answer = client
        .ask(json!({"type": "subscribe", "topics": ["a", "has space", "$user:b", long]}))
        .await;
    assert_eq!(answer["subscribed"], json!(["a"]));
    let codes: Vec<&str> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| rejected["code"].as_str().unwrap())
        .collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["forbidden", "invalid", "invalid"]);

    let many: Vec<String> = (0..102).map(|n| format!("t:{n}")).collect();
    let answer = client
        .ask(json!({"type": "subscribe", "topics": many}))
        .await;
    // 100 per request, and 100 per connection, of which one is taken.
    assert_eq!(answer["subscribed"].as_array().unwrap().len(), 99);
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 3);
    assert!(rejected.iter().all(|rejected| rejected["code"] == "limit"));
}

#[tokio::test]
async fn a_publish_is_answered_and_its_message_id_is_stored_once() {
    let node = node(&[]).await;
    let mut client = node.open(PATH).await;
    client.subscribe("gift-list:123").await;
    let frame =
        json!({"type": "publish", "topic": "gift-list:123", "data": [1], "messageId": "m-1"});
    client.say(&frame.to_string()).await;
    let (one, two) = (client.json().await, client.json().await);
    let (answer, event) = if one["type"] == "event" {
        (two, one)
    } else {
        (one, two)
    };
    assert_eq!(answer["messageId"], "m-1");
    assert_eq!(answer["published"], event["id"]);
    assert_eq!(client.ask(frame).await, answer);
    client.hears_nothing().await;
}

#[tokio::test]
async fn since_replays_what_was_missed_and_says_whether_all_of_it() {
    let node = node(&[]).await;
    let (mut reader, mut writer) = (node.open(PATH).await, node.open(PATH).await);
    let first = publish(&mut writer, "a", json!(1)).await;
    publish(&mut writer, "a", json!(2)).await;
    publish(&mut writer, "b", json!("not asked for")).await;
    reader
        .say(&json!({"type": "subscribe", "topics": ["a", "b"], "since": {"a": first}}).to_string())
        .await;
    assert_eq!(reader.json().await["data"], json!(2));
    let answer = reader.json().await;
    let recovered = json!({"a": true, "b": true});
    assert_eq!(
        answer,
        json!({"subscribed": ["a", "b"], "recovered": recovered})
    );
    let frame = json!({"type": "subscribe", "topics": ["c"], "since": {"c": first}});
    publish(&mut writer, "c", json!("x")).await;
    reader.say(&frame.to_string()).await;
    assert_eq!(reader.json().await["data"], json!("x"));
    assert!(reader.json().await["recovered"]["c"].is_boolean());
}

/// Takes a minute: silence is what it is about.
#[tokio::test]
async fn silence_for_a_minute_closes_and_any_frame_breaks_it() {
    let node = node(&[]).await;
    let (mut silent, mut pings, mut answers) = (
        node.open(PATH).await,
        node.open(PATH).await,
        node.open(PATH).await,
    );
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(35)).await;
    pings.hears_nothing().await;
    answers.send(Message::Pong(vec![1].into())).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let Message::Close(Some(frame)) = silent.message_within(Duration::from_secs(34)).await else {
        panic!("not closed");
    };
    let (code, reason) = (u16::from(frame.code), frame.reason.to_string());
    assert_eq!((code, &*reason), (1001, "Heartbeat timeout"));
    assert!(began.elapsed() >= Duration::from_secs(59));
    pings.hears_nothing().await;
    answers.hears_nothing().await;
}

#[tokio::test]
async fn what_is_no_frame_is_answered_and_ten_in_a_row_close() {
    let node = node(&[]).await;
    let mut client = node.open(PATH).await;
    for _ in 0..2 {
        for bad in [
            "no JSON",
            r#"{"type":"dance"}"#,
            "[]",
            r#"{"type":"publish"}"#,
        ] {
            client.say(bad).await;
            let answer = client.json().await;
            assert_eq!(answer["type"], "error");
            assert!(
                answer["error"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
        // A good one in between: counted anew.
        client.hears_nothing().await;
    }
    for _ in 0..10 {
        client.say("no JSON").await;
    }
    let (code, _, texts) = client.closed().await;
    assert_eq!((code, texts.len()), (1008, 10));
}

#[tokio::test]
async fn what_breaks_a_connection_closes_it_with_1011_and_a_failed_request_does_not() {
    let redis = redis().await;
    let node = node(&[("store.url", &*redis.url)]).await;
    let (mut one, mut other) = (node.open(PATH).await, node.open(PATH).await);
    publish(&mut one, "gift-list:123", json!(1)).await;
    publish(&mut other, "gift-list:123", json!(2)).await;
    // What a connection cannot go on without: its session is lost.
    let (_, all) = request_json(node.internal, "GET", "/v1/sessions", None, None).await;
    let all = all["items"].as_array().expect("sessions").clone();
    assert_eq!(all.len(), 2, "{all:?}");
    let session = all[0]["session"].as_str().expect("an id");
    let path = format!("/v1/sessions/{session}");
    let lost = json!({"reconnect": true});
    let (status, _) = request_json(node.internal, "DELETE", &path, None, Some(&lost)).await;
    assert_eq!(status, 204);
    let ((code, reason, texts), mut stays) = tokio::select! {
        ended = one.closed() => (ended, other),
        ended = other.closed() => (ended, one),
    };
    assert_eq!((code, texts), (1011, Vec::new()), "{reason}");
    // A single request that fails: the store does not answer it.
    redis.signal("STOP");
    let frame = json!({"type": "publish", "topic": "gift-list:123", "data": 3, "messageId": "m-3"});
    let answer = stays.ask(frame.clone()).await;
    redis.signal("CONT");
    assert_eq!(answer["type"], "error", "{answer}");
    let told = answer["error"].as_str();
    assert!(told.is_some_and(|text| !text.is_empty()), "{answer}");
    while stays.ask(frame.clone()).await["published"].is_null() {}
    stays.hears_nothing().await;
}

#[tokio::test]
async fn a_draining_node_says_when_to_come_back_and_closes_with_1001() {
    let node = node(&[("drain.readiness_delay", "0s"), ("drain.duration", "1s")]).await;
    let mut client = node.open(PATH).await;
    client.hears_nothing().await;
    node.signal("TERM");
    let (code, _, texts) = client.closed().await;
    assert_eq!(code, 1001);
    let hint: Value = serde_json::from_str(&texts[0]).unwrap();
    assert_eq!(hint["type"], "reconnect");
    assert!(hint["after_ms"].is_u64());
}

#[tokio::test]
async fn a_wrong_kind_of_frame_and_a_long_one_close_with_their_codes() {
    let node = node(&[]).await;
    let mut client = node.open(PATH).await;
    client.send(Message::binary(vec![1, 2])).await;
    assert_eq!(client.closed().await.0, 1003);
    let mut client = node.open(PATH).await;
    client.say(&" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn a_route_may_answer_a_bad_token_with_a_status_instead() {
    let settings = [
        ("auth.mode", "required"),
        ("routes./ws/topics.dialect", "topics"),
        ("routes./ws/topics.reject", "http"),
    ];
    let node = node(&settings).await;
    let asked = |query: &str| {
        format!(
            "GET /ws/topics{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for query in ["", "?token=", "?token=forged"] {
        assert_eq!(
            request(node.port, &asked(query)).await,
            Some(401),
            "{query}"
        );
    }
    let good = format!("?token={}", token("ada", 3600));
    assert_eq!(request(node.port, &asked(&good)).await, Some(101));
}
