use sparkway_protocol::{Code, Event, Format};

use super::*;
use crate::spark::tests::events;
use crate::{Talk, tests};

#[test]
fn every_frame_reads_and_writes_as_its_transcript_says() {
    tests::check("chat", Format::Chat, || Talk::Plain);
}

/// What the application tells, in the order of the source's tables.
fn told() -> Vec<Told<'static>> {
    let (ada, bob) = ("507f1f77bcf86cd799439010", "507f1f77bcf86cd799439011");
    let at = "2024-01-01T12:00:00.000Z";
    let id = "4503599627370496";
    let user = |id: &str, name: &str, avatar: Option<&str>| OnlineUser {
        id: id.into(),
        username: name.into(),
        avatar: avatar.map(Box::from),
    };
    let users = vec![
        user(ada, "john_doe", None),
        user(bob, "jane_doe", Some("https://example.com/avatar.jpg")),
    ];
    vec![
        Told::ConnectionEstablished {
            user_id: ada,
            username: "john_doe",
        },
        Told::NewMessage {
            message_id: id,
            sender_id: ada,
            sender_username: "john_doe",
            content: "Hello! How are you?",
            message_type: "text",
            created_at: at,
        },
        Told::MessageSent {
            message_id: id,
            receiver_id: bob,
            content: "Hello! \"You\"\n\u{1f600}",
            created_at: at,
            status: "sent",
        },
        Told::MessageDelivered {
            message_id: id,
            delivered_at: at,
        },
        Told::MessagesRead {
            read_by: bob,
            read_by_username: "jane_doe",
            read_at: at,
        },
        Told::MarkReadSuccess {
            sender_id: ada,
            marked_count: 2,
        },
        Told::TypingIndicator {
            user_id: ada,
            username: "john_doe",
            is_typing: true,
        },
        Told::OnlineUsers {
            users: Vec::leak(users),
            total_online: 2,
            timestamp: at,
        },
        Told::UserOnline {
            user_id: ada,
            username: "john_doe",
        },
        Told::UserOffline {
            user_id: ada,
            username: "john_doe",
        },
        error("Cannot send message to yourself", at),
    ]
}

#[test]
fn every_frame_of_the_application_stands_as_in_its_golden_file() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata-told/chat.jsonl");
    let now: String = told().iter().map(|told| told.to_text() + "\n").collect();
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), now);
    for told in told() {
        // An inbox carries it as it stands.
        let event = events::message(told.to_payload());
        let framed = encode(&event, None).unwrap();
        let (_, text) = framed.frames().next().unwrap();
        assert_eq!(str::from_utf8(text).unwrap(), told.to_text());
        let is_new = matches!(told, Told::NewMessage { .. });
        assert_eq!(delivered(&told.to_payload()).is_some(), is_new);
    }
}

#[test]
fn missing_fields_are_named_in_the_words_of_the_source() {
    let refused = |frame: &str| decode(frame).unwrap_err().message.into_owned();
    for data in [
        "{}",
        "null",
        r#"{"receiverId":"b"}"#,
        r#"{"content":"x"}"#,
        r#"{"receiverId":"","content":"x"}"#,
        r#"{"receiverId":7,"content":"x"}"#,
    ] {
        let frame = format!(r#"{{"type":"chat_message","data":{data}}}"#);
        assert_eq!(refused(&frame), NO_MESSAGE, "{data}");
    }
    assert_eq!(refused(r#"{"type":"chat_message"}"#), NO_MESSAGE);
    assert_eq!(refused(r#"{"type":"typing_start","data":{}}"#), NO_RECEIVER);
    assert_eq!(refused(r#"{"type":"typing_stop","data":{}}"#), NO_RECEIVER);
    assert_eq!(refused(r#"{"type":"mark_read","data":{}}"#), NO_SENDER);
    assert_eq!(
        refused(r#"{"type":"nonsense"}"#),
        "Unknown message type: nonsense"
    );
    for bad in [
        "",
        "hello",
        "{",
        "[]",
        "7",
        r#"{"data":{}}"#,
        r#"{"type":7}"#,
        r#"{"type":"chat_message","data":"x"}"#,
    ] {
        assert_eq!(refused(bad), NOT_JSON, "{bad}");
    }
}

#[test]
fn what_is_no_frame_reaches_the_client_as_an_event() {
    for payload in [
        &b"[1,2]"[..],
        br#"{"type":"x"}"#,
        br#"{"type":"x","data":1,"more":2}"#,
    ] {
        let event = events::message(events::payload(Encoding::Json, payload));
        let framed = encode(&event, None).unwrap();
        let (_, text) = framed.frames().next().unwrap();
        let text: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(text["type"], "event");
        let inner: serde_json::Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(text["data"], inner);
    }
}

#[test]
fn refusals_of_the_gateway_have_the_words_of_the_contract() {
    let text = |code| {
        let event = Event::Refused(Refused::new(code, "the gateway's own words"));
        let framed = encode(&event, Some(1_704_067_200_000)).unwrap();
        let (_, text) = framed.frames().next().unwrap();
        let text: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert_eq!(text["data"]["timestamp"], "2024-01-01T00:00:00.000Z");
        text["data"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(text(Code::RateLimited), "Rate limit exceeded");
    assert_eq!(text(Code::TooLarge), "Message too large");
    assert_eq!(text(Code::Unavailable), "Server error");
    assert_eq!(text(Code::Internal), "Server error");
}
