//! The room dialect.

use std::time::Duration;

use super::{SECOND, Section, flag, text, time, word, words};
use crate::key::{Key, Kind};
use crate::settings::RoomEcho;

pub(super) const ROOM: Section = Section {
    name: "room",
    doc: "The room dialect. What a room's log keeps, `namespaces.room` says.",
    keys: &[
        Key {
            name: "room.ping_interval",
            doc: "Time between two pings of the node. A session from which nothing comes for twice this is closed.",
            secret: false,
            kind: Kind::Time {
                min: SECOND,
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.room.ping_interval = value,
            },
            get: |draft, _| time(draft.settings.room.ping_interval),
        },
        Key {
            name: "room.echo",
            doc: "What a session hears of its own texts: each at its place in the room's order, each at once, or none.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&RoomEcho::ALL, RoomEcho::as_str),
                set: |draft, _, wanted| {
                    if let Some(echo) = word(&RoomEcho::ALL, RoomEcho::as_str, wanted) {
                        draft.settings.room.echo = echo;
                    }
                },
            },
            get: |draft, _| text(draft.settings.room.echo.as_str()),
        },
        Key {
            name: "room.relay_binary",
            doc: "Whether binary frames are relayed like texts. Otherwise they are ignored.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.room.relay_binary = value),
            get: |draft, _| flag(draft.settings.room.relay_binary),
        },
    ],
};
