//! Limits.

use std::time::Duration;

use super::{Section, bytes, count, optional_count, small, time};
use crate::key::{Key, Kind};

const KIB: u64 = 1024;
const MILLION: u64 = 1_000_000;
/// One message is one append to the store, which may take it alone.
const MESSAGE_MAX: u64 = 16 * KIB * KIB;

pub(super) const LIMITS: Section = Section {
    name: "limits",
    doc: "Bounds on what clients may use.",
    keys: &[
        Key {
            name: "limits.message_bytes",
            doc: "Longest message of a client.",
            secret: false,
            kind: Kind::Bytes {
                min: KIB,
                max: MESSAGE_MAX,
                set: |draft, _, value| draft.settings.limits.message_bytes = value,
            },
            get: |draft, _| bytes(draft.settings.limits.message_bytes),
        },
        Key {
            name: "limits.connections",
            doc: "Connections of this node. Empty: what the limit of file descriptors allows.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 10 * MILLION,
                set: |draft, _, value| draft.settings.limits.connections = value.map(small),
            },
            get: |draft, _| optional_count(draft.settings.limits.connections),
        },
        Key {
            name: "limits.connections_per_address",
            doc: "Connections of one client address (of one /64 network in IPv6) to this node; more are answered 429. Empty: unlimited. Behind a proxy set `server.trusted_proxies`, or all clients have one address.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 10 * MILLION,
                set: |draft, _, value| {
                    draft.settings.limits.connections_per_address = value.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.limits.connections_per_address),
        },
        Key {
            name: "limits.connections_per_user",
            doc: "Connections of one user to this node; a further connect that replaces none of them is refused with `limit_exceeded` and closed. Empty: unlimited.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: MILLION,
                set: |draft, _, value| {
                    draft.settings.limits.connections_per_user = value.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.limits.connections_per_user),
        },
        Key {
            name: "limits.handshake_timeout",
            doc: "How long the TLS handshake, and after it the head of a request, may take.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(100),
                max: Duration::from_mins(1),
                set: |draft, _, value| draft.settings.limits.handshake_timeout = value,
            },
            get: |draft, _| time(draft.settings.limits.handshake_timeout),
        },
        Key {
            name: "limits.handshakes_per_second",
            doc: "Handshakes that this node begins per second; more are answered 503 with `Retry-After`, and connections (also plain HTTP) beyond twice as many are closed unread. Empty: unlimited.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: MILLION,
                set: |draft, _, value| {
                    draft.settings.limits.handshakes_per_second = value.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.limits.handshakes_per_second),
        },
        Key {
            name: "limits.handshakes_per_address",
            doc: "Handshakes that one client address may begin per second; more are answered 429 with `Retry-After`, and connections (also plain HTTP) beyond twice as many are closed unread, but for those of `server.trusted_proxies`. Empty: unlimited.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: MILLION,
                set: |draft, _, value| {
                    draft.settings.limits.handshakes_per_address = value.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.limits.handshakes_per_address),
        },
        Key {
            name: "limits.frames_per_second",
            doc: "Frames that one connection may send per second; 0 is unlimited.",
            secret: false,
            kind: Kind::Count {
                min: 0,
                max: MILLION,
                set: |draft, _, value| draft.settings.limits.frames_per_second = small(value),
            },
            get: |draft, _| count(draft.settings.limits.frames_per_second),
        },
        Key {
            name: "limits.frames_burst",
            doc: "Frames that one connection may send at once after a pause.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: MILLION,
                set: |draft, _, value| draft.settings.limits.frames_burst = small(value),
            },
            get: |draft, _| count(draft.settings.limits.frames_burst),
        },
        Key {
            name: "limits.bytes_per_second",
            doc: "Bytes of messages that one connection may send per second, and at once (one whole message always passes); 0 is unlimited.",
            secret: false,
            kind: Kind::Count {
                min: 0,
                max: 1000 * MILLION,
                set: |draft, _, value| draft.settings.limits.bytes_per_second = small(value),
            },
            get: |draft, _| count(draft.settings.limits.bytes_per_second),
        },
        Key {
            name: "limits.publishes_in_flight",
            doc: "Publishes and other requests of one connection that wait for their answer; beyond it the node stops reading that connection until answers have come.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: 10_000,
                set: |draft, _, value| {
                    let value = usize::try_from(value).unwrap_or(usize::MAX);
                    draft.settings.limits.publishes_in_flight = value;
                },
            },
            get: |draft, _| count(draft.settings.limits.publishes_in_flight),
        },
        Key {
            name: "limits.nesting_depth",
            doc: "Deepest nesting of a published payload.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: 64,
                set: |draft, _, value| {
                    let value = usize::try_from(value).unwrap_or(usize::MAX);
                    draft.settings.limits.nesting_depth = value;
                },
            },
            get: |draft, _| count(draft.settings.limits.nesting_depth),
        },
        Key {
            name: "limits.fragments_per_message",
            doc: "Fragments of one message; a message of more is closed with 1008.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: MILLION,
                set: |draft, _, value| draft.settings.limits.fragments_per_message = small(value),
            },
            get: |draft, _| count(draft.settings.limits.fragments_per_message),
        },
        Key {
            name: "limits.topics_per_session",
            doc: "Topics that one session may be subscribed to.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: 10_000,
                set: |draft, _, value| {
                    let value = usize::try_from(value).unwrap_or(usize::MAX);
                    draft.settings.limits.topics_per_session = value;
                },
            },
            get: |draft, _| count(draft.settings.limits.topics_per_session),
        },
        Key {
            name: "limits.outbox_bytes",
            doc: "Bytes that wait for one connection; beyond it the connection is fed from the log. Not below `limits.message_bytes`.",
            secret: false,
            kind: Kind::Bytes {
                min: 16 * KIB,
                max: 64 * KIB * KIB,
                set: |draft, _, value| draft.settings.limits.outbox_bytes = value,
            },
            get: |draft, _| bytes(draft.settings.limits.outbox_bytes),
        },
    ],
};
