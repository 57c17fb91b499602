//! One example of every event and outcome; transcripts refer to them by name.

use std::sync::Arc;

use bytes::Bytes;
use sparkway_protocol::event::{Rejected, ResumeFailure, Subscribed, Welcome};
use sparkway_protocol::{
    CloseReason, Code, Encoding, Entry, Ephemeral, Event, FrameId, Gap, GapReason, MessageId,
    NodeId, Outcome, Partition, Payload, PresenceChange, Refused, SessionId, TopicName,
    TraceContext, UserId,
};

pub(crate) fn id(raw: u64) -> MessageId {
    MessageId::new(raw).unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn frame(name: &str) -> FrameId {
    FrameId::parse(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn payload(encoding: Encoding, bytes: &[u8]) -> Payload {
    Payload {
        encoding,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

pub(crate) fn entry(raw: u64, payload: Payload) -> Entry {
    Entry {
        id: id(raw),
        prev: MessageId::ZERO,
        topic: topic("gift-list:123"),
        from: Some(user("ada")),
        origin: None,
        exclude_origin: false,
        trace: None,
        payload,
    }
}

pub(crate) fn message(payload: Payload) -> Event {
    Event::Message(Arc::new(entry(241_663_180_800_016, payload)))
}

fn json_entry() -> Entry {
    entry(
        241_663_180_800_016,
        payload(Encoding::Json, br#"{"big":9007199254740993,"list":[1,2]}"#),
    )
}

fn welcome(positions: &[u64]) -> Welcome {
    Welcome {
        session: SessionId::from_random([0x5a; 16], Partition::new(3).unwrap()),
        heartbeat_token: "hb-1".into(),
        heartbeat_interval_ms: 30_000,
        positions: positions.iter().map(|&raw| id(raw)).collect(),
        node: NodeId::parse("node-a").unwrap(),
        resume_window_ms: 120_000,
        max_message_bytes: 65_536,
        user: Some(user("ada")),
    }
}

fn gap() -> Gap {
    Gap {
        topic: topic("gift-list:123"),
        reason: GapReason::Trimmed,
        after: id(16),
        before: id(4096),
    }
}

fn acked(outcome: Outcome) -> Event {
    Event::Acked {
        id: frame("f-7"),
        outcome,
    }
}

fn bare_welcome() -> Welcome {
    let mut bare = welcome(&[]);
    bare.user = None;
    bare
}

fn beginnings() -> Vec<(&'static str, Event)> {
    vec![
        (
            "connected",
            Event::Connected {
                id: Some(frame("f-1")),
                welcome: Box::new(welcome(&[241_663_180_800_000])),
            },
        ),
        (
            "connected without id, user or messages",
            Event::Connected {
                id: None,
                welcome: Box::new(bare_welcome()),
            },
        ),
        (
            "resumed",
            Event::Resumed {
                id: Some(frame("f-2")),
                control: "c1".into(),
                welcome: Box::new(welcome(&[241_663_180_800_000, 241_663_180_800_033])),
                replay_count: 2,
                gaps: vec![gap()],
                dropped_topics: vec![topic("secret")],
            },
        ),
        (
            "resumed with nothing missed",
            Event::Resumed {
                id: None,
                control: "c2".into(),
                welcome: Box::new(bare_welcome()),
                replay_count: 0,
                gaps: vec![],
                dropped_topics: vec![],
            },
        ),
        ("replay done", Event::ReplayDone { replayed: 2 }),
    ]
}

fn failures_and_farewells() -> Vec<(&'static str, Event)> {
    vec![
        (
            "not resumable",
            Event::ResumeFailed {
                id: Some(frame("f-2")),
                reason: ResumeFailure::NotResumable,
            },
        ),
        (
            "bad message id",
            Event::ResumeFailed {
                id: None,
                reason: ResumeFailure::BadMessageId,
            },
        ),
        (
            "store away",
            Event::ResumeFailed {
                id: None,
                reason: ResumeFailure::Unavailable,
            },
        ),
        (
            "ping",
            Event::Ping {
                control: "c9".into(),
            },
        ),
        (
            "drain",
            Event::Drain {
                reconnect_after_ms: 750,
            },
        ),
        (
            "superseded",
            Event::Closing {
                reason: CloseReason::Superseded,
                resume: false,
                retry_after_ms: None,
            },
        ),
        (
            "heartbeat timeout",
            Event::Closing {
                reason: CloseReason::HeartbeatTimeout,
                resume: true,
                retry_after_ms: Some(1000),
            },
        ),
    ]
}

fn heartbeats() -> Vec<(&'static str, Event)> {
    let heartbeat = |id: Option<&str>, control: Option<&str>, token: Option<&str>, interval| {
        Event::HeartbeatAck {
            id: id.map(frame),
            control: control.map(Into::into),
            updated_token: token.map(Into::into),
            updated_interval_ms: interval,
        }
    };
    vec![
        ("heartbeat seen", heartbeat(None, None, None, None)),
        (
            "heartbeat answered",
            heartbeat(Some("f-3"), None, None, None),
        ),
        ("new token", heartbeat(None, Some("c3"), Some("hb-2"), None)),
        (
            "new interval",
            heartbeat(Some("f-3"), Some("c4"), None, Some(60_000)),
        ),
        (
            "new token and interval",
            heartbeat(None, Some("c5"), Some("hb-3"), Some(45_000)),
        ),
    ]
}

fn outcomes() -> Vec<(&'static str, Event)> {
    let published = |id, duplicate| acked(Outcome::Published { id, duplicate });
    vec![
        ("done", acked(Outcome::Done)),
        ("published", published(Some(id(241_663_180_800_016)), false)),
        (
            "published before",
            published(Some(id(241_663_180_800_016)), true),
        ),
        ("announced", published(None, false)),
        (
            "subscribed",
            acked(Outcome::Subscribed {
                topics: vec![
                    Subscribed {
                        topic: topic("gift-list:123"),
                        position: id(241_663_180_800_016),
                        recovered: true,
                    },
                    Subscribed {
                        topic: topic("__proto__"),
                        position: MessageId::ZERO,
                        recovered: false,
                    },
                ],
                rejected: vec![Rejected {
                    topic: "white space\n".into(),
                    code: Code::Invalid,
                }],
            }),
        ),
        (
            "unsubscribed",
            acked(Outcome::Unsubscribed {
                topics: vec!["gift-list:123".into(), "never \"there\"".into()],
            }),
        ),
    ]
}

fn readings() -> Vec<(&'static str, Event)> {
    vec![
        (
            "refreshed",
            acked(Outcome::Refreshed {
                expires_at_ms: Some(1_795_000_000_000),
                dropped_topics: vec![topic("secret")],
            }),
        ),
        (
            "refreshed for ever",
            acked(Outcome::Refreshed {
                expires_at_ms: None,
                dropped_topics: vec![],
            }),
        ),
        (
            "history",
            acked(Outcome::History {
                messages: vec![
                    Arc::new(json_entry()),
                    Arc::new(entry(
                        241_663_180_800_032,
                        payload(Encoding::Binary, &[0, 255]),
                    )),
                ],
                complete: true,
            }),
        ),
        (
            "presence",
            acked(Outcome::Presence {
                users: vec![user("ada"), user("bob")],
                count: 1200,
                truncated: true,
            }),
        ),
        (
            "called",
            acked(Outcome::Called {
                result: payload(Encoding::Json, br#"{"price":12.50}"#),
            }),
        ),
        (
            "called for bytes",
            acked(Outcome::Called {
                result: payload(Encoding::Binary, b"\x00\x01"),
            }),
        ),
    ]
}

fn refusals() -> Vec<(&'static str, Event)> {
    let mut busy =
        Refused::new(Code::Unavailable, "the store does not answer").answering(Some(frame("f-7")));
    busy.retry_after_ms = Some(500);
    vec![
        ("refused for now", Event::Refused(busy)),
        (
            "refused without id",
            Event::Refused(Refused::new(Code::Malformed, "frame: not a JSON object")),
        ),
    ]
}

fn messages() -> Vec<(&'static str, Event)> {
    let mut anonymous = json_entry();
    anonymous.from = None;
    let mut traced = json_entry();
    traced.trace = TraceContext::new([0xab; 16], [0xcd; 8], true).map(Box::new);
    // {"n": -1, "f": 1.5, "inf": infinity, "bin": bytes 1 2 3, "big": 2^64 - 1}
    let packed = b"\x85\xa1n\xff\xa1f\xcb\x3f\xf8\0\0\0\0\0\0\xa3inf\xca\x7f\x80\0\0\
        \xa3bin\xc4\x03\x01\x02\x03\xa3big\xcf\xff\xff\xff\xff\xff\xff\xff\xff";
    vec![
        ("message", Event::Message(Arc::new(json_entry()))),
        ("message of nobody", Event::Message(Arc::new(anonymous))),
        ("message of a trace", Event::Message(Arc::new(traced))),
        (
            "message of bytes",
            message(payload(Encoding::Binary, &[0, 1, 254, 255])),
        ),
        (
            "message of text",
            message(payload(Encoding::Text, "say \"hi\"\n\u{1f600}".as_bytes())),
        ),
        (
            "message of MessagePack",
            message(payload(Encoding::MsgPack, packed)),
        ),
        (
            "message of odd numbers",
            message(payload(
                Encoding::Json,
                b"[1e400,-0,1.0,18446744073709551616,-9223372036854775808]",
            )),
        ),
        (
            "announcement",
            Event::Ephemeral(Arc::new(Ephemeral {
                topic: topic("typing"),
                from: Some(user("ada")),
                origin: None,
                exclude_origin: true,
                payload: payload(Encoding::Json, b"true"),
            })),
        ),
        ("join", presence("ada", true)),
        ("leave", presence("ada", false)),
        ("gap", Event::Gap(gap())),
    ]
}

fn presence(who: &str, present: bool) -> Event {
    Event::Presence(Arc::new(PresenceChange {
        topic: topic("room:1"),
        user: user(who),
        present,
    }))
}

/// Examples that only matter outside of Spark.
fn of_others() -> Vec<(&'static str, Event)> {
    let connected = |id| Event::Connected {
        id: Some(frame(id)),
        welcome: Box::new(welcome(&[])),
    };
    let subscribed = |id, recovered| Event::Acked {
        id: frame(id),
        outcome: Outcome::Subscribed {
            topics: vec![Subscribed {
                topic: topic("gift-list:123"),
                position: MessageId::ZERO,
                recovered,
            }],
            rejected: Vec::new(),
        },
    };
    vec![
        ("connected by handshake", connected("$handshake")),
        ("connected by auth", connected("$auth")),
        ("expiring", Event::Expiring { grace_ms: 10_000 }),
        ("subscribed to all", subscribed("$subscribe", true)),
        ("subscribed since", subscribed("$since", false)),
        (
            "message of a JSON string",
            message(payload(Encoding::Json, br#""say \"hi\"""#)),
        ),
    ]
}

/// Every example with its name, and those of other dialects.
pub(crate) fn everything() -> Vec<(&'static str, Event)> {
    [all(), of_others()].concat()
}

/// Every example with its name.
pub(crate) fn all() -> Vec<(&'static str, Event)> {
    [
        beginnings(),
        failures_and_farewells(),
        heartbeats(),
        outcomes(),
        readings(),
        refusals(),
        messages(),
    ]
    .concat()
}
