//! What clients are told.

use proptest::prelude::*;
use serde_json::{Value, json};
use sparkway_protocol::{Encoding, Event, Format};

use super::events::{all, message, payload};
use super::{as_json, as_msgpack, payload_of};
use crate::{encode, json_text};

#[test]
fn both_encodings_say_the_same() {
    for (name, event) in all() {
        // Bytes differ on purpose, and the independent reader knows none.
        if ["bytes", "history", "MessagePack", "odd"]
            .iter()
            .any(|odd| name.contains(odd))
        {
            continue;
        }
        assert_eq!(as_json(&event), as_msgpack(&event), "{name}");
    }
}

#[test]
fn every_frame_has_a_type_and_no_field_stands_twice() {
    for (name, event) in all() {
        if name.contains("odd") {
            continue; // the independent reader refuses 1e400
        }
        let text = String::from_utf8(payload_of(Format::SparkJson, &event)).unwrap();
        let frame = as_json(&event);
        assert!(frame["type"].as_str().unwrap().contains(':'), "{name}");
        // A reader merges fields of one name: then it would see fewer than were written.
        assert_eq!(fields_in(&frame), text.matches("\":").count(), "{name}");
    }
}

fn fields_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(fields_in).sum(),
        Value::Object(fields) => fields.len() + fields.values().map(fields_in).sum::<usize>(),
        _ => 0,
    }
}

#[test]
fn other_dialects_have_no_form_yet() {
    let event = Event::ReplayDone { replayed: 0 };
    for format in [
        Format::Topics,
        Format::Conversation,
        Format::Room,
        Format::Chat,
    ] {
        assert!(encode(format, &event).is_none());
    }
}

#[test]
fn a_message_shows_the_time_of_its_id_and_its_id_as_text() {
    let frame = as_json(&message(payload(Encoding::Json, b"1")));
    assert_eq!(frame["id"], json!("241663180800016"));
    assert_eq!(
        frame["ts"],
        json!(241_663_180_800_016_u64 / 4096 + 1_735_689_600_000)
    );
}

#[test]
fn json_payloads_are_not_reformatted() {
    let data = br#"{"a" : 1e400, "b":9007199254740993}"#;
    let text = payload_of(Format::SparkJson, &message(payload(Encoding::Json, data)));
    assert!(text.windows(data.len()).any(|window| window == data));
}

#[test]
fn json_says_null_for_what_it_has_no_word_for() {
    let packed = b"\x93\xca\x7f\xc0\x00\x00\xcb\x7f\xf0\0\0\0\0\0\0\xca\xff\x80\x00\x00";
    let text = json_text(&payload(Encoding::MsgPack, packed)).into_owned();
    assert_eq!(text, "[null,null,null]");
}

#[test]
fn bytes_inside_a_payload_become_base64() {
    let packed = b"\x82\xa1b\xc4\x03\xfb\xff\xfe\xa1l\x91\xc4\x00";
    let text = json_text(&payload(Encoding::MsgPack, packed)).into_owned();
    assert_eq!(text, r#"{"b":"+//+","l":[""]}"#);
}

#[test]
fn numbers_keep_their_value_between_encodings() {
    let packed = b"\x9a\x7f\xcc\x80\xcd\x01\x00\xe0\xd0\xdf\xd1\x80\x00\xd3\x80\0\0\0\0\0\0\0\
        \xcf\xff\xff\xff\xff\xff\xff\xff\xff\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a\xd3\0\0\0\0\0\0\0\x05";
    let told = json_text(&payload(Encoding::MsgPack, packed)).into_owned();
    assert_eq!(
        told,
        "[127,128,256,-32,-33,-32768,-9223372036854775808,18446744073709551615,0.1,5]"
    );
    for (given, float) in [
        ("1.0", 1.0),
        ("-0", -0.0),
        ("1e2", 100.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-9223372036854775809", -9_223_372_036_854_775_808.0),
        ("1e400", f64::INFINITY),
        ("-1e400", f64::NEG_INFINITY),
        ("1e-400", 0.0),
    ] {
        let frame = payload_of(
            Format::SparkMsgPack,
            &message(payload(Encoding::Json, given.as_bytes())),
        );
        let wanted = [b"\xa4data\xcb".as_slice(), &f64::to_be_bytes(float)].concat();
        assert!(
            frame.windows(wanted.len()).any(|window| window == wanted),
            "{given}"
        );
    }
}

#[test]
fn containers_of_every_size_are_transcoded() {
    for count in [0, 1, 15, 16, 17, 1000, 65_535, 65_536, 70_000] {
        let list = Value::from((0..count).collect::<Vec<u32>>());
        let map: serde_json::Map<_, _> =
            (0..count).map(|at| (at.to_string(), json!([at]))).collect();
        for value in [list, Value::from(map)] {
            let text = value.to_string();
            let told = as_msgpack(&message(payload(Encoding::Json, text.as_bytes())));
            assert!(told["data"] == value, "{count}");
        }
    }
}

#[test]
fn a_payload_that_was_never_checked_becomes_null_where_it_must_be_read() {
    for bad in [
        "",
        "{",
        "[1 2]",
        "[,]",
        "{1:2}",
        "{\"a\"}",
        "1 2",
        "\"\\ud800\"",
        "nul",
        "[1,]",
        "\"a\\",
    ] {
        let told = as_msgpack(&message(payload(Encoding::Json, bad.as_bytes())));
        assert_eq!(told["data"], Value::Null, "{bad}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        as_msgpack(&message(payload(Encoding::Json, deep.as_bytes())))["data"],
        Value::Null
    );
    for bad in [
        b"".as_slice(),
        b"\xc1",
        b"\x92\x01",
        b"\x01\x02",
        b"\x81\x01\x02",
        b"\xa1\xff",
    ] {
        let told = as_json(&message(payload(Encoding::MsgPack, bad)));
        assert_eq!(told["data"], Value::Null, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn text_is_escaped_so_that_readers_get_it_back(text in any::<String>()) {
        let event = message(payload(Encoding::Text, text.as_bytes()));
        prop_assert_eq!(&as_json(&event)["data"], &json!(&text));
        prop_assert_eq!(&as_msgpack(&event)["data"], &json!(&text));
    }

    #[test]
    fn bytes_reach_both_encodings_whole(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        use base64::Engine as _;
        let event = message(payload(Encoding::Binary, &bytes));
        let frame = as_json(&event);
        prop_assert_eq!(&frame["encoding"], &json!("base64"));
        let told = frame["data"].as_str().unwrap();
        prop_assert_eq!(&base64::engine::general_purpose::STANDARD.decode(told).unwrap(), &bytes);
        let packed = payload_of(Format::SparkMsgPack, &event);
        prop_assert!(packed.windows(bytes.len().max(1)).any(|window| bytes.is_empty() || window == bytes));
    }
}

#[test]
fn every_character_of_ascii_is_escaped_as_json_asks() {
    let text: String = (0..=0x7f_u8).map(char::from).collect();
    let event = message(payload(Encoding::Text, text.as_bytes()));
    let frame = payload_of(Format::SparkJson, &event);
    assert!(frame.iter().all(|symbol| *symbol >= 0x20));
    assert_eq!(as_json(&event)["data"], json!(text));
}

#[test]
fn values_at_the_edges_of_the_short_forms_keep_their_value() {
    let edges = [
        0_i64,
        0x7f,
        0x80,
        0xff,
        0x100,
        0xffff,
        0x1_0000,
        0xffff_ffff,
        0x1_0000_0000,
    ];
    let below = [
        -1_i64,
        -32,
        -33,
        -128,
        -129,
        -32_768,
        -32_769,
        -2_147_483_648,
        -2_147_483_649,
    ];
    let lengths = [0_usize, 31, 32, 255, 256, 65_535, 65_536];
    let texts = lengths.map(|length| "t".repeat(length));
    let value = json!([edges, below, i64::MAX, i64::MIN, u64::MAX, texts]);
    let told = as_msgpack(&message(payload(
        Encoding::Json,
        value.to_string().as_bytes(),
    )));
    assert!(told["data"] == value);

    for length in lengths {
        let bytes = vec![7; length];
        let frame = payload_of(
            Format::SparkMsgPack,
            &message(payload(Encoding::Binary, &bytes)),
        );
        // Whole, and the fields behind it are where a reader looks for them.
        let frame: std::collections::HashMap<String, Any> = rmp_serde::from_slice(&frame).unwrap();
        assert!(frame["data"].0 == bytes, "{length}");
        assert_eq!(frame.len(), 6);
    }
}

/// The bytes of a value that is bytes; anything else is passed over.
struct Any(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Any {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Any;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Any, E> {
                Ok(Any(bytes.to_vec()))
            }

            fn visit_str<E>(self, _text: &str) -> Result<Any, E> {
                Ok(Any(Vec::new()))
            }

            fn visit_u64<E>(self, _number: u64) -> Result<Any, E> {
                Ok(Any(Vec::new()))
            }
        }
        source.deserialize_any(Bytes)
    }
}
