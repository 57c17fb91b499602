//! The conversation dialect.

use std::time::Duration;

use super::{Section, flag, list, text, time, word, words};
use crate::key::{Key, Kind};
use crate::settings::Responder;

pub(super) const CONVERSATION: Section = Section {
    name: "conversation",
    doc: "The conversation dialect. What a conversation's log keeps, `namespaces.conversation` says.",
    keys: &[
        Key {
            name: "conversation.versions",
            doc: "Majors of the protocol version that are served.",
            secret: false,
            kind: Kind::List {
                allowed: "1 to 16 whole numbers",
                set: |draft, _, items| {
                    let majors: Result<Vec<u32>, _> =
                        items.iter().map(|item| item.parse()).collect();
                    let majors = majors.map_err(|_| "holds something that is no whole number")?;
                    if majors.is_empty() || majors.len() > 16 {
                        return Err("holds none, or more than 16".to_owned());
                    }
                    draft.settings.conversation.versions = majors;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.conversation.versions),
        },
        Key {
            name: "conversation.response_timeout",
            doc: "How long a message may wait for its response before its client is told.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(100),
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.conversation.response_timeout = value,
            },
            get: |draft, _| time(draft.settings.conversation.response_timeout),
        },
        Key {
            name: "conversation.responder",
            doc: "Who answers where no message hook is set: a client that subscribes to the conversation's topic, or the gateway itself with the same words, to try the dialect.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&Responder::ALL, Responder::as_str),
                set: |draft, _, wanted| {
                    if let Some(responder) = word(&Responder::ALL, Responder::as_str, wanted) {
                        draft.settings.conversation.responder = responder;
                    }
                },
            },
            get: |draft, _| text(draft.settings.conversation.responder.as_str()),
        },
        Key {
            name: "conversation.require_tls",
            doc: "Whether clients that are not on this machine must use TLS. Behind a proxy that ends TLS, leave it off.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.conversation.require_tls = value),
            get: |draft, _| flag(draft.settings.conversation.require_tls),
        },
    ],
};
