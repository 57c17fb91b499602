//! What is thrown at.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use secrecy::SecretString;
use sparkway_auth::{Algorithm, AuthSettings, Key, NewToken, Verifier, mint};
use sparkway_dialect::conversation::Conversation;
use sparkway_dialect::{Talk, Wire, WireKind, carries, encode};
use sparkway_protocol::{
    Command, Entry, Event, Format, MessageId, Partition, SessionId, TopicName, UserId,
};
use sparkway_session::{TokenKey, Tokens};
use sparkway_socket::{Inbound, Link, LinkEvent, LinkSettings, Outbox};
use sparkway_store::redis::resp::{Parsed, parse};
use tokio::io::AsyncWrite as _;

use crate::run::fuzz;

/// Messages of the frame targets may have so many bytes.
const MESSAGE_BYTES: usize = 300;

/// What the owner of a link sees of `bytes`, which arrive in pieces of `step`.
fn link(bytes: &[u8], step: usize, deflate: bool) -> Vec<String> {
    let (ours, mut peer) = tokio::io::duplex(bytes.len() + 1);
    let settings = LinkSettings {
        message_bytes: MESSAGE_BYTES,
        fragments: 5,
        deflate,
        ..LinkSettings::default()
    };
    let mut link = Link::new(ours, &[], &settings);
    let outbox = Outbox::new(1 << 20);
    let mut cx = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    for piece in bytes.chunks(step) {
        assert!(Pin::new(&mut peer).poll_write(&mut cx, piece).is_ready());
        // A turn may end before everything is read.
        let mut idle = 0;
        while idle < 3 {
            match link.poll(&mut cx, &outbox, true) {
                Poll::Ready(LinkEvent::Frame(inbound)) => {
                    idle = 0;
                    seen.push(match inbound {
                        Inbound::Text(text) => {
                            assert!(text.len() <= MESSAGE_BYTES);
                            text.as_str().to_owned()
                        }
                        Inbound::Binary(bytes) => {
                            assert!(bytes.len() <= MESSAGE_BYTES);
                            format!("{bytes:?}")
                        }
                        Inbound::Ping => "ping".to_owned(),
                        Inbound::Pong => "pong".to_owned(),
                    });
                }
                Poll::Ready(LinkEvent::Closed(closed)) => {
                    seen.push(format!("{closed:?}"));
                    return seen;
                }
                Poll::Ready(LinkEvent::Woken | LinkEvent::Drained) => {}
                Poll::Pending => idle += 1,
            }
        }
    }
    seen
}

fn links(bytes: &[u8], deflate: bool) -> String {
    let whole = link(bytes, bytes.len().max(1), deflate);
    let step = 1 + bytes.len() % 7;
    let cut = link(bytes, step, deflate);
    // Which of two faults is met first may depend on the cut, what came before may not.
    let is_close = |event: &&String| event.starts_with("Violation");
    let without = |events: &[String]| -> Vec<String> {
        events
            .iter()
            .filter(|event| !is_close(event))
            .cloned()
            .collect()
    };
    assert_eq!(without(&whole), without(&cut), "in steps of {step}");
    let last = whole.last().cloned().unwrap_or_default();
    format!(
        "{} {}",
        whole.len(),
        if is_close(&&last) {
            last
        } else {
            String::new()
        }
    )
}

const FRAMES: &[&[u8]] = &[
    b"\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e",
    b"\x01\x83\x00\x00\x00\x00abc\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00d",
    b"\x82\xfe\x00\x80\x00\x00\x00\x00",
    b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    b"\x82\xff\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00",
    // More fragments than allowed, and a ping behind them.
    b"\x01\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\
      \x00\x80\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x89\x80\x00\x00\x00\x00",
    // Deflated: "Hello" (RFC 7692, 7.2.3.1), and the same in two frames.
    b"\xc1\x87\x00\x00\x00\x00\xf2\x48\xcd\xc9\xc9\x07\x00",
    b"\x41\x83\x00\x00\x00\x00\xf2\x48\xcd\x80\x84\x00\x00\x00\x00\xc9\xc9\x07\x00",
    b"\xc1\x88\x00\x00\x00\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
    b"\xc1\x8b\x00\x00\x00\x00\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
];

#[test]
fn frames() {
    fuzz("frames", FRAMES, &[b"\x88\x80", b"\x00\x80"], |bytes| {
        links(bytes, false)
    });
}

#[test]
fn deflated_frames() {
    let words: &[&[u8]] = &[
        b"\xc1",
        b"\x41",
        b"\x00\x00\xff\xff",
        b"\xf2\x48\xcd\xc9\xc9\x07\x00",
    ];
    fuzz("deflated_frames", FRAMES, words, |bytes| links(bytes, true));
}

const JSON: &[&[u8]] = &[
    br#"{"type":"ws:connect","id":"1","data":{"token":"a.b.c"}}"#,
    br#"{"type":"ws:resume","data":{"session_id":"6f1c8b7e-0000-8000-8000-000000000000","heartbeat_token":"t","last_message_id":["12","13"]}}"#,
    br#"{"type":"topic:subscribe","id":"s","data":{"topics":["a","b:c"],"since":"16","presence":true}}"#,
    br#"{"type":"topic:publish","id":"p","topic":"t","data":{"a":[1,2.5,"\u00e9",null,true]},"ephemeral":true}"#,
    br#"{"type":"topic:history","data":{"topic":"t","after":"1","limit":5,"reverse":true}}"#,
    br#"{"type":"ws:ack","data":{"ackId":"16"}}"#,
    br#"{"type":"rpc:call","id":"r","data":{"method":"m","params":[]}}"#,
    br#"{"type":"init","protocolVersion":1,"clientId":"c","conversationId":"x"}"#,
    br#"{"type":"message","messageId":"m1","content":"hello","timestamp":"2026-01-01T00:00:00.000Z"}"#,
    br#"{"action":"subscribe","topics":["a"]}"#,
    br#"{"event":"publish","topic":"t","payload":{"a":1}}"#,
    br#"{"type":"auth","token":"t"}"#,
    br#"{"to":"bob","content":"hi","type":"chat"}"#,
];
const JSON_WORDS: &[&[u8]] = &[
    b"\"",
    b"\\u",
    b"\\ud800",
    b"[",
    b"{",
    b"]",
    b"}",
    b":",
    b",",
    b"null",
    b"1e400",
    b"-0",
    b"\xef\xbb\xbf",
    b"\"type\"",
    b"\"id\"",
    b"\"data\"",
    b"\"topic\"",
    b"ws:",
    b"topic:",
    b"$user:",
    b"\xff",
    b"NaN",
];
const MSGPACK: &[&[u8]] = &[
    b"\x81\xa4type\xaaws:connect",
    b"\x83\xa4type\xadtopic:publish\xa5topic\xa1t\xa4data\x93\x01\xc4\x02\x00\xff\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
    b"\x82\xa4type\xaftopic:subscribe\xa4data\x81\xa6topics\x92\xa1a\xa1b",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x00\x00\x00\x01\xa4type\xc0",
];
const MSGPACK_WORDS: &[&[u8]] = &[
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\x7f\xff\xff\xff",
    b"\x91",
    b"\x81",
    b"\xc1",
    b"\xd4\x01\x00",
    b"\xa4type",
    b"\xa4data",
    b"\xc0",
];

/// Reads a client's message. What is accepted for publishing must be writable in every format.
fn dialect(format: Format, talk: fn() -> Talk, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let wire = match carries(format) {
        WireKind::Text => Wire::Text(&text),
        WireKind::Binary => Wire::Binary(bytes),
    };
    match talk().decode(format, wire) {
        Ok(Command::Publish { topic, payload, .. }) => {
            let entry = std::sync::Arc::new(Entry {
                id: MessageId::new(16).unwrap(),
                prev: MessageId::ZERO,
                topic,
                from: None,
                origin: None,
                exclude_origin: false,
                payload,
                trace: None,
            });
            for format in Format::ALL {
                let _ = encode(format, &Event::Message(std::sync::Arc::clone(&entry)));
            }
            format!("publish {:?}", entry.payload.encoding)
        }
        Ok(command) => {
            let name = format!("{command:?}");
            name.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
        Err(refused) => format!(
            "{:?} {}",
            refused.code,
            refused.message.get(..12).unwrap_or_default()
        ),
    }
}

fn room_talk() -> Talk {
    Talk::Room(TopicName::parse("room:r").unwrap())
}

fn conversation_talk() -> Talk {
    Talk::Conversation(Conversation::default())
}

macro_rules! dialects {
    ($($name:ident: $format:expr, $talk:expr, $corpus:expr, $words:expr;)*) => {$(
        #[test]
        fn $name() {
            fuzz(stringify!($name), $corpus, $words, |bytes| dialect($format, $talk, bytes));
        }
    )*};
}

dialects! {
    spark_json: Format::SparkJson, Talk::default, JSON, JSON_WORDS;
    spark_msgpack: Format::SparkMsgPack, Talk::default, MSGPACK, MSGPACK_WORDS;
    topics: Format::Topics, Talk::default, JSON, JSON_WORDS;
    room: Format::Room, room_talk, JSON, JSON_WORDS;
    conversation: Format::Conversation, conversation_talk, JSON, JSON_WORDS;
    chat: Format::Chat, Talk::default, JSON, JSON_WORDS;
}

const NOW_S: u64 = 1_800_000_000;

#[test]
fn tokens() {
    let secret = "0123456789abcdef0123456789abcdef0123456789abcdef";
    let settings = AuthSettings {
        keys: vec![Key::new(Algorithm::Hs256, secret)],
        ..AuthSettings::default()
    };
    let verifier = Verifier::new(settings).unwrap();
    let user = UserId::parse("ada").unwrap();
    let new = NewToken::new(user, NOW_S - 10).lasting(3600);
    let genuine = mint(&new, &SecretString::from(secret)).unwrap();
    assert!(verifier.verify(&genuine, NOW_S).is_ok());
    let (head, _) = genuine.split_once('.').unwrap();
    let words: &[&[u8]] = &[
        b".",
        b"=",
        b"eyJhbGciOiJub25lIn0",
        head.as_bytes(),
        b"\n",
        b"-",
        b"_",
    ];
    fuzz(
        "tokens",
        &[genuine.as_bytes(), b"eyJhbGciOiJub25lIn0.e30."],
        words,
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            match verifier.verify(&text, NOW_S) {
                Ok(_) => {
                    assert_eq!(text, genuine, "another token was let in");
                    "genuine".to_owned()
                }
                Err(error) => format!("{error:?}"),
            }
        },
    );
}

#[test]
fn heartbeat_tokens() {
    let tokens = Tokens::new(vec![TokenKey {
        id: 1,
        secret: [7; 32],
    }]);
    let session = SessionId::from_random([9; 16], Partition::default());
    let genuine = tokens.make(session, None, 5);
    fuzz(
        "heartbeat_tokens",
        &[genuine.as_bytes()],
        &[b"=", b"-", b"_", b"A"],
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let generation = tokens.check(session, None, &text);
            assert!(
                generation.is_none() || *text == *genuine,
                "another token is genuine: {text}"
            );
            format!("{generation:?}")
        },
    );
}

#[test]
fn names() {
    let corpus: &[&[u8]] = &[
        b"room:1",
        b"$user:ada",
        b"1234567890",
        b"6f1c8b7e-0000-8000-8000-000000000000",
        "é:ü".as_bytes(),
    ];
    let words: &[&[u8]] = &[
        b"}{",
        b"*",
        b"\n",
        b"\0",
        b" ",
        b"$",
        b":",
        b"\xe2\x80\x8b",
        b"-",
        b"9007199254740993",
    ];
    fuzz("names", corpus, words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let topic = TopicName::parse(&text);
        if let Ok(topic) = &topic {
            assert_eq!(topic.as_str(), text);
            assert!(
                text.len() <= 255
                    && !text
                        .chars()
                        .any(|symbol| symbol.is_control() || symbol.is_whitespace())
            );
        }
        let id = MessageId::parse(&text);
        if let Some(id) = id {
            assert!(id.get() < 1 << 53);
            assert_eq!(MessageId::parse(&id.get().to_string()), Some(id));
        }
        let session = SessionId::parse(&text);
        if let Some(session) = session {
            assert_eq!(SessionId::parse(&session.to_string()), Some(session));
        }
        format!("{} {} {}", topic.is_ok(), id.is_some(), session.is_some())
    });
}

#[test]
fn resp() {
    let corpus: &[&[u8]] = &[
        b">3\r\n$7\r\nmessage\r\n$4\r\nchan\r\n$5\r\nhello\r\n",
        b">3\r\n+subscribe\r\n$4\r\nchan\r\n:1\r\n",
        b"*2\r\n$-1\r\n_\r\n",
        b"%1\r\n+a\r\n,1.5\r\n",
        b"-ERR no\r\n",
        b"=7\r\ntxt:abc\r\n",
        b"#t\r\n(123\r\n",
    ];
    let words: &[&[u8]] = &[
        b"\r\n",
        b"*",
        b">",
        b"$",
        b"-1",
        b"*1048577\r\n",
        b"$67108865\r\n",
        b"*1\r\n*1\r\n*1\r\n",
    ];
    fuzz("resp", corpus, words, |bytes| match parse(bytes) {
        Ok(Parsed::Value(value, taken)) => {
            assert!(taken <= bytes.len());
            for cut in 0..taken {
                let less = parse(&bytes[..cut]);
                assert!(
                    matches!(less, Ok(Parsed::Incomplete { at_least }) if at_least > cut),
                    "{less:?} of {cut}"
                );
            }
            let kind = format!("{value:?}");
            kind.split('(').next().unwrap_or_default().to_owned()
        }
        Ok(Parsed::Incomplete { at_least }) => {
            assert!(at_least > bytes.len());
            "incomplete".to_owned()
        }
        Err(error) => error.to_string(),
    });
}
