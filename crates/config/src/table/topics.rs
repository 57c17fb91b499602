//! Sessions and topics.

use std::time::Duration;

use sparkway_protocol::Durability;

use super::{
    NOTHING, SECOND, Section, count, flag, optional_count, small, text, time, word, words,
};
use crate::key::{Key, Kind};
use crate::settings::Access;

const DAY: Duration = Duration::from_hours(24);
const YEARS: Duration = Duration::from_hours(24 * 3650);
const DURABILITIES: [Durability; 2] = [Durability::Stored, Durability::Replicated];

const fn durability(value: Durability) -> &'static str {
    match value {
        Durability::Stored => "stored",
        Durability::Replicated => "replicated",
    }
}

pub(super) const SESSION: Section = Section {
    name: "session",
    doc: "Life of sessions.",
    keys: &[
        Key {
            name: "session.heartbeat_interval",
            doc: "Time between two heartbeats of a client. Below the idle limit of common proxies. A connection is closed after twice this and 5 s more.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(50),
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.session.heartbeat_interval = value,
            },
            get: |draft, _| time(draft.settings.session.heartbeat_interval),
        },
        Key {
            name: "session.resume_window",
            doc: "How long a session without connection can be resumed.",
            secret: false,
            kind: Kind::Time {
                min: SECOND,
                max: DAY,
                set: |draft, _, value| draft.settings.session.resume_window = value,
            },
            get: |draft, _| time(draft.settings.session.resume_window),
        },
        Key {
            name: "session.connect_timeout",
            doc: "How long a new connection may wait with its first frame.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(100),
                max: Duration::from_mins(5),
                set: |draft, _, value| draft.settings.session.connect_timeout = value,
            },
            get: |draft, _| time(draft.settings.session.connect_timeout),
        },
        Key {
            name: "session.token_rotation",
            doc: "How often heartbeat tokens are replaced.",
            secret: false,
            kind: Kind::Time {
                min: SECOND,
                max: DAY,
                set: |draft, _, value| draft.settings.session.token_rotation = value,
            },
            get: |draft, _| time(draft.settings.session.token_rotation),
        },
        Key {
            name: "session.per_user",
            doc: "Sessions of one user; the older one gives way. Empty: unlimited.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 1,
                set: |draft, _, number| draft.settings.session.per_user = number.map(small),
            },
            get: |draft, _| optional_count(draft.settings.session.per_user),
        },
        Key {
            name: "session.expiry_grace",
            doc: "How long a connection outlives its token, so that the client can refresh it.",
            secret: false,
            kind: Kind::Time {
                min: NOTHING,
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.session.expiry_grace = value,
            },
            get: |draft, _| time(draft.settings.session.expiry_grace),
        },
        Key {
            name: "session.keep_on_close",
            doc: "Whether a session survives that its client closes with 1000.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.session.keep_on_close = value),
            get: |draft, _| flag(draft.settings.session.keep_on_close),
        },
        Key {
            name: "session.max_unacked",
            doc: "Messages that a client may leave unacknowledged before its delivery pauses; nothing is dropped. 0 is no limit. Only for clients that acknowledge: others hear this many and no more.",
            secret: false,
            kind: Kind::Count {
                min: 0,
                max: 1_000_000,
                set: |draft, _, value| draft.settings.session.max_unacked = small(value),
            },
            get: |draft, _| count(draft.settings.session.max_unacked),
        },
    ],
};

/// The keys of one topic table, under the given prefix.
macro_rules! topic_keys {
    ($prefix:literal) => {
        &[
            Key {
                name: concat!($prefix, ".history_entries"),
                doc: "Newest entries that a log keeps: the replay window. 0: nothing can be resumed.",
                secret: false,
                kind: Kind::Count {
                    min: 0,
                    max: 1_000_000,
                    set: |draft, name, value| draft.topic(name).history_entries = small(value),
                },
                get: |draft, name| count(draft.topic_now(name).history_entries),
            },
            Key {
                name: concat!($prefix, ".history_age"),
                doc: "How long a log keeps entries.",
                secret: false,
                kind: Kind::Time {
                    min: SECOND,
                    max: YEARS,
                    set: |draft, name, value| draft.topic(name).history_age = value,
                },
                get: |draft, name| time(draft.topic_now(name).history_age),
            },
            Key {
                name: concat!($prefix, ".presence"),
                doc: "Whether it is kept who is in a topic, so that clients and backends can ask and are told. Each subscription then costs a write to the store.",
                secret: false,
                kind: Kind::Flag(|draft, name, value| draft.topic(name).presence = value),
                get: |draft, name| flag(draft.topic_now(name).presence),
            },
            Key {
                name: concat!($prefix, ".ephemeral"),
                doc: "Whether everything published is an announcement that is never kept.",
                secret: false,
                kind: Kind::Flag(|draft, name, value| draft.topic(name).ephemeral = value),
                get: |draft, name| flag(draft.topic_now(name).ephemeral),
            },
            Key {
                name: concat!($prefix, ".durability"),
                doc: "How safely a publish is stored before it is acknowledged, unless it asks for more.",
                secret: false,
                kind: Kind::Choice {
                    words: || words(&DURABILITIES, durability),
                    set: |draft, name, value| {
                        let value = word(&DURABILITIES, durability, value);
                        draft.topic(name).durability = value.unwrap_or_default();
                    },
                },
                get: |draft, name| text(durability(draft.topic_now(name).durability)),
            },
            Key {
                name: concat!($prefix, ".publish"),
                doc: "Which clients may publish: those whose token grants it, all, none, or those whom the hook lets.",
                secret: false,
                kind: Kind::Choice {
                    words: || words(&Access::ALL, Access::as_str),
                    set: |draft, name, value| {
                        let value = word(&Access::ALL, Access::as_str, value);
                        draft.topic(name).publish = value.unwrap_or_default();
                    },
                },
                get: |draft, name| text(draft.topic_now(name).publish.as_str()),
            },
            Key {
                name: concat!($prefix, ".subscribe"),
                doc: "Which clients may subscribe: those whose token grants it, all, none, or those whom the hook lets.",
                secret: false,
                kind: Kind::Choice {
                    words: || words(&Access::ALL, Access::as_str),
                    set: |draft, name, value| {
                        let value = word(&Access::ALL, Access::as_str, value);
                        draft.topic(name).subscribe = value.unwrap_or_default();
                    },
                },
                get: |draft, name| text(draft.topic_now(name).subscribe.as_str()),
            },
        ]
    };
}

pub(super) const TOPICS: Section = Section {
    name: "topics",
    doc: "What holds for every topic without a namespace of its own.",
    keys: topic_keys!("topics"),
};

pub(super) const NAMESPACES: Section = Section {
    name: "namespaces",
    doc: "What holds for the topics `NAME` and `NAME:…` instead. What is not set is as in `topics`. A variable names a namespace in lower case only.",
    keys: topic_keys!("namespaces.*"),
};

pub(super) const PRESENCE: Section = Section {
    name: "presence",
    doc: "Who is in which topic. Where it is kept at all, `topics.presence` says.",
    keys: &[Key {
        name: "presence.grace",
        doc: "How long a session without connection is still in its topics. Who resumes before does not leave.",
        secret: false,
        kind: Kind::Time {
            min: NOTHING,
            max: DAY,
            set: |draft, _, value| draft.settings.presence.grace = value,
        },
        get: |draft, _| time(draft.settings.presence.grace),
    }],
};
