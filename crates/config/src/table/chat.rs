//! The chat dialect and its application.

use std::time::Duration;

use super::{
    MINUTE, NOTHING, SECOND, Section, count, flag, optional_count, optional_time, small, text,
    time, word, words,
};
use crate::key::{Key, Kind};
use crate::settings::{ChatUsers, DeliveredOn, PresenceScope};

const YEARS: Duration = Duration::from_hours(24 * 3650);

pub(super) const CHAT: Section = Section {
    name: "chat",
    doc: "The chat dialect and its users and messages. It is there where a route speaks `chat`.",
    keys: &[
        Key {
            name: "chat.ping_interval",
            doc: "Time between two pings of the node. A connection from which nothing comes for twice this is dropped.",
            secret: false,
            kind: Kind::Time {
                min: SECOND,
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.chat.ping_interval = value,
            },
            get: |draft, _| time(draft.settings.chat.ping_interval),
        },
        Key {
            name: "chat.presence_grace",
            doc: "How long a user without connection is still online. Who comes back before neither goes nor comes.",
            secret: false,
            kind: Kind::Time {
                min: NOTHING,
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.chat.presence_grace = value,
            },
            get: |draft, _| time(draft.settings.chat.presence_grace),
        },
        Key {
            name: "chat.presence_scope",
            doc: "Who is told that a user came online or went offline: everybody, or those who have a conversation with him.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&PresenceScope::ALL, PresenceScope::as_str),
                set: |draft, _, wanted| {
                    let wanted = word(&PresenceScope::ALL, PresenceScope::as_str, wanted);
                    draft.settings.chat.presence_scope = wanted.unwrap_or_default();
                },
            },
            get: |draft, _| text(draft.settings.chat.presence_scope.as_str()),
        },
        Key {
            name: "chat.online_users_broadcast_limit",
            doc: "Up to so many users online everybody is sent the whole list when somebody went; beyond it changes are told once per second, without the list.",
            secret: false,
            kind: Kind::Count {
                min: 0,
                max: 100_000,
                set: |draft, _, value| draft.settings.chat.online_users_broadcast_limit = value,
            },
            get: |draft, _| count(draft.settings.chat.online_users_broadcast_limit),
        },
        Key {
            name: "chat.deliver_pending",
            doc: "Whether what was sent to a user while he was offline is sent when he connects.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.chat.deliver_pending = value),
            get: |draft, _| flag(draft.settings.chat.deliver_pending),
        },
        Key {
            name: "chat.delivered_on",
            doc: "When a message counts as delivered: when it is written to a chat connection of the receiver, or also when a Spark client of his acknowledges it in his inbox topic.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&DeliveredOn::ALL, DeliveredOn::as_str),
                set: |draft, _, wanted| {
                    let wanted = word(&DeliveredOn::ALL, DeliveredOn::as_str, wanted);
                    draft.settings.chat.delivered_on = wanted.unwrap_or_default();
                },
            },
            get: |draft, _| text(draft.settings.chat.delivered_on.as_str()),
        },
        Key {
            name: "chat.users",
            doc: "Which users exist: those who registered, or everybody with a valid token, which then says his name and picture.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&ChatUsers::ALL, ChatUsers::as_str),
                set: |draft, _, wanted| {
                    let wanted = word(&ChatUsers::ALL, ChatUsers::as_str, wanted);
                    draft.settings.chat.users = wanted.unwrap_or_default();
                },
            },
            get: |draft, _| text(draft.settings.chat.users.as_str()),
        },
        Key {
            name: "chat.history_entries",
            doc: "Newest messages that a conversation keeps. Empty: all.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 1_000_000,
                set: |draft, _, number| draft.settings.chat.history_entries = number.map(small),
            },
            get: |draft, _| optional_count(draft.settings.chat.history_entries),
        },
        Key {
            name: "chat.history_age",
            doc: "How long a conversation keeps messages. Empty: for ever.",
            secret: false,
            kind: Kind::OptionalTime {
                min: SECOND,
                max: YEARS,
                set: |draft, _, value| draft.settings.chat.history_age = value,
            },
            get: |draft, _| optional_time(draft.settings.chat.history_age),
        },
        Key {
            name: "chat.token_lifetime",
            doc: "How long a token lasts that the chat gives out at a login.",
            secret: false,
            kind: Kind::Time {
                min: MINUTE,
                max: Duration::from_hours(24 * 365),
                set: |draft, _, value| draft.settings.chat.token_lifetime = value,
            },
            get: |draft, _| time(draft.settings.chat.token_lifetime),
        },
        Key {
            name: "chat.registrations_per_address",
            doc: "Registrations from one address (IPv6: one /64 network) in a minute, per node. Empty: no limit.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 100_000,
                set: |draft, _, number| {
                    draft.settings.chat.registrations_per_address = number.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.chat.registrations_per_address),
        },
        Key {
            name: "chat.logins_per_address",
            doc: "Logins from one address in a minute, per node. Empty: no limit.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 100_000,
                set: |draft, _, number| {
                    draft.settings.chat.logins_per_address = number.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.chat.logins_per_address),
        },
        Key {
            name: "chat.failed_logins_per_account",
            doc: "Failed logins to one account in a minute, per node; beyond, its logins are refused without a look at the password. Empty: no limit.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 100_000,
                set: |draft, _, number| {
                    draft.settings.chat.failed_logins_per_account = number.map(small);
                },
            },
            get: |draft, _| optional_count(draft.settings.chat.failed_logins_per_account),
        },
    ],
};
