//! What clients send, rule by rule.

use sparkway_protocol::limits::{
    FRAME_ID_BYTES, TOKEN_BYTES, TOPIC_NAME_BYTES, TOPICS_PER_REQUEST,
};
use sparkway_protocol::{AckId, Code, Command, Format, LastSeen, MessageId, Since};

use super::events::id;
use super::{both, code_of, id_of, json, msgpack, publish, publish_packed};
use crate::{Wire, WireKind, carries, decode};

fn resumed(last: &str) -> LastSeen {
    let frame = format!(
        r#"{{"type":"ws:resume","data":{{"heartbeat_token":"h","last_message_id":{last}}}}}"#
    );
    match json(&frame) {
        Ok(Command::Resume { last, .. }) => last,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_format_refuses_the_other_kind_of_message() {
    for format in Format::ALL {
        let wrong = match carries(format) {
            WireKind::Text => Wire::Binary(b"{}"),
            WireKind::Binary => Wire::Text("{}"),
        };
        assert!(decode(format, wrong).is_err(), "{format:?}");
    }
    assert_eq!(carries(Format::SparkJson), WireKind::Text);
    assert_eq!(carries(Format::SparkMsgPack), WireKind::Binary);
}

#[test]
fn a_malformed_frame_is_answered_by_the_id_it_carries() {
    for frame in [
        r#"{"id":"f-7""#,
        r#"{"id":"f-7","type":"#,
        r#"{"id":"f-7","type":"ws:ping"}x"#,
        r#"{"id":"f-7","type":"ws:ping",}"#,
        r#"{"type":"ws:ping","type":"ws:ping","id":"f-7"}"#,
        r#"{"id":"f-7","type":"ws:ping","x":"\ud800","\ud800":1}"#,
        r#"{"id":"f-7","type":"ws:connect","data":{"token":"\udc00"}}"#,
        r#"{"id":"f-7","type":"no:such"}"#,
        r#"{"id":"f-7"}"#,
    ] {
        assert_eq!(id_of(&json(frame)), Some("f-7"), "{frame}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let answer = publish(&deep);
    assert_eq!(id_of(&answer), Some("f-7"));
    assert_eq!(code_of(answer), Code::Invalid);
    let answer = publish_packed(&[vec![0x91; 100_000], vec![0xc0]].concat());
    assert_eq!(id_of(&answer), Some("f-7"));
    assert_eq!(code_of(answer), Code::Invalid);
}

#[test]
fn text_that_is_no_plain_json_is_refused() {
    for frame in [
        "\u{feff}{\"type\":\"ws:ping\"}",
        "{\"type\":\"ws:ping\",\"x\":\"a\nb\"}",
        "{\"type\":\"ws:ping\",\"x\":\"a\0b\"}",
        r#"{"type":"ws:ping","x":NaN}"#,
        r#"{"type":"ws:ping","x":Infinity}"#,
        r#"{"type":"ws:ping","x":01}"#,
        r#"{"type":"ws:ping"} {"type":"ws:ping"}"#,
        r"{'type':'ws:ping'}",
        "\0",
        "null",
        "\"ws:ping\"",
    ] {
        assert_eq!(code_of(json(frame)), Code::Malformed, "{frame:?}");
    }
    let spaced = json(" \t\r\n{ \"type\" : \"ws:ping\" } \n");
    assert_eq!(spaced, Ok(Command::Ping { id: None }));
}

#[test]
fn escapes_in_names_and_values_are_read() {
    let answer = json(r#"{"\u0074ype":"ws\u003aping","id":"\ud83d\ude00\n"}"#);
    // The id is text with a control character: refused, so the escape was read.
    assert_eq!(code_of(answer), Code::Invalid);
    let answer = json(r#"{"\u0074ype":"ws\u003aping","id":"\ud83d\ude00"}"#);
    assert_eq!(answer.unwrap().id().unwrap().as_str(), "\u{1f600}");
}

#[test]
fn frame_ids_have_1_to_64_bytes() {
    let ping = |id: &str| both(&format!(r#"{{"type":"ws:ping","id":"{id}"}}"#));
    assert!(ping(&"x".repeat(FRAME_ID_BYTES)).is_ok());
    for bad in ["", &"x".repeat(FRAME_ID_BYTES + 1), &"é".repeat(33)] {
        let answer = ping(bad);
        assert_eq!(id_of(&answer), None);
        assert!(answer.unwrap_err().message.starts_with("id: "));
    }
    assert_eq!(
        both(r#"{"type":"ws:ping","id":null}"#),
        Ok(Command::Ping { id: None })
    );
}

#[test]
fn tokens_are_refused_above_their_limit() {
    let connect = |bytes: usize| {
        let token = "x".repeat(bytes);
        both(&format!(
            r#"{{"type":"ws:connect","id":"f","data":{{"token":"{token}"}}}}"#
        ))
    };
    assert!(connect(TOKEN_BYTES).is_ok());
    let refused = connect(TOKEN_BYTES + 1).unwrap_err();
    assert_eq!(refused.message, "data.token: longer than 8192 bytes");
}

#[test]
fn topic_lists_hold_1_to_100_names_and_names_are_not_judged() {
    let subscribe = |names: &[String]| {
        let names = serde_json::to_string(names).unwrap();
        both(&format!(
            r#"{{"type":"topic:subscribe","id":"f","data":{{"topics":{names}}}}}"#
        ))
    };
    assert!(subscribe(&vec!["t".into(); TOPICS_PER_REQUEST]).is_ok());
    let refused = subscribe(&vec!["t".into(); TOPICS_PER_REQUEST + 1]).unwrap_err();
    assert_eq!(refused.code, Code::LimitExceeded);
    assert!(refused.message.contains("100"), "{}", refused.message);
    assert_eq!(code_of(subscribe(&[])), Code::Invalid);

    let long = "é".repeat(50_000);
    let Ok(Command::Subscribe { request, .. }) = subscribe(&["a b".into(), long]) else {
        panic!("refused");
    };
    assert_eq!(&*request.topics[0], "a b");
    assert_eq!(&*request.topics[1], "é".repeat(150));
    assert!(
        request.topics[1].len() > TOPIC_NAME_BYTES,
        "still refused later"
    );
}

#[test]
fn a_published_topic_obeys_the_naming_rule() {
    for bad in [
        "",
        "a b",
        "a\\n",
        "a\\u0000",
        &"x".repeat(TOPIC_NAME_BYTES + 1),
    ] {
        let frame = format!(r#"{{"type":"topic:publish","id":"f","topic":"{bad}"}}"#);
        let refused = both(&frame).unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert!(
            refused.message.starts_with("topic: "),
            "{}",
            refused.message
        );
        let frame = format!(r#"{{"type":"topic:history","id":"f","data":{{"topic":"{bad}"}}}}"#);
        assert!(
            both(&frame)
                .unwrap_err()
                .message
                .starts_with("data.topic: ")
        );
    }
    let frame = r#"{"type":"topic:publish","topic":"}{x}*?[a-z]:$"}"#;
    assert!(both(frame).is_ok());
}

#[test]
fn last_message_id_is_a_position_or_says_that_it_is_none() {
    assert_eq!(resumed("null"), LastSeen::Unknown);
    assert_eq!(resumed("\"0\""), LastSeen::One(MessageId::ZERO));
    assert_eq!(
        resumed("\"9007199254740991\""),
        LastSeen::One(MessageId::MAX)
    );
    assert_eq!(resumed("[]"), LastSeen::Many(vec![]));
    assert_eq!(
        resumed(r#"["16","33"]"#),
        LastSeen::Many(vec![id(16), id(33)])
    );
    let many = |count| format!("[{}]", vec!["\"16\""; count].join(","));
    assert_eq!(resumed(&many(16)), LastSeen::Many(vec![id(16); 16]));
    for bad in [
        "-1",
        "1.5",
        "12",
        "9007199254740992",
        "18446744073709551616",
        "1e400",
        "true",
        "{}",
        "\"\"",
        "\"-1\"",
        "\"1.5\"",
        "\"9007199254740992\"",
        "\"c1\"",
        "\"garbage\"",
        "[16]",
        "[\"16\",null]",
        "[[\"16\"]]",
        &many(17),
    ] {
        assert_eq!(resumed(bad), LastSeen::Invalid, "{bad}");
    }
}

#[test]
fn ack_ids_name_a_message_a_control_frame_or_nothing() {
    let ack = |ack: &str| match both(&format!(r#"{{"type":"ws:ack","data":{{"ackId":{ack}}}}}"#)) {
        Ok(Command::Ack { ack, .. }) => ack,
        other => panic!("{other:?}"),
    };
    assert_eq!(ack("\"16\""), AckId::Message(id(16)));
    assert_eq!(ack("\"c1\""), AckId::Control("c1".into()));
    for nothing in [
        "\"\"",
        "16",
        "null",
        "\"C1\"",
        "\"01\"",
        &format!("\"c{}\"", "1".repeat(64)),
    ] {
        assert_eq!(ack(nothing), AckId::Unknown, "{nothing}");
    }
}

#[test]
fn numbers_are_whole_and_within_their_range() {
    let history = |limit: &str| {
        both(&format!(
            r#"{{"type":"topic:history","data":{{"topic":"t","limit":{limit}}}}}"#
        ))
    };
    for (given, read) in [("null", 100), ("1", 1), ("1000", 1000)] {
        let answer = history(given);
        assert!(matches!(answer, Ok(Command::History { limit, .. }) if limit == read));
    }
    for bad in [
        "0",
        "1001",
        "-1",
        "1.0",
        "1e2",
        "\"10\"",
        "18446744073709551615",
        "[]",
    ] {
        let refused = history(bad).unwrap_err();
        assert!(
            refused.message.contains("1 to 1000"),
            "{bad}: {}",
            refused.message
        );
    }
    let rewind = |count: &str| {
        both(&format!(
            r#"{{"type":"topic:subscribe","data":{{"topics":["t"],"rewind":{count}}}}}"#
        ))
    };
    for (given, read) in [
        ("0", Since::Rewind(0)),
        ("1000", Since::Rewind(1000)),
        ("null", Since::Now),
    ] {
        let answer = rewind(given);
        assert!(matches!(answer, Ok(Command::Subscribe { request, .. }) if request.since == read));
    }
    assert_eq!(code_of(rewind("1001")), Code::Invalid);
}

#[test]
fn msgpack_lengths_beyond_the_input_are_refused() {
    for bomb in [
        b"\xdd\xff\xff\xff\xff".as_slice(),
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ] {
        assert_eq!(code_of(msgpack(bomb)), Code::Malformed);
        let head = b"\x82\xa2id\xa3f-7\xa4data".as_slice();
        let answer = msgpack(&[head, bomb].concat());
        assert_eq!(id_of(&answer), Some("f-7"));
        assert_eq!(code_of(answer), Code::Malformed);
        let topics = b"\x82\xa4type\xaftopic:subscribe\xa4data\x81\xa6topics".as_slice();
        assert_eq!(code_of(msgpack(&[topics, bomb].concat())), Code::Malformed);
    }
}
