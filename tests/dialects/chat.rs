//! Source 4: what its clients see, frame by frame, and what its REST paths answer.

#![expect(
    clippy::too_many_lines,
    reason = "a test that follows a drawing of the source shows all of it in one place"
)]

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    Client, Layout, Process, Redis, SOON, also_in, exchange, keeps_the_rules_of_frames, node,
    redis, request_json, token, until_counted,
};

/// Users who are who their tokens say, and no grace: the literal reading of the source.
const LITERAL: &[(&str, &str)] = &[("chat.users", "claims"), ("chat.presence_grace", "0s")];
/// The same with users who have to register.
const REGISTERED: &[(&str, &str)] = &[("chat.presence_grace", "0s")];

also_in! {
    one_redis: OneRedis;
    [
        a_limit_of_one_connection_per_user_does_not_keep_the_newest_out,
        of_very_many_online_the_first_by_name_are_listed_and_all_are_counted,
        a_switch_leaves_what_waited_to_the_history,
        a_retry_under_the_clients_own_name_is_the_same_message,
        errors_have_the_texts_of_the_source_and_the_connection_stays,
        who_comes_back_within_the_grace_was_never_offline,
        above_the_limit_the_list_is_not_sent_to_everybody,
        presence_may_be_told_to_contacts_only,
        the_chat_and_its_rest_paths_share_a_port_at_the_path_of_the_source,
        the_first_frames_come_in_the_order_of_the_source_and_others_hear_of_it,
        a_message_is_stored_sent_delivered_and_read_in_this_order_on_two_nodes,
        both_sides_of_a_conversation_see_one_order,
        who_is_offline_is_sent_what_waits_when_he_comes,
        typing_is_told_and_ends_by_itself,
        a_spark_client_is_told_the_same_and_its_ack_may_be_what_counts,
        a_second_connection_replaces_the_first_on_any_node_and_nobody_hears_of_it,
        of_many_connections_at_once_exactly_one_survives,
        of_many_who_register_a_name_at_once_one_has_it,
        users_register_log_in_and_are_shown,
    ]
}

also_in! {
    two_nodes: TwoNodes;
    [
        a_limit_of_one_connection_per_user_does_not_keep_the_newest_out,
        of_very_many_online_the_first_by_name_are_listed_and_all_are_counted,
        a_switch_leaves_what_waited_to_the_history,
        a_retry_under_the_clients_own_name_is_the_same_message,
        errors_have_the_texts_of_the_source_and_the_connection_stays,
        who_comes_back_within_the_grace_was_never_offline,
        above_the_limit_the_list_is_not_sent_to_everybody,
        presence_may_be_told_to_contacts_only,
        the_chat_and_its_rest_paths_share_a_port_at_the_path_of_the_source,
    ]
}

also_in! {
    embedded: Embedded;
    [
        the_first_frames_come_in_the_order_of_the_source_and_others_hear_of_it,
        a_message_is_stored_sent_delivered_and_read_in_this_order_on_two_nodes,
        both_sides_of_a_conversation_see_one_order,
        who_is_offline_is_sent_what_waits_when_he_comes,
        typing_is_told_and_ends_by_itself,
        a_spark_client_is_told_the_same_and_its_ack_may_be_what_counts,
        a_second_connection_replaces_the_first_on_any_node_and_nobody_hears_of_it,
        of_many_connections_at_once_exactly_one_survives,
        of_many_who_register_a_name_at_once_one_has_it,
        users_register_log_in_and_are_shown,
    ]
}

also_in! {
    redis_cluster: RedisCluster;
    [
        a_message_is_stored_sent_delivered_and_read_in_this_order_on_two_nodes,
        who_is_offline_is_sent_what_waits_when_he_comes,
        a_second_connection_replaces_the_first_on_any_node_and_nobody_hears_of_it,
        users_register_log_in_and_are_shown,
    ]
}

fn path_of(user: &str) -> String {
    format!("/ws/chat?token={}", token(user, 3600))
}

/// A user in the chat, past his first two frames: how many were online.
async fn enter(node: &Process, user: &str) -> (Client, u64) {
    let mut client = node.open(&path_of(user)).await;
    let first = client.json().await;
    assert_eq!(
        first,
        json!({"type": "connection_established", "data": {"userId": user, "username": user}})
    );
    let second = client.json().await;
    assert_eq!(second["type"], "online_users", "{second}");
    let total = second["data"]["totalOnline"].as_u64().expect("a number");
    (client, total)
}

/// The next frame of this type; others are passed over.
async fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let frame = client.json().await;
        if frame["type"] == kind {
            return frame["data"].clone();
        }
    }
}

/// Asserts that nothing of these types comes before the answer to a question.
async fn hears_none_of(client: &mut Client, kinds: &[&str]) {
    client.say(r#"{"type":"get_online_users"}"#).await;
    loop {
        let frame = client.json().await;
        let kind = frame["type"].as_str().expect("a type");
        assert!(!kinds.contains(&kind), "{frame}");
        if kind == "online_users" {
            return;
        }
    }
}

async fn say(client: &mut Client, to: &str, content: &str) {
    let frame = json!({"type": "chat_message", "data": {"receiverId": to, "content": content}});
    client.say(&frame.to_string()).await;
}

async fn refusal(client: &mut Client, frame: &str) -> String {
    client.say(frame).await;
    let error = next(client, "error").await;
    assert_is_time(&error["timestamp"]);
    assert_eq!(error.as_object().expect("an object").len(), 2, "{error}");
    error["message"].as_str().expect("a text").to_owned()
}

fn assert_is_time(value: &Value) {
    let text = value.as_str().expect("a time");
    assert!(
        text.len() == 24 && text.ends_with('Z') && text.contains('T'),
        "{text}"
    );
}

/// A request with JSON: status and body.
async fn request(
    node: &Process,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    request_json(node.port, method, path, token, body).await
}

/// A new user: his id and his token.
async fn register(node: &Process, username: &str) -> (String, String) {
    let account = json!({"username": username, "password": "correct horse"});
    let (status, body) = request(node, "POST", "/api/auth/register", None, Some(&account)).await;
    assert_eq!(status, 201, "{body}");
    let id = body["user"]["_id"].as_str().expect("an id").to_owned();
    (id, body["token"].as_str().expect("a token").to_owned())
}

/// Two nodes over one Redis; twice the same one, where the layout has only one.
async fn two_nodes(settings: &[(&str, &str)]) -> (Rc<Process>, Rc<Process>, Option<Redis>) {
    if matches!(Layout::wanted(), Some(Layout::Embedded | Layout::OneRedis)) {
        let only = Rc::new(node(settings).await);
        return (Rc::clone(&only), only, None);
    }
    let (first, second, redis) = apart(settings).await;
    (Rc::new(first), Rc::new(second), Some(redis))
}

/// Two nodes over one Redis, whatever the layout.
async fn apart(settings: &[(&str, &str)]) -> (Process, Process, Redis) {
    let redis = redis().await;
    let url = redis.url.clone();
    let all = [&[("store.url", url.as_str())], settings].concat();
    let (first, second) = tokio::join!(node(&all), node(&all));
    (first, second, redis)
}

#[tokio::test]
async fn bad_credentials_close_with_the_codes_of_the_source() {
    let redis = redis().await;
    let url = redis.url.clone();
    let node = node(&[&[("store.url", url.as_str())], REGISTERED].concat()).await;
    let refused = async |path: &str| {
        let (code, reason, texts) = node.open(path).await.closed().await;
        assert!(texts.is_empty(), "{texts:?}");
        (code, reason)
    };
    let required = (4001, "Authentication required".to_owned());
    assert_eq!(refused("/ws/chat").await, required);
    assert_eq!(refused("/ws/chat?token=").await, required);
    let invalid = (4002, "Invalid token".to_owned());
    assert_eq!(refused("/ws/chat?token=nonsense").await, invalid);
    let ended = format!("/ws/chat?token={}", token("ada", -60));
    assert_eq!(refused(&ended).await, invalid);
    let unknown = (4003, "User not found".to_owned());
    assert_eq!(refused(&path_of("nobody")).await, unknown);
    // A store that does not answer is no reason to say that a user does not exist.
    redis.signal("STOP");
    let (code, reason) = refused(&path_of("nobody")).await;
    redis.signal("CONT");
    assert_eq!((code, reason.as_str()), (4004, "Server error"));
}

#[tokio::test]
async fn the_first_frames_come_in_the_order_of_the_source_and_others_hear_of_it() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    let (mut ada, total) = enter(&first, "ada").await;
    assert_eq!(total, 1, "who comes is online himself");
    let (mut bob, total) = enter(&second, "bob").await;
    assert_eq!(total, 2);
    let online = next(&mut ada, "user_online").await;
    assert_eq!(online, json!({"userId": "bob", "username": "bob"}));
    bob.say(r#"{"type":"get_online_users"}"#).await;
    let list = loop {
        let frame = bob.json().await;
        if frame["type"] == "online_users" {
            break frame["data"].clone();
        }
        // Not to the user himself; of ada he may hear late.
        assert_ne!(frame["data"]["userId"], "bob", "{frame}");
    };
    assert_is_time(&list["timestamp"]);
    assert_eq!(list["totalOnline"], 2);
    assert_eq!(
        list["users"],
        json!([
            {"_id": "ada", "username": "ada", "avatar": null},
            {"_id": "bob", "username": "bob", "avatar": null},
        ])
    );
    bob.close(1000, "").await;
    let offline = next(&mut ada, "user_offline").await;
    assert_eq!(offline, json!({"userId": "bob", "username": "bob"}));
    let list = ada.json().await;
    assert_eq!(list["type"], "online_users", "{list}");
    assert_eq!(list["data"]["totalOnline"], 1);
}

#[tokio::test]
async fn a_message_is_stored_sent_delivered_and_read_in_this_order_on_two_nodes() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    let (mut ada, _) = enter(&first, "ada").await;
    let (mut bob, _) = enter(&second, "bob").await;
    next(&mut ada, "user_online").await;
    say(&mut ada, "bob", "Hello! How are you?").await;
    let sent = ada.json().await;
    assert_eq!(sent["type"], "message_sent", "{sent}");
    let id = sent["data"]["messageId"].clone();
    let created = sent["data"]["createdAt"].clone();
    assert_is_time(&created);
    assert_eq!(
        sent["data"],
        json!({"messageId": id, "receiverId": "bob", "content": "Hello! How are you?",
            "createdAt": created, "status": "sent"})
    );
    let new = next(&mut bob, "new_message").await;
    assert_eq!(
        new,
        json!({"messageId": id, "senderId": "ada", "senderUsername": "ada",
            "content": "Hello! How are you?", "messageType": "text", "createdAt": created})
    );
    let delivered = ada.json().await;
    assert_eq!(delivered["type"], "message_delivered", "{delivered}");
    assert_eq!(delivered["data"]["messageId"], id);
    assert_is_time(&delivered["data"]["deliveredAt"]);
    let history = async |before: &str, limit: u32| {
        let path = format!("/api/messages/bob?limit={limit}{before}");
        let (status, body) = request(&first, "GET", &path, Some(&token("ada", 60)), None).await;
        assert_eq!(status, 200, "{body}");
        body["messages"].clone()
    };
    assert_eq!(history("", 5).await[0]["status"], "delivered");
    // Read: the sender first, then the reader.
    say(&mut ada, "bob", "second").await;
    next(&mut bob, "new_message").await;
    next(&mut ada, "message_delivered").await;
    bob.say(r#"{"type":"mark_read","data":{"senderId":"ada"}}"#)
        .await;
    let read = next(&mut ada, "messages_read").await;
    assert_is_time(&read["readAt"]);
    assert_eq!(
        (&read["readBy"], &read["readByUsername"]),
        (&json!("bob"), &json!("bob"))
    );
    let done = next(&mut bob, "mark_read_success").await;
    assert_eq!(done, json!({"senderId": "ada", "markedCount": 2}));
    // Nothing left to read is a success, and tells nobody.
    bob.say(r#"{"type":"mark_read","data":{"senderId":"ada"}}"#)
        .await;
    let done = next(&mut bob, "mark_read_success").await;
    assert_eq!(done, json!({"senderId": "ada", "markedCount": 0}));
    hears_none_of(&mut ada, &["messages_read"]).await;
    let all = history("", 5).await;
    let texts: Vec<&Value> = all
        .as_array()
        .expect("messages")
        .iter()
        .map(|one| &one["content"])
        .collect();
    assert_eq!(
        texts,
        [&json!("second"), &json!("Hello! How are you?")],
        "newest first"
    );
    assert!(
        all.as_array()
            .expect("messages")
            .iter()
            .all(|one| one["status"] == "read"),
        "{all}"
    );
    let newest = all[0]["messageId"].as_str().expect("an id");
    let older = history(&format!("&before={newest}"), 1).await;
    assert_eq!(older[0]["messageId"], id);
}

#[tokio::test]
async fn both_sides_of_a_conversation_see_one_order() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    let (mut ada, _) = enter(&first, "ada").await;
    let (mut bob, _) = enter(&second, "bob").await;
    let says = async |client: &mut Client, to: &str| {
        for at in 0..10 {
            say(client, to, &format!("{to} {at}")).await;
        }
    };
    tokio::join!(says(&mut ada, "bob"), says(&mut bob, "ada"));
    let mut heard = Vec::new();
    for client in [&mut ada, &mut bob] {
        let mut order = Vec::new();
        while order.len() < 10 {
            let new = next(client, "new_message").await;
            order.push(
                new["messageId"]
                    .as_str()
                    .expect("an id")
                    .parse::<u64>()
                    .expect("digits"),
            );
        }
        assert!(order.is_sorted(), "{order:?}");
        heard.push(order);
    }
    let path = "/api/messages/bob?limit=50";
    let (_, body) = request(&second, "GET", path, Some(&token("ada", 60)), None).await;
    let log = body["messages"].as_array().expect("messages");
    let ids: Vec<u64> = log
        .iter()
        .rev()
        .map(|one| {
            one["messageId"]
                .as_str()
                .expect("an id")
                .parse()
                .expect("digits")
        })
        .collect();
    let mut both = heard.concat();
    both.sort_unstable();
    assert_eq!(ids, both);
}

#[tokio::test]
async fn who_is_offline_is_sent_what_waits_when_he_comes() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    // He has been here before, so that he exists.
    let (mut bob, _) = enter(&second, "bob").await;
    bob.close(1000, "").await;
    let (mut ada, _) = enter(&first, "ada").await;
    for text in ["one", "two", "three"] {
        say(&mut ada, "bob", text).await;
        next(&mut ada, "message_sent").await;
    }
    hears_none_of(&mut ada, &["message_delivered"]).await;
    let (mut bob, _) = enter(&second, "bob").await;
    for text in ["one", "two", "three"] {
        let frame = bob.json().await;
        assert_eq!(
            (&frame["type"], &frame["data"]["content"]),
            (&json!("new_message"), &json!(text))
        );
    }
    for _ in 0..3 {
        next(&mut ada, "message_delivered").await;
    }
    bob.close(1000, "").await;
    // Delivered once.
    let (mut bob, _) = enter(&first, "bob").await;
    hears_none_of(&mut bob, &["new_message"]).await;
}

#[tokio::test]
async fn a_message_whose_node_was_killed_before_it_was_in_the_inbox_comes_from_the_log() {
    let (mut first, second, redis) = apart(LITERAL).await;
    let (mut bob, _) = enter(&second, "bob").await;
    let (mut ada, _) = enter(&first, "ada").await;
    say(&mut ada, "bob", "before").await;
    next(&mut bob, "new_message").await;
    next(&mut ada, "message_delivered").await;
    bob.close(1000, "").await;
    // From here on nothing gets into his inbox: something else stands where its log was.
    let key = redis.cli(&["--scan", "--pattern", "*$user:bob*"]);
    let logs: Vec<&str> = key
        .lines()
        .filter(|key| redis.cli(&["TYPE", key]) == "stream")
        .collect();
    let [log] = logs.as_slice() else {
        panic!("one log: {key}");
    };
    let aside = format!("{log}-aside");
    assert_eq!(redis.cli(&["RENAME", log, &aside]), "OK");
    assert_eq!(redis.cli(&["SET", log, "in the way"]), "OK");
    say(&mut ada, "bob", "lost").await;
    let sent = next(&mut ada, "message_sent").await;
    first.kill();
    assert_eq!(redis.cli(&["RENAME", &aside, log]), "OK");
    // It was in the log of the conversation and nowhere else.
    let held = redis.cli(&["XRANGE", log, "-", "+"]);
    assert!(held.contains("before") && !held.contains("lost"), "{held}");
    let (mut bob, _) = enter(&second, "bob").await;
    let heard = next(&mut bob, "new_message").await;
    assert_eq!(heard["content"], "lost");
    assert_eq!(heard["messageId"], sent["messageId"]);
    hears_none_of(&mut bob, &["new_message"]).await;
}

#[tokio::test]
async fn a_switch_leaves_what_waited_to_the_history() {
    let settings = [("chat.deliver_pending", "false"), ("auth.mode", "required")];
    let node = node(&[LITERAL, &settings].concat()).await;
    let (mut bob, _) = enter(&node, "bob").await;
    bob.close(1000, "").await;
    let (mut ada, _) = enter(&node, "ada").await;
    let mut phone = spark(&node, "bob").await;
    say(&mut ada, "bob", "missed").await;
    next(&mut ada, "message_sent").await;
    // It is sent before it is in his inbox: only there it waits.
    assert_eq!(phone.json().await["data"]["data"]["content"], "missed");
    let (mut bob, _) = enter(&node, "bob").await;
    hears_none_of(&mut bob, &["new_message"]).await;
    say(&mut ada, "bob", "heard").await;
    assert_eq!(next(&mut bob, "new_message").await["content"], "heard");
}

#[tokio::test]
async fn a_retry_under_the_clients_own_name_is_the_same_message() {
    let node = node(LITERAL).await;
    let (mut bob, _) = enter(&node, "bob").await;
    let (mut ada, _) = enter(&node, "ada").await;
    let frame = |content: &str| {
        json!({"type": "chat_message", "data":
            {"receiverId": "bob", "content": content, "clientMessageId": "m-1"}})
        .to_string()
    };
    ada.say(&frame("first")).await;
    let sent = next(&mut ada, "message_sent").await;
    ada.say(&frame("again")).await;
    assert_eq!(next(&mut ada, "message_sent").await, sent);
    assert_eq!(next(&mut bob, "new_message").await["content"], "first");
    hears_none_of(&mut bob, &["new_message"]).await;
    // All at once, before any is answered.
    let token = token("ada", 3600);
    let body = json!({"receiverId": "bob", "content": "x", "clientMessageId": "m-2"});
    let posts = (0..8).map(|_| request(&node, "POST", "/api/messages", Some(&token), Some(&body)));
    let answers = futures_util::future::join_all(posts).await;
    let heard = next(&mut bob, "new_message").await;
    for (status, sent) in answers {
        assert_eq!((status, &sent["messageId"]), (201, &heard["messageId"]));
    }
    hears_none_of(&mut bob, &["new_message"]).await;
}

#[tokio::test]
async fn of_many_who_register_a_name_at_once_one_has_it() {
    let (first, second, _redis) = two_nodes(REGISTERED).await;
    let account = json!({"username": "ada", "password": "correct horse"});
    let registered = (0..6).map(async |at| {
        let node = if at % 2 == 0 { &first } else { &second };
        let path = "/api/auth/register";
        request(node, "POST", path, None, Some(&account)).await.0
    });
    let mut answers = futures_util::future::join_all(registered).await;
    answers.sort_unstable();
    assert_eq!(answers, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn errors_have_the_texts_of_the_source_and_the_connection_stays() {
    let node = node(LITERAL).await;
    let (mut ada, _) = enter(&node, "ada").await;
    let missing = "Missing required fields: receiverId and content";
    let cases = [
        (
            r#"{"type":"chat_message","data":{"receiverId":"bob"}}"#,
            missing,
        ),
        (r#"{"type":"chat_message","data":{"content":"x"}}"#, missing),
        (
            r#"{"type":"chat_message","data":{"receiverId":"ada","content":"x"}}"#,
            "Cannot send message to yourself",
        ),
        (
            r#"{"type":"chat_message","data":{"receiverId":"nobody","content":"x"}}"#,
            "Receiver not found",
        ),
        ("hello", "Invalid message format. Please send valid JSON."),
        (
            r#"{"type":"dance","data":{}}"#,
            "Unknown message type: dance",
        ),
        (
            r#"{"type":"typing_start","data":{}}"#,
            "Missing required field: receiverId",
        ),
        (
            r#"{"type":"mark_read"}"#,
            "Missing required field: senderId",
        ),
    ];
    for (frame, text) in cases {
        assert_eq!(refusal(&mut ada, frame).await, text);
    }
    for _ in 0..30 {
        refusal(&mut ada, "{").await;
    }
    // Another one's errors are not heard, and his messages go on.
    let (mut bob, _) = enter(&node, "bob").await;
    say(&mut bob, "ada", "fine").await;
    assert_eq!(next(&mut ada, "new_message").await["content"], "fine");
    hears_none_of(&mut bob, &["error"]).await;
}

/// A Spark client of a user that receives his inbox.
async fn spark(node: &Process, user: &str) -> Client {
    let mut client = node.open("/ws/spark").await;
    let connect = json!({"type": "ws:connect", "data": {"token": token(user, 3600)}});
    assert_eq!(client.ask(connect).await["type"], "ws:connect_ack");
    let topics = json!([format!("$user:{user}")]);
    let subscribe = json!({"type": "topic:subscribe", "id": "s", "data": {"topics": topics}});
    let answer = client.ask(subscribe).await;
    assert_eq!(answer["type"], "ws:ack", "{answer}");
    client
}

#[tokio::test]
async fn a_spark_client_is_told_the_same_and_its_ack_may_be_what_counts() {
    let settings = [("auth.mode", "required"), ("chat.delivered_on", "ack")];
    let (first, second, _redis) = two_nodes(&[LITERAL, &settings].concat()).await;
    let (mut bob, _) = enter(&second, "bob").await;
    bob.close(1000, "").await;
    let (mut ada, _) = enter(&first, "ada").await;
    let mut phone = spark(&second, "bob").await;
    for text in ["one", "two"] {
        say(&mut ada, "bob", text).await;
        let id = next(&mut ada, "message_sent").await["messageId"].clone();
        let heard = phone.json().await;
        assert_eq!(heard["type"], "topic:message", "{heard}");
        assert_eq!(heard["data"]["type"], "new_message", "{heard}");
        let message = &heard["data"]["data"];
        assert_eq!(
            (&message["messageId"], &message["content"]),
            (&id, &json!(text))
        );
        // It was written to a client, which does not say yet that it has it.
        hears_none_of(&mut ada, &["message_delivered"]).await;
        let ack = json!({"type": "ws:ack", "data": {"ackId": heard["id"]}});
        phone.say(&ack.to_string()).await;
        assert_eq!(next(&mut ada, "message_delivered").await["messageId"], id);
    }
    // What is acknowledged does not wait for him.
    let (mut bob, _) = enter(&first, "bob").await;
    hears_none_of(&mut bob, &["new_message"]).await;
    bob.close(1000, "").await;
    // What came before a client began to receive waits for one that is given it.
    phone.close(1000, "").await;
    say(&mut ada, "bob", "three").await;
    next(&mut ada, "message_sent").await;
    let mut phone = spark(&first, "bob").await;
    say(&mut ada, "bob", "four").await;
    let heard = phone.json().await;
    let ack = json!({"type": "ws:ack", "data": {"ackId": heard["id"]}});
    phone.say(&ack.to_string()).await;
    let (mut bob, _) = enter(&second, "bob").await;
    assert_eq!(next(&mut bob, "new_message").await["content"], "three");
}

#[tokio::test]
async fn who_sends_too_fast_is_told_so_in_the_words_of_the_contract() {
    let limits = [
        ("limits.frames_per_second", "1"),
        ("limits.frames_burst", "3"),
    ];
    let node = node(&[LITERAL, &limits].concat()).await;
    let (mut ada, _) = enter(&node, "ada").await;
    for _ in 0..8 {
        ada.say(r#"{"type":"get_online_users"}"#).await;
    }
    let error = next(&mut ada, "error").await;
    assert_eq!(error["message"], "Rate limit exceeded");
}

#[tokio::test]
async fn typing_is_told_and_ends_by_itself() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    let (mut ada, _) = enter(&first, "ada").await;
    let (mut bob, _) = enter(&second, "bob").await;
    let frame = |kind: &str| json!({"type": kind, "data": {"receiverId": "bob"}}).to_string();
    let told = |on: bool| json!({"userId": "ada", "username": "ada", "isTyping": on});
    // What is not kept is heard from when a client's own frames are answered.
    hears_none_of(&mut bob, &["typing_indicator"]).await;
    ada.say(&frame("typing_start")).await;
    assert_eq!(next(&mut bob, "typing_indicator").await, told(true));
    ada.say(&frame("typing_stop")).await;
    assert_eq!(next(&mut bob, "typing_indicator").await, told(false));
    // Whoever is not there is not waited for, and nothing is kept for him.
    ada.say(r#"{"type":"typing_start","data":{"receiverId":"cleo"}}"#)
        .await;
    hears_none_of(&mut ada, &["error"]).await;
    // Not stopped: it ends after ten seconds.
    ada.say(&frame("typing_start")).await;
    assert_eq!(next(&mut bob, "typing_indicator").await, told(true));
    let began = Instant::now();
    assert_eq!(next(&mut bob, "typing_indicator").await, told(false));
    assert!(
        began.elapsed() > Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    // Or with the connection.
    ada.say(&frame("typing_start")).await;
    assert_eq!(next(&mut bob, "typing_indicator").await, told(true));
    ada.close(1000, "").await;
    assert_eq!(next(&mut bob, "typing_indicator").await, told(false));
}

#[tokio::test]
async fn a_second_connection_replaces_the_first_on_any_node_and_nobody_hears_of_it() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    let (mut watcher, _) = enter(&first, "watcher").await;
    let (mut old, _) = enter(&first, "ada").await;
    next(&mut watcher, "user_online").await;
    let replaced = (4005, "New connection established".to_owned());
    for node in [&second, &first, &first, &second] {
        let (new, total) = enter(node, "ada").await;
        assert_eq!(total, 2);
        let (code, reason, _) = old.closed().await;
        assert_eq!((code, reason), replaced);
        old = new;
    }
    hears_none_of(&mut watcher, &["user_online", "user_offline"]).await;
    // The one that is left works.
    say(&mut watcher, "ada", "still there?").await;
    assert_eq!(
        next(&mut old, "new_message").await["content"],
        "still there?"
    );
    old.close(1000, "").await;
    next(&mut watcher, "user_offline").await;
}

#[tokio::test]
async fn a_limit_of_one_connection_per_user_does_not_keep_the_newest_out() {
    let limit = [("limits.connections_per_user", "1")];
    let node = node(&[LITERAL, &limit].concat()).await;
    let (mut old, _) = enter(&node, "ada").await;
    for _ in 0..3 {
        let (new, _) = enter(&node, "ada").await;
        assert_eq!(old.closed().await.0, 4005);
        old = new;
    }
    hears_none_of(&mut old, &["error"]).await;
}

#[tokio::test]
async fn of_many_connections_at_once_exactly_one_survives() {
    let (first, second, _redis) = two_nodes(LITERAL).await;
    for round in 0..3 {
        let user = format!("racer{round}");
        let path = path_of(&user);
        let opened = (0..8).map(|at| if at % 2 == 0 { &first } else { &second }.open(&path));
        let mut clients = futures_util::future::join_all(opened).await;
        // Each is closed with 4005 but one, which goes on.
        let ends = clients.iter_mut().map(async |client| {
            loop {
                match timeout(Duration::from_secs(3), client.message()).await {
                    Ok(Message::Close(frame)) => {
                        return frame.map(|frame| u16::from(frame.code));
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        });
        let ends = futures_util::future::join_all(ends).await;
        let replaced = ends.iter().filter(|end| **end == Some(4005)).count();
        let left = ends.iter().filter(|end| end.is_none()).count();
        assert_eq!((replaced, left), (7, 1), "{ends:?}");
        let at = ends.iter().position(Option::is_none).expect("one is left");
        hears_none_of(&mut clients[at], &["error"]).await;
    }
}

#[tokio::test]
async fn who_comes_back_within_the_grace_was_never_offline() {
    let settings = [("chat.users", "claims"), ("chat.presence_grace", "30s")];
    let node = node(&settings).await;
    let (mut watcher, _) = enter(&node, "watcher").await;
    let (mut ada, _) = enter(&node, "ada").await;
    next(&mut watcher, "user_online").await;
    for _ in 0..3 {
        ada.close(1000, "").await;
        (ada, _) = enter(&node, "ada").await;
    }
    hears_none_of(&mut watcher, &["user_online", "user_offline"]).await;
}

#[tokio::test]
async fn users_of_a_killed_node_go_offline_once_and_were_last_seen_then() {
    let (mut first, second, _redis) = apart(LITERAL).await;
    let (mut watcher, _) = enter(&second, "watcher").await;
    let mut lost = Vec::new();
    for user in ["ada", "bob", "cleo"] {
        lost.push(enter(&first, user).await);
        next(&mut watcher, "user_online").await;
    }
    let killed_ms = now_ms();
    first.kill();
    let mut gone = Vec::new();
    let end = Instant::now() + Duration::from_mins(1);
    while gone.len() < 3 {
        assert!(Instant::now() < end, "they go offline in time: {gone:?}");
        if let Ok(Message::Text(text)) = timeout(Duration::from_secs(1), watcher.message()).await {
            let frame: Value = serde_json::from_str(text.as_str()).expect("JSON");
            if frame["type"] == "user_offline" {
                gone.push(frame["data"]["userId"].as_str().expect("an id").to_owned());
            }
        }
    }
    gone.sort_unstable();
    assert_eq!(gone, ["ada", "bob", "cleo"]);
    hears_none_of(&mut watcher, &["user_offline"]).await;
    let path = "/api/users/ada";
    let (_, ada) = request(&second, "GET", path, Some(&token("watcher", 60)), None).await;
    assert_eq!(ada["isOnline"], false, "{ada}");
    let seen_ms = unix_ms(ada["lastSeen"].as_str().expect("a time"));
    // When its node was heard of last: at most one renewal before it died, and not after.
    assert!(
        seen_ms <= killed_ms + 1000 && seen_ms + 8000 > killed_ms,
        "{seen_ms} {killed_ms}"
    );
}

#[tokio::test]
async fn above_the_limit_the_list_is_not_sent_to_everybody() {
    let limit = [("chat.online_users_broadcast_limit", "2")];
    let node = node(&[LITERAL, &limit].concat()).await;
    let (mut watcher, _) = enter(&node, "watcher").await;
    let (_ada, _) = enter(&node, "ada").await;
    let (mut bob, _) = enter(&node, "bob").await;
    let (mut cleo, _) = enter(&node, "cleo").await;
    for user in ["ada", "bob", "cleo"] {
        assert_eq!(next(&mut watcher, "user_online").await["userId"], user);
    }
    cleo.close(1000, "").await;
    assert_eq!(next(&mut watcher, "user_offline").await["userId"], "cleo");
    bob.close(1000, "").await;
    // What comes next is about bob, not the list.
    let frame = watcher.json().await;
    assert_eq!(frame["type"], "user_offline", "{frame}");
}

#[tokio::test]
async fn of_very_many_online_the_first_by_name_are_listed_and_all_are_counted() {
    const ONLINE: usize = 1030;
    const LISTED: usize = 1000;
    let limit = [("chat.online_users_broadcast_limit", "0")];
    let node = node(&[LITERAL, &limit].concat()).await;
    let (mut viewer, _) = enter(&node, "a-viewer").await;
    // The last by name come first, so that it is not the order of arrival that counts.
    let names: Vec<String> = (0..ONLINE).map(|at| format!("u{at:04}")).collect();
    let mut clients = Vec::new();
    for names in names.rchunks(50) {
        let opened = names
            .iter()
            .map(async |name| node.open(&path_of(name)).await);
        clients.extend(futures_util::future::join_all(opened).await);
    }
    let end = Instant::now() + 6 * SOON;
    let online = async |viewer: &mut Client| {
        viewer.say(r#"{"type":"get_online_users"}"#).await;
        next(viewer, "online_users").await
    };
    loop {
        let list = online(&mut viewer).await;
        if list["totalOnline"] == ONLINE + 1 {
            break;
        }
        assert!(Instant::now() < end, "{} are online", list["totalOnline"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Made while nobody comes any more.
    let list = online(&mut viewer).await;
    assert_eq!(list["totalOnline"], ONLINE + 1);
    let listed = list["users"].as_array().expect("users").iter();
    let listed: Vec<&str> = listed
        .map(|user| user["username"].as_str().expect("a name"))
        .collect();
    let mut wanted = vec!["a-viewer"];
    wanted.extend(names.iter().map(String::as_str));
    wanted.truncate(LISTED);
    assert_eq!(listed, wanted);
}

#[tokio::test]
async fn of_several_who_leave_at_once_all_contacts_are_sent_the_list() {
    let scope = [("chat.presence_scope", "contacts")];
    let (first, second, _redis) = apart(&[LITERAL, &scope].concat()).await;
    let mut friends = Vec::new();
    let mut leaving = Vec::new();
    for (user, friend) in [("ada", "fay"), ("bob", "gus"), ("cleo", "hal")] {
        let (mut his, _) = enter(&second, friend).await;
        let (mut hers, _) = enter(&first, user).await;
        say(&mut hers, friend, "hello").await;
        next(&mut his, "new_message").await;
        friends.push((user, friend, his));
        leaving.push((user, friend, hers));
    }
    // The other node hears of all three in one go, behind what it heard before.
    second.signal("STOP");
    for (user, friend, client) in &mut leaving {
        client.close(1000, "").await;
        let path = format!("/api/users/{user}");
        let token = token(friend, 60);
        let end = Instant::now() + SOON;
        while request(&first, "GET", &path, Some(&token), None).await.1["isOnline"] != false {
            assert!(Instant::now() < end, "{user} is offline");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    second.signal("CONT");
    for (user, friend, client) in &mut friends {
        let gone = next(client, "user_offline").await;
        assert_eq!(gone["userId"], *user);
        let list = next(client, "online_users").await;
        let himself = json!([{"_id": friend, "username": friend, "avatar": null}]);
        assert_eq!(
            (&list["totalOnline"], &list["users"]),
            (&json!(1), &himself)
        );
        hears_none_of(client, &["user_offline"]).await;
    }
}

#[tokio::test]
async fn presence_may_be_told_to_contacts_only() {
    let scope = [("chat.presence_scope", "contacts")];
    let node = node(&[LITERAL, &scope].concat()).await;
    let (mut friend, _) = enter(&node, "friend").await;
    let (mut stranger, _) = enter(&node, "stranger").await;
    let (mut ada, total) = enter(&node, "ada").await;
    assert_eq!(total, 1, "she has no contacts yet");
    say(&mut ada, "friend", "hello").await;
    next(&mut friend, "new_message").await;
    next(&mut ada, "message_delivered").await;
    ada.close(1000, "").await;
    assert_eq!(next(&mut friend, "user_offline").await["userId"], "ada");
    hears_none_of(&mut stranger, &["user_online", "user_offline"]).await;
    let (_ada, total) = enter(&node, "ada").await;
    assert_eq!(total, 2);
    // The same over HTTP, one by one and in the list.
    for (asker, wanted) in [("friend", json!(true)), ("stranger", Value::Null)] {
        let token = token(asker, 60);
        let (_, ada) = request(&node, "GET", "/api/users/ada", Some(&token), None).await;
        assert_eq!(ada["isOnline"], wanted, "{asker}: {ada}");
        let (_, all) = request(&node, "GET", "/api/users", Some(&token), None).await;
        let all = all["users"].as_array().expect("users").clone();
        let listed = |id: &str| all.iter().find(|one| one["_id"] == id).expect("listed");
        assert_eq!(listed("ada"), &ada, "{asker}");
        assert_eq!(
            listed(asker)["isOnline"],
            true,
            "of himself everybody knows"
        );
    }
    assert_eq!(next(&mut friend, "user_online").await["userId"], "ada");
}

#[tokio::test]
async fn the_node_pings_and_drops_who_does_not_answer() {
    let node = node(&[LITERAL, &[("chat.ping_interval", "1s")]].concat()).await;
    let (mut watcher, _) = enter(&node, "watcher").await;
    // A connection that is read but never answers: no pong, no frame.
    let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, node.port))
        .await
        .expect("it listens");
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        path_of("silent")
    );
    silent.write_all(head.as_bytes()).await.expect("sent");
    let reading = tokio::spawn(async move {
        let mut bytes = Vec::new();
        // It ends with a reset, or without one.
        drop(
            timeout(SOON, silent.read_to_end(&mut bytes))
                .await
                .expect("it is dropped"),
        );
        bytes
    });
    // Whoever answers pings stays: this client does while it reads.
    assert_eq!(next(&mut watcher, "user_offline").await["userId"], "silent");
    hears_none_of(&mut watcher, &["error"]).await;
    let bytes = reading.await.expect("read");
    // A ping came, and no close frame at the end: the client sees 1006.
    assert!(bytes.windows(2).any(|pair| pair == [0x89, 0x00]), "a ping");
    assert!(!bytes.ends_with(b"Heartbeat timeout"), "no close frame");
}

#[tokio::test]
async fn users_register_log_in_and_are_shown() {
    let (first, second, _redis) = two_nodes(REGISTERED).await;
    let (ada, ada_token) = register(&first, "Ada").await;
    let (bob, bob_token) = register(&second, "bob").await;
    let post =
        async |path: &str, body: Value| request(&second, "POST", path, None, Some(&body)).await;
    let account = json!({"username": "aDA", "password": "correct horse"});
    assert_eq!(post("/api/auth/register", account.clone()).await.0, 409);
    let (status, body) = post("/api/auth/login", account).await;
    assert_eq!((status, &body["user"]["_id"]), (200, &json!(ada)));
    assert_eq!(body["user"]["username"], "Ada");
    let wrong = json!({"username": "ada", "password": "battery staple"});
    let nobody = json!({"username": "nobody", "password": "battery staple"});
    assert_eq!(
        post("/api/auth/login", wrong).await,
        post("/api/auth/login", nobody).await
    );
    let bad = json!({"username": "x", "password": "correct horse"});
    assert_eq!(post("/api/auth/register", bad).await.0, 400);
    assert_eq!(post("/api/auth/login", json!([])).await.0, 400);
    // The token opens a connection, on either node.
    let mut client = second.open(&format!("/ws/chat?token={ada_token}")).await;
    let first_frame = client.json().await;
    assert_eq!(
        first_frame["data"],
        json!({"userId": ada, "username": "Ada"})
    );
    let get = async |path: &str| request(&first, "GET", path, Some(&bob_token), None).await;
    let (status, shown) = get(&format!("/api/users/{ada}")).await;
    assert_eq!((status, &shown["isOnline"]), (200, &json!(true)));
    let (_, shown) = get(&format!("/api/users/{bob}")).await;
    assert_eq!(
        (&shown["isOnline"], &shown["lastSeen"]),
        (&json!(false), &Value::Null)
    );
    let (_, all) = get("/api/users").await;
    assert_eq!(all["users"].as_array().expect("users").len(), 2, "{all}");
    assert!(!all.to_string().contains("argon2"), "{all}");
    assert_eq!(get("/api/users/unknown").await.0, 404);
    let path = format!("/api/users/{ada}");
    assert_eq!(request(&first, "GET", &path, None, None).await.0, 401);
    assert_eq!(
        request(&first, "GET", &path, Some("nonsense"), None)
            .await
            .0,
        401
    );
    // A message over HTTP reaches the connection like any other.
    let body = json!({"receiverId": ada, "content": "by post"});
    let (status, sent) = request(
        &first,
        "POST",
        "/api/messages",
        Some(&bob_token),
        Some(&body),
    )
    .await;
    assert_eq!((status, &sent["status"]), (201, &json!("sent")), "{sent}");
    assert_eq!(
        next(&mut client, "new_message").await["messageId"],
        sent["messageId"]
    );
    let own = json!({"receiverId": bob, "content": "x"});
    let (status, refused) = request(
        &first,
        "POST",
        "/api/messages",
        Some(&bob_token),
        Some(&own),
    )
    .await;
    assert_eq!(
        (status, &refused["message"]),
        (400, &json!("Cannot send message to yourself"))
    );
}

/// An answer that says when to come again.
fn is_limited((status, head, body): (u16, String, Value)) {
    assert_eq!(status, 429, "{head}");
    assert_eq!(body, json!({"message": "Rate limit exceeded"}));
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("retry-after: "));
    let seconds: u64 = line.expect("when to come again").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn messages_over_http_have_the_rate_of_a_users_frames() {
    let limits = [
        ("limits.frames_per_second", "1"),
        ("limits.frames_burst", "3"),
    ];
    let node = node(&[LITERAL, &limits].concat()).await;
    let (mut bob, _) = enter(&node, "bob").await;
    let post = async |user: &str, at: usize| {
        let token = token(user, 3600);
        let body = json!({"receiverId": "bob", "content": at.to_string()});
        exchange(
            node.port,
            "POST",
            "/api/messages",
            Some(&token),
            Some(&body),
        )
        .await
    };
    let mut sent = 0;
    // Three at once, and one per second: on a slow machine some more.
    let refused = loop {
        let answer = post("ada", sent).await;
        if answer.0 != 201 {
            break answer;
        }
        assert!(sent < 20, "never too many");
        sent += 1;
    };
    assert!(sent >= 3, "{sent}");
    is_limited(refused);
    until_counted(
        &node,
        "sparkway_rate_limited_total{scope=\"chat_messages\"}",
    )
    .await;
    assert_eq!(post("cleo", 0).await.0, 201, "others have their own");
    for at in 0..sent {
        let heard = next(&mut bob, "new_message").await;
        assert_eq!(heard["content"], at.to_string());
    }
}

#[tokio::test]
async fn who_registers_or_guesses_too_often_is_told_when_to_come_again() {
    let limits = [
        ("chat.registrations_per_address", "2"),
        ("chat.logins_per_address", "6"),
        ("chat.failed_logins_per_account", "2"),
    ];
    let node = node(&[REGISTERED, &limits].concat()).await;
    let post = async |path: &str, username: &str, password: &str| {
        let account = json!({"username": username, "password": password});
        exchange(node.port, "POST", path, None, Some(&account)).await
    };
    let login = "/api/auth/login";
    for name in ["ada", "bob"] {
        register(&node, name).await;
    }
    is_limited(post("/api/auth/register", "cleo", "correct horse").await);
    // Who knows the password is not counted, whoever guesses is, in whatever case he writes it.
    assert_eq!(post(login, "ada", "correct horse").await.0, 200);
    assert_eq!(post(login, "ada", "battery staple").await.0, 401);
    assert_eq!(post(login, "ADA", "battery staple").await.0, 401);
    is_limited(post(login, "ada", "correct horse").await);
    // Others log in, until the address has had enough.
    assert_eq!(post(login, "bob", "correct horse").await.0, 200);
    assert_eq!(post(login, "bob", "correct horse").await.0, 200);
    is_limited(post(login, "bob", "correct horse").await);
}

#[tokio::test]
async fn nobody_registers_or_logs_in_where_users_come_from_their_tokens() {
    let node = node(LITERAL).await;
    let account = json!({"username": "ada", "password": "correct horse"});
    for path in ["/api/auth/register", "/api/auth/login"] {
        let (status, body) = request(&node, "POST", path, None, Some(&account)).await;
        let text = "Users come from their tokens: nobody registers or logs in here";
        assert_eq!((status, body), (403, json!({"message": text})), "{path}");
    }
}

#[tokio::test]
async fn who_is_online_is_so_again_after_the_store_lost_everything() {
    let redis = redis().await;
    let node = node(&[&[("store.url", &*redis.url)], LITERAL].concat()).await;
    let (_ada, _) = enter(&node, "ada").await;
    let (mut bob, total) = enter(&node, "bob").await;
    assert_eq!(total, 2);
    redis.lose_everything();
    let end = Instant::now() + 3 * SOON;
    loop {
        bob.say(r#"{"type":"get_online_users"}"#).await;
        let answer = loop {
            let frame = bob.json().await;
            if frame["type"] == "online_users" || frame["type"] == "error" {
                break frame;
            }
        };
        if answer["data"]["totalOnline"] == 2 {
            break;
        }
        assert!(
            Instant::now() < end,
            "both are in the lobby again: {answer}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_chat_keeps_the_rules_of_frames() {
    let node = node(LITERAL).await;
    let open = async || enter(&node, "ada").await.0;
    let question = json!({"type": "get_online_users", "data": {}});
    keeps_the_rules_of_frames(open, &question, "online_users").await;
}

#[tokio::test]
async fn a_draining_node_closes_its_chats_with_1001() {
    let drain = [("drain.readiness_delay", "0s"), ("drain.duration", "1s")];
    let node = node(&[LITERAL, &drain].concat()).await;
    let (mut ada, _) = enter(&node, "ada").await;
    let (mut bob, _) = enter(&node, "bob").await;
    node.signal("TERM");
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.closed().await.0, 1001);
    }
}

#[tokio::test]
async fn the_chat_and_its_rest_paths_share_a_port_at_the_path_of_the_source() {
    let routes = [("routes", "/ws=chat")];
    let node = node(&[REGISTERED, &routes].concat()).await;
    let (_, token) = register(&node, "ada").await;
    let mut client = node.open(&format!("/ws?token={token}")).await;
    assert_eq!(client.json().await["type"], "connection_established");
    assert_eq!(
        request(&node, "GET", "/api/users", Some(&token), None)
            .await
            .0,
        200
    );
    assert_eq!(
        request(&node, "GET", "/api/other", Some(&token), None)
            .await
            .0,
        404
    );
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("a number")
}

/// Unix milliseconds of `2024-01-01T00:00:00.000Z`.
fn unix_ms(text: &str) -> u64 {
    let number = |from: usize, to: usize| {
        text.get(from..to)
            .expect("a time")
            .parse::<i64>()
            .expect("digits")
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since 1970 of a date of the Gregorian calendar.
    let shifted = if month > 2 { year } else { year - 1 };
    let month_at = (month + 9) % 12;
    let days = 365 * shifted + shifted / 4 - shifted / 100
        + shifted / 400
        + (month_at * 306 + 5) / 10
        + day
        - 1
        - 719_468;
    let seconds = days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19);
    u64::try_from(seconds * 1000 + number(20, 23)).expect("after 1970")
}
