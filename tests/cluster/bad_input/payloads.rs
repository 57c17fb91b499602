//! Messages that are whole, and wrong inside.

use serde_json::{Value, json};
use sparkway_client::{Encoding, Incoming, RawMessage};

use crate::harness::SOON;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, close_frame, last_words, whole};

/// The next answer, and its code.
async fn refusal(peer: &mut Peer, what: &str) -> Value {
    let incoming = tokio::time::timeout(SOON, peer.wire.next()).await;
    let Ok(Incoming::Frame(frame)) = incoming else {
        panic!("{what}: {incoming:?}")
    };
    let answer = whole(&frame);
    assert_eq!(answer["type"], "ws:error", "{what}: {answer}");
    assert_eq!(answer["data"]["retryable"], false, "{what}");
    let message = answer["data"]["message"].as_str().expect("a message");
    assert!(
        !message.is_empty() && message.len() < 200,
        "{what}: {message}"
    );
    assert!(!message.contains(".rs:"), "{what}: {message}");
    answer
}

/// Messages that are refused with the same code, for the same field.
struct Group<'a> {
    code: &'static str,
    /// Stands in the text of the refusal.
    field: &'static str,
    /// What is wrong, and the message.
    cases: &'a [(&'a str, &'a [u8])],
}

/// Sends each message on one connection, which stays, and its subscription with it.
async fn check(encoding: Encoding, groups: &[Group<'_>]) {
    let cluster = Cluster::memory(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let mut peer = Peer::connect(cluster.first(), encoding).await;
    peer.subscribe(&["alive"]).await;
    for Group { code, field, cases } in groups {
        for (what, bytes) in *cases {
            let raw = match encoding {
                Encoding::Json => RawMessage::text(String::from_utf8(bytes.to_vec()).unwrap()),
                Encoding::MsgPack => RawMessage::binary(bytes.to_vec()),
            };
            peer.wire.send_raw(raw).await.unwrap();
            let answer = refusal(&mut peer, what).await;
            assert_eq!(answer["data"]["code"], *code, "{what}: {answer}");
            let message = answer["data"]["message"].as_str().unwrap();
            assert!(message.contains(field), "{what}: {message}");
        }
    }
    let id = peer.publish("alive", json!(1)).await;
    assert_eq!(peer.message().await["id"], json!(id));
    bystander.noticed_nothing().await;
}

/// A publish with this payload, as JSON text.
fn publish(payload: &str) -> String {
    format!(r#"{{"type":"topic:publish","topic":"t","data":{payload}}}"#)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn text_that_is_no_frame_is_malformed_and_the_connection_stays() {
    let utf_16: String = "{\"type\":\"ws:ping\"}"
        .chars()
        .flat_map(|c| [c, '\0'])
        .collect();
    let no_frames: [(&str, &[u8]); 16] = [
        ("nothing", b""),
        ("space", b"  \n"),
        ("word", b"hello"),
        ("string", b"\"ws:ping\""),
        ("number", b"1e400"),
        ("array", b"[]"),
        ("two frames", br#"{"type":"ws:ping"}{"type":"ws:ping"}"#),
        ("text behind", br#"{"type":"ws:ping"} x"#),
        ("cut short", br#"{"type":"ws:ping""#),
        ("comma behind", br#"{"type":"ws:ping",}"#),
        ("single quotes", b"{'type':'ws:ping'}"),
        ("byte order mark", b"\xef\xbb\xbf{\"type\":\"ws:ping\"}"),
        ("UTF-16", utf_16.as_bytes()),
        ("control character", b"{\"type\":\"ws:\x01ping\"}"),
        ("NaN", br#"{"type":"ws:ping","x":NaN}"#),
        ("Infinity", br#"{"type":"ws:ping","x":-Infinity}"#),
    ];
    let bad_types: [(&str, &[u8]); 4] = [
        ("no type", b"{}"),
        ("type is null", br#"{"type":null}"#),
        ("type is a number", br#"{"type":7}"#),
        ("type twice", br#"{"type":"ws:ping","type":"ws:ping"}"#),
    ];
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(60_000));
    let unknown_types: [(&str, &[u8]); 4] = [
        ("empty type", br#"{"type":""}"#),
        ("unknown type", br#"{"type":"ws:conect"}"#),
        ("type in capitals", br#"{"type":"WS:PING"}"#),
        ("long type", long.as_bytes()),
    ];
    let id_twice: [(&str, &[u8]); 1] = [("id twice", br#"{"type":"ws:ping","id":"a","id":"b"}"#)];
    check(
        Encoding::Json,
        &[
            Group {
                code: "malformed",
                field: "frame",
                cases: &no_frames,
            },
            Group {
                code: "malformed",
                field: "type",
                cases: &bad_types,
            },
            Group {
                code: "malformed",
                field: "id",
                cases: &id_twice,
            },
            Group {
                code: "unknown_type",
                field: "type",
                cases: &unknown_types,
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn an_id_or_a_topic_that_breaks_its_rule_is_invalid_and_named() {
    let id = |id: &str| format!(r#"{{"type":"ws:ping","id":{id}}}"#);
    let topic = |topic: &str| format!(r#"{{"type":"topic:publish","topic":{topic}}}"#);
    let bad_ids = [
        ("id is a number", id("7")),
        ("id is an object", id("{}")),
        ("empty id", id("\"\"")),
        ("id of 65 bytes", id(&format!("\"{}\"", "x".repeat(65)))),
        (
            "id of 65 bytes in 33 characters",
            id(&format!("\"x{}\"", "ü".repeat(32))),
        ),
    ];
    let bad_topics = [
        (
            "no topic",
            r#"{"type":"topic:publish","data":1}"#.to_owned(),
        ),
        ("topic is a number", topic("1")),
        ("topic is a list", topic("[\"t\"]")),
        ("NUL in a topic", topic("\"a\\u0000b\"")),
        ("line end in a topic", topic("\"a\\nb\"")),
        ("lone surrogate in a topic", topic("\"\\ud800\"")),
        (
            "topic of 256 bytes",
            topic(&format!("\"{}\"", "x".repeat(256))),
        ),
    ];
    check_json(&[("id", &bad_ids), ("topic", &bad_topics)]).await;
}

#[tokio::test]
async fn fields_of_the_wrong_kind_are_invalid_and_named() {
    let objects = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    let bad_payloads = [
        ("payload 65 deep", publish(&nested(65))),
        ("payload 30,000 deep", publish(&nested(30_000))),
        ("payload of 65 objects", publish(&objects)),
        ("lone surrogate in a payload", publish("\"\\udc00\"")),
        (
            "data is no object",
            r#"{"type":"topic:subscribe","data":[]}"#.to_owned(),
        ),
    ];
    let field = |field: &str| publish(&format!("1,{field}"));
    let ephemeral = [("ephemeral is a word", field(r#""ephemeral":"yes""#))];
    let durability = [("durability is unknown", field(r#""durability":"eternal""#))];
    let exclude_self = [("exclude_self is a number", field(r#""exclude_self":1"#))];
    check_json(&[
        ("data", &bad_payloads),
        ("ephemeral", &ephemeral),
        ("durability", &durability),
        ("exclude_self", &exclude_self),
    ])
    .await;
}

/// Checks frames that are `invalid`, by the field that the refusal names.
async fn check_json(groups: &[(&'static str, &[(&str, String)])]) {
    for (field, cases) in groups {
        let cases: Vec<(&str, &[u8])> = cases
            .iter()
            .map(|(what, text)| (*what, text.as_bytes()))
            .collect();
        check(
            Encoding::Json,
            &[Group {
                code: "invalid",
                field,
                cases: &cases,
            }],
        )
        .await;
    }
}

#[tokio::test]
async fn the_refusal_carries_the_id_where_one_could_be_read() {
    let cluster = Cluster::memory(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    for text in [
        r#"{"id":"x","type":"topic:publish"}"#,
        r#"{"type":"no:such","id":"x"}"#,
        r#"{"id":"x"}"#,
        r#"{"id":"x","type":"ws:ping","type":"ws:ping"}"#,
    ] {
        peer.wire.send_text(text).await.unwrap();
        assert_eq!(
            refusal(&mut peer, text).await["data"]["ackId"],
            "x",
            "{text}"
        );
    }
    peer.wire
        .send_text(r#"{"id":7,"type":"ws:ping"}"#)
        .await
        .unwrap();
    assert_eq!(
        refusal(&mut peer, "bad id").await["data"].get("ackId"),
        None
    );
}

#[tokio::test]
async fn what_looks_odd_and_is_allowed_passes_unchanged() {
    let cluster = Cluster::memory(&[]).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["t"]).await;
    let deep = nested(64);
    let many: Vec<String> = (0..5000).map(|at| format!("\"k{at}\":{at}")).collect();
    let payloads = [
        deep,
        format!("{{{}}}", many.join(",")),
        "\"\\ud83d\\ude00\"".to_owned(),
        r#"{"a":1,"a":2}"#.to_owned(),
        "-0.0".to_owned(),
        "\"\\u0000\"".to_owned(),
    ];
    for payload in payloads {
        peer.wire.send_text(publish(&payload)).await.unwrap();
        let incoming = tokio::time::timeout(SOON, peer.wire.next()).await.unwrap();
        let Incoming::Frame(frame) = incoming else {
            panic!("{incoming:?}")
        };
        assert_eq!(frame.data_text(), payload);
    }
    // Depth beside the payload is nobody's but the sender's.
    let deep = format!(r#"{{"type":"ws:ping","id":"d","x":{}}}"#, nested(30_000));
    peer.wire.send_text(deep).await.unwrap();
    assert_eq!(peer.answer("d").await["type"], "ws:ack");
    // White space around a frame, and fields in any order.
    peer.wire
        .send_text(" \r\n\t{ \"id\" : \"w\" , \"type\" : \"ws:ping\" } \n")
        .await
        .unwrap();
    assert_eq!(peer.answer("w").await["type"], "ws:ack");
}

fn packed(value: &Value) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

/// A publish whose payload is given in bytes.
fn packed_publish(payload: &[u8]) -> Vec<u8> {
    let mut bytes = packed(&json!({"type": "topic:publish", "topic": "t"}));
    assert_eq!(bytes[0], 0x82);
    bytes[0] = 0x83;
    bytes.extend(b"\xa4data");
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn messagepack_that_lies_is_malformed_and_allocates_nothing() {
    let with_tail = [packed(&json!({"type": "ws:ping"})), vec![0xc0]].concat();
    let array = packed_publish(b"\xdd\xff\xff\xff\xff");
    let map = packed_publish(b"\xdf\xff\xff\xff\xff");
    let bin = packed_publish(b"\xc6\xff\xff\xff\xff");
    let text = packed_publish(b"\xdb\xff\xff\xff\xff");
    let no_frames: [(&str, &[u8]); 13] = [
        ("nothing", b""),
        ("nil", b"\xc0"),
        ("array", b"\x90"),
        ("string", b"\xa1x"),
        ("never used byte", b"\xc1"),
        ("cut short", b"\x81\xa4ty"),
        ("map of 2^32 - 1", b"\xdf\xff\xff\xff\xff"),
        ("array of 2^32 - 1", b"\xdd\xff\xff\xff\xff"),
        ("bytes behind", &with_tail),
        ("payload: array of 2^32 - 1", &array),
        ("payload: map of 2^32 - 1", &map),
        ("payload: 2^32 - 1 bytes", &bin),
        ("payload: string of 2^32 - 1", &text),
    ];
    let mut twice = packed(&json!({"type": "ws:ping"}));
    twice[0] = 0x82;
    twice.extend(b"\xa4type\xa7ws:ping");
    let bad_types: [(&str, &[u8]); 2] = [("no type", b"\x80"), ("type twice", &twice)];
    let unknown = packed(&json!({"type": "x"}));
    let unknown: [(&str, &[u8]); 1] = [("unknown type", &unknown)];
    check(
        Encoding::MsgPack,
        &[
            Group {
                code: "malformed",
                field: "frame",
                cases: &no_frames,
            },
            Group {
                code: "malformed",
                field: "type",
                cases: &bad_types,
            },
            Group {
                code: "unknown_type",
                field: "type",
                cases: &unknown,
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn messagepack_that_cannot_be_told_to_json_is_invalid() {
    let payloads: [(&str, &[u8]); 5] = [
        ("timestamp", b"\xd6\xff\0\0\0\0"),
        ("extension", b"\xd4\x05\0"),
        ("number as a key", b"\x81\x01\x02"),
        ("nil as a key", b"\x81\xc0\x02"),
        ("text that is not UTF-8", b"\xa1\xff"),
    ];
    let deep = [65, 30_000].map(|depth| [vec![0x91; depth], vec![0xc0]].concat());
    let mut frames: Vec<(&str, Vec<u8>)> = payloads
        .iter()
        .map(|(what, payload)| (*what, packed_publish(payload)))
        .collect();
    frames.extend(
        deep.iter()
            .map(|payload| ("too deep", packed_publish(payload))),
    );
    let payloads: Vec<(&str, &[u8])> = frames
        .iter()
        .map(|(what, frame)| (*what, frame.as_slice()))
        .collect();
    let long_id = packed(&json!({"type": "ws:ping", "id": "x".repeat(65)}));
    let ids: [(&str, &[u8]); 1] = [("id of 65 bytes", &long_id)];
    let topics: [(&str, &[u8]); 1] = [(
        "topic is bin",
        b"\x82\xa4type\xadtopic:publish\xa5topic\xc4\x01t",
    )];
    check(
        Encoding::MsgPack,
        &[
            Group {
                code: "invalid",
                field: "data",
                cases: &payloads,
            },
            Group {
                code: "invalid",
                field: "id",
                cases: &ids,
            },
            Group {
                code: "invalid",
                field: "topic",
                cases: &topics,
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn too_many_frames_are_refused_and_a_flood_is_closed_4100() {
    let settings = [
        ("limits.frames_per_second", "10"),
        ("limits.frames_burst", "20"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let bystander_topic = "still-here";
    let mut other = Peer::connect(cluster.first(), Encoding::Json).await;
    other.subscribe(&[bystander_topic]).await;
    for malformed in [false, true] {
        let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
        let frame = if malformed {
            "nonsense"
        } else {
            r#"{"type":"ws:ping","id":"p"}"#
        };
        for _ in 0..400 {
            // Closed before the end of it.
            if peer.wire.send_text(frame).await.is_err() {
                break;
            }
        }
        let (frames, closed) = last_words(&mut peer.wire).await;
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (Some(4100), "rate_limited")
        );
        assert_eq!(
            frames.last(),
            Some(&close_frame(4100, "rate_limited", true))
        );
        let refused: Vec<&Value> = frames
            .iter()
            .filter(|frame| frame["data"]["code"] == "rate_limited")
            .collect();
        assert_eq!(refused.len(), 200, "refused in a row");
        let after = refused[0]["data"]["retry_after"]
            .as_u64()
            .expect("when to come again");
        assert!((1..=200).contains(&after), "{after}");
        assert_eq!(refused[0]["data"]["retryable"], true);
        let served = frames.len() - refused.len() - 1;
        assert!((19..40).contains(&served), "{served} were served");
        // The session itself is not lost.
        let again = Peer::resume(cluster.first(), Encoding::Json, &peer.ticket).await;
        assert_eq!(again.ticket.session, peer.ticket.session);
    }
    let id = other.publish(bystander_topic, json!(1)).await;
    assert_eq!(other.message().await["id"], json!(id));
}

#[tokio::test]
async fn acks_are_cheap_and_do_not_use_up_the_rate() {
    let settings = [
        ("limits.frames_per_second", "1"),
        ("limits.frames_burst", "20"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    for _ in 0..200 {
        let ack = json!({"type": "ws:ack", "data": {"ackId": "c1"}});
        peer.wire.send(&ack).await.unwrap();
    }
    peer.hears_nothing().await;
}

/// Who leaves in the middle of a connect or a resume leaves no session behind for ever.
#[tokio::test]
async fn who_leaves_during_connect_or_resume_leaves_nothing_behind() {
    let cluster = Cluster::redis(&[("session.resume_window", "1s")]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let mut tickets = Vec::new();
    for _ in 0..30 {
        tickets.push(Peer::connect(cluster.second(), Encoding::Json).await.cut());
    }
    for ticket in tickets {
        for frame in [
            json!({"type": "ws:connect"}),
            json!({"type": "ws:resume", "data": ticket.data()}),
        ] {
            let mut wire = crate::harness::peer::open(cluster.first(), Encoding::Json).await;
            wire.send(&frame).await.unwrap();
            wire.cut();
        }
    }
    let redis = cluster.redis.as_ref().unwrap();
    // Only the bystander's is left, once the sweeper has been there.
    crate::harness::until_true("no session is left behind", SOON, || {
        let keys = redis.cli(&["--scan", "--pattern", "*sess:*"]);
        keys.lines().filter(|line| !line.is_empty()).count() == 1
    })
    .await;
    bystander.noticed_nothing().await;
}
