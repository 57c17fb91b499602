//! What a payload may be, and how it is carried.

use sparkway_protocol::limits::PAYLOAD_DEPTH;
use sparkway_protocol::{Code, Encoding};

use super::{code_of, json, publish, publish_packed, published};

#[test]
fn json_payloads_travel_verbatim() {
    for data in [
        "null",
        "0",
        "-0",
        "1e400",
        "9007199254740993",
        "-9223372036854775808",
        "1.10",
        r#""\u00e9\ud83d\ude00""#,
        r#"{"a" : [1, 2],"a":3}"#,
        "\"\u{7f}\u{2028}\"",
    ] {
        assert_eq!(published(publish(data)).bytes, data, "{data}");
    }
    assert_eq!(
        published(json(r#"{"type":"topic:publish","topic":"t"}"#)).bytes,
        "null"
    );
}

#[test]
fn payloads_are_64_levels_deep_at_the_most() {
    let json_of = |levels| "[".repeat(levels) + "{}" + &"]".repeat(levels);
    assert!(publish(&json_of(PAYLOAD_DEPTH - 1)).is_ok());
    assert_eq!(code_of(publish(&json_of(PAYLOAD_DEPTH))), Code::Invalid);
    // Brackets inside a string are no levels, nor are many containers side by side.
    assert!(publish(&format!("[\"{}\",\"\\\"[\"]", "[".repeat(200))).is_ok());
    assert!(publish(&format!("[{}0]", "[{}],".repeat(200))).is_ok());
    let packed_of = |levels| [vec![0x91; levels], vec![0x80]].concat();
    assert!(publish_packed(&packed_of(PAYLOAD_DEPTH - 1)).is_ok());
    assert_eq!(
        code_of(publish_packed(&packed_of(PAYLOAD_DEPTH))),
        Code::Invalid
    );
}

#[test]
fn halves_of_surrogate_pairs_are_refused_in_payloads() {
    for bad in [
        r"\ud800",
        r"\udc00",
        r"\ud800x",
        r"\ud800\ud800",
        r"\ud800\n",
        r"\udfff\udbff",
    ] {
        let data = format!(r#"{{"{bad}":1}}"#);
        assert_eq!(
            code_of(publish(&format!("\"{bad}\""))),
            Code::Invalid,
            "{bad}"
        );
        assert_eq!(code_of(publish(&data)), Code::Invalid, "{bad}");
    }
    for good in [
        r"\ud800\udc00",
        r"\uDBFF\uDFFF",
        r"\\ud800",
        r"\u0000",
        r"\ud7ff\ue000",
    ] {
        assert!(publish(&format!("\"{good}\"")).is_ok(), "{good}");
    }
}

#[test]
fn msgpack_payloads_can_be_told_to_json_clients() {
    for (bad, why) in [
        (b"\xd4\x01\x00".as_slice(), "extension"),
        (b"\xd6\xff\x00\x00\x00\x00", "extension"), // a timestamp
        (b"\x81\x01\x02", "key"),
        (b"\x81\xc0\x02", "key"),
        (b"\x81\xa1\xff\x02", "UTF-8"),
        (b"\xa1\xff", "UTF-8"),
        (b"\x91\xa2\xc3\x28", "UTF-8"),
    ] {
        let refused = publish_packed(bad).unwrap_err();
        assert!(refused.message.starts_with("data: "), "{}", refused.message);
        assert!(refused.message.contains(why), "{}", refused.message);
        assert_eq!(refused.id.unwrap().as_str(), "f-7");
    }
    let binary = published(publish_packed(b"\xc4\x02\x00\xff"));
    assert_eq!(
        (binary.encoding, &*binary.bytes),
        (Encoding::Binary, [0, 255].as_slice())
    );
    let nested = published(publish_packed(b"\x91\xc4\x02\x00\xff"));
    assert_eq!(nested.encoding, Encoding::MsgPack);
    assert_eq!(&*nested.bytes, b"\x91\xc4\x02\x00\xff");
}

#[test]
fn payloads_never_share_the_read_buffer() {
    let frame = r#"{"type":"topic:publish","topic":"t","data":"0123456789"}"#.to_owned();
    let payload = published(json(&frame));
    let buffer = frame.as_bytes().as_ptr_range();
    assert!(!buffer.contains(&payload.bytes.as_ptr()));
    assert!(payload.bytes.is_unique());
}
