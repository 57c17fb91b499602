//! Whatever arrives, there is an answer; whatever is published arrives everywhere.

use proptest::prelude::*;
use serde_json::{Value, json};
use sparkway_protocol::{Command, Encoding, Format, Refused};

use super::events::{message, payload};
use super::{as_json, as_msgpack, json as read_json, msgpack, payload_of, published};
use crate::{json_payload, json_text};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        ".{30,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 120, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..20)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// Frames that are right, with room for anything in them.
fn any_frame() -> impl Strategy<Value = Value> {
    let kind = proptest::sample::select(vec![
        "ws:connect",
        "ws:resume",
        "ws:heartbeat",
        "ws:ping",
        "ws:ack",
        "ws:refresh",
        "ws:close",
        "topic:subscribe",
        "topic:unsubscribe",
        "topic:publish",
        "topic:history",
        "topic:presence",
        "rpc:call",
        "ws:none",
    ]);
    let data = prop_oneof![
        any_value(),
        Just(json!({"token": "t", "heartbeat_token": "h", "last_message_id": ["16"]})),
        Just(json!({"topics": ["a", "b"], "since": "16", "topic": "t", "limit": 5})),
        Just(json!({"method": "m", "params": [1], "ackId": "16"})),
    ];
    (kind, "[a-z0-9]{1,64}", data)
        .prop_map(|(kind, id, data)| json!({"type": kind, "id": id, "topic": "t", "data": data}))
}

/// What the frame's answer is for: its id comes back in the command or in the refusal.
fn answers(answer: &Result<Command, Refused>, id: &str) -> bool {
    match answer {
        Ok(command) => command.id().is_some_and(|found| found.as_str() == id),
        Err(refused) => refused
            .id
            .as_ref()
            .is_some_and(|found| found.as_str() == id),
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _answer = msgpack(&bytes);
        let _answer = read_json(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_gets_an_answer(text in r#"[{}\[\]",:\\a-z0-9 ]{0,80}"#) {
        let _answer = read_json(&text);
    }

    #[test]
    fn whole_frames_are_answered_by_their_id(frame in any_frame()) {
        let id = frame["id"].as_str().unwrap().to_owned();
        prop_assert!(answers(&read_json(&frame.to_string()), &id));
        prop_assert!(answers(&msgpack(&rmp_serde::to_vec_named(&frame).unwrap()), &id));
    }

    #[test]
    fn cut_frames_are_refused(frame in any_frame(), cut in any::<proptest::sample::Index>()) {
        let text = frame.to_string();
        let end = text.floor_char_boundary(cut.index(text.len()));
        prop_assert!(read_json(text.get(..end).unwrap()).is_err());
        let packed = rmp_serde::to_vec_named(&frame).unwrap();
        prop_assert!(msgpack(&packed[..cut.index(packed.len())]).is_err());
    }

    #[test]
    fn spoiled_frames_get_an_answer(
        frame in any_frame(),
        place in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut packed = rmp_serde::to_vec_named(&frame).unwrap();
        let at = place.index(packed.len());
        packed[at] = byte;
        let _answer = msgpack(&packed);
        let mut text = frame.to_string().into_bytes();
        let at = place.index(text.len());
        text[at] = byte;
        if let Ok(text) = str::from_utf8(&text) {
            let _answer = read_json(text);
        }
    }

    #[test]
    fn json_survives_the_way_through_msgpack_and_back(value in any_value()) {
        let there = as_msgpack(&message(payload(Encoding::Json, value.to_string().as_bytes())));
        prop_assert_eq!(&there["data"], &value);
        let frame = json!({"type": "topic:publish", "topic": "t", "data": there["data"]});
        let packed = published(msgpack(&rmp_serde::to_vec_named(&frame).unwrap()));
        // Back by the way there: the independent JSON reader rounds doubles.
        let text = json_text(&packed).into_owned();
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        let back = as_msgpack(&message(payload(Encoding::Json, text.as_bytes())));
        prop_assert_eq!(&back["data"], &value);
    }

    #[test]
    fn what_was_let_in_reaches_every_format(bytes in proptest::collection::vec(any::<u8>(), 1..60)) {
        let head = b"\x83\xa4type\xadtopic:publish\xa5topic\xa1t\xa4data".as_slice();
        if let Ok(Command::Publish { payload, .. }) = msgpack(&[head, &bytes].concat()) {
            let frame = as_json(&message(payload.clone()));
            prop_assert!(frame.get("data").is_some());
            let back = payload_of(Format::SparkMsgPack, &message(payload));
            prop_assert!(back.windows(bytes.len()).any(|window| window == bytes));
        }
    }

    #[test]
    fn json_is_let_in_as_an_independent_reader_judges(text in r#"[\[\]{},:"0-9eE.+\\u\-dab tn]{0,12}"#) {
        let judged = serde_json::from_str::<Value>(&text);
        let answer = json_payload("data", &text);
        match judged {
            Ok(_) => prop_assert!(answer.is_ok(), "{text:?}"),
            // That reader refuses numbers beyond a double, which are valid JSON.
            Err(error) if error.to_string().contains("out of range") => {}
            Err(_) => prop_assert!(answer.is_err(), "{text:?}"),
        }
    }

    #[test]
    fn payloads_are_carried_verbatim(value in any_value()) {
        let text = value.to_string();
        let frame = format!(r#"{{"type":"topic:publish","topic":"t","data":{text}}}"#);
        prop_assert_eq!(&*published(read_json(&frame)).bytes, text.as_bytes());
        let packed = rmp_serde::to_vec_named(&value).unwrap();
        let frame = json!({"type": "topic:publish", "topic": "t", "data": value});
        let frame = rmp_serde::to_vec_named(&frame).unwrap();
        prop_assert_eq!(&*published(msgpack(&frame)).bytes, &packed);
    }
}
