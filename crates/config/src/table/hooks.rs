//! The application's backends: what they are asked, and how requests leave the node.

use std::time::Duration;

use super::issuers::{URL, target};
use super::{MINUTE, Section, count, list, optional_text, text, time, word, words};
use crate::key::{Key, Kind};
use crate::raw::Raw;
use crate::settings::{HookSecret, HookSettings, IpNet, OnError, Target};

/// Networks that have a name.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
];

macro_rules! url {
    ($field:ident $name:literal $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            secret: false,
            kind: Kind::Text {
                allowed: URL,
                set: |draft, _, text| {
                    draft.settings.hooks.urls.$field = target(&text)?;
                    Ok(())
                },
            },
            get: |draft, _| shown(draft.settings.hooks.urls.$field.as_ref()),
        }
    };
}

macro_rules! policy {
    ($field:ident $name:literal $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            secret: false,
            kind: Kind::Choice {
                words: || words(&OnError::ALL, OnError::as_str),
                set: |draft, _, value| {
                    let policy = word(&OnError::ALL, OnError::as_str, value);
                    draft.settings.hooks.$field = policy.unwrap_or_default();
                },
            },
            get: |draft, _| text(draft.settings.hooks.$field.as_str()),
        }
    };
}

macro_rules! within {
    ($field:ident $name:literal $max:expr, $doc:literal) => {
        Key {
            name: $name,
            doc: $doc,
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(50),
                max: $max,
                set: |draft, _, value| draft.settings.hooks.$field = value,
            },
            get: |draft, _| time(draft.settings.hooks.$field),
        }
    };
}

pub(super) const HOOKS: Section = Section {
    name: "hooks",
    doc: "Requests to the application's backends; `docs/reference/hooks.md` says what is asked and answered. Names that resolve to internal addresses need `outbound.allow`.",
    keys: &[
        url!(connect "hooks.connect" "Asked whether a client may connect, and who it is. Without any key for tokens it is given the token."),
        url!(subscribe "hooks.subscribe" "Asked whether a session may receive topics whose namespace has `subscribe = \"hook\"`."),
        url!(publish "hooks.publish" "Asked whether a session may publish in topics whose namespace has `publish = \"hook\"`."),
        url!(message "hooks.message" "Asked for the response to a message of the conversation dialect."),
        url!(rpc "hooks.rpc" "Asked for the result of `rpc:call`."),
        url!(refresh "hooks.refresh" "Asked whether the credential of a session that runs out goes on."),
        url!(events "hooks.events" "Told what happened, at least once, in batches."),
        Key {
            name: "hooks.secret",
            doc: "Signs every request.",
            secret: true,
            kind: Kind::Text {
                allowed: "at least 24 bytes, or `whsec_` and base64 of them",
                set: |draft, _, text| {
                    draft.settings.hooks.secret = secret(&text)?;
                    Ok(())
                },
            },
            get: |draft, _| hidden(draft.settings.hooks.secret.as_ref()),
        },
        Key {
            name: "hooks.previous_secret",
            doc: "Signs every request, too, while backends learn a new secret.",
            secret: true,
            kind: Kind::Text {
                allowed: "as hooks.secret, or empty",
                set: |draft, _, text| {
                    draft.settings.hooks.previous_secret = secret(&text)?;
                    Ok(())
                },
            },
            get: |draft, _| hidden(draft.settings.hooks.previous_secret.as_ref()),
        },
        within!(timeout "hooks.timeout" MINUTE, "How long connect, subscribe, publish and refresh may take."),
        within!(call_timeout "hooks.call_timeout" MINUTE, "How long `hooks.rpc` may take. `hooks.message` has `conversation.response_timeout`."),
        within!(events_timeout "hooks.events_timeout" MINUTE, "How long the delivery of a batch of events may take."),
        Key {
            name: "hooks.concurrency",
            doc: "Requests of one hook under way at once on a node. Others wait, within their time.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: 10_000,
                set: |draft, _, number| {
                    draft.settings.hooks.concurrency = usize::try_from(number).unwrap_or(64);
                },
            },
            get: |draft, _| count(draft.settings.hooks.concurrency),
        },
        policy!(connect_on_error "hooks.connect_on_error" "What follows when the connect hook cannot be asked: the client is refused for now, let in as its token says, or as the hook answered last."),
        policy!(subscribe_on_error "hooks.subscribe_on_error" "What follows when the subscribe hook cannot be asked."),
        policy!(publish_on_error "hooks.publish_on_error" "What follows when the publish hook cannot be asked; `cached` is `deny`."),
        within!(cache "hooks.cache" Duration::from_hours(24), "How long an answer counts for the policy `cached`."),
        Key {
            name: "hooks.transport_headers",
            doc: "Headers of the handshake that hooks are shown.",
            secret: false,
            kind: Kind::List {
                allowed: "up to 16 names in lower case",
                set: |draft, _, items| {
                    draft.settings.hooks.transport_headers = headers(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.hooks.transport_headers),
        },
        Key {
            name: "hooks.claimed_headers",
            doc: "Headers that a client claims in `ws:connect` and hooks are shown, apart from those of the handshake.",
            secret: false,
            kind: Kind::List {
                allowed: "up to 16 names in lower case",
                set: |draft, _, items| {
                    draft.settings.hooks.claimed_headers = headers(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.hooks.claimed_headers),
        },
        within!(events_retry "hooks.events_retry" Duration::from_hours(24), "How long an event is tried to be delivered; then it is a dead letter."),
        Key {
            name: "hooks.event_types",
            doc: "The events that `hooks.events` is told.",
            secret: false,
            kind: Kind::List {
                allowed: "`session.opened`, `session.closed`, `session.expired`, `topic.occupied`, `topic.vacated`, `presence.joined`, `presence.left`",
                set: |draft, _, items| {
                    let is_odd = |item: &&String| !HookSettings::EVENTS.contains(&item.as_str());
                    if let Some(odd) = items.iter().find(is_odd) {
                        return Err(format!("has the unknown event `{odd}`"));
                    }
                    draft.settings.hooks.events = items.into_iter().map(Box::from).collect();
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.hooks.events),
        },
    ],
};

pub(super) const OUTBOUND: Section = Section {
    name: "outbound",
    doc: "Requests that a node makes: hooks and key sets. Redirects are never followed.",
    keys: &[
        Key {
            name: "outbound.allow",
            doc: "Networks that names in configured URLs may lead to, besides public addresses; `private` and `loopback` stand for theirs. An address written into a URL needs none of it, unless it is link-local or a metadata service.",
            secret: false,
            kind: Kind::List {
                allowed: "networks such as `10.0.0.0/8`, `private`, `loopback`",
                set: |draft, _, items| {
                    draft.settings.outbound.allow = networks(&items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.outbound.allow),
        },
        Key {
            name: "outbound.ca_file",
            doc: "PEM file with the authorities to trust instead of the system's.",
            secret: false,
            kind: Kind::Text {
                allowed: "a path, or empty",
                set: |draft, _, text| {
                    draft.settings.outbound.ca_file = (!text.is_empty()).then(|| text.into());
                    Ok(())
                },
            },
            get: |draft, _| {
                let path = draft.settings.outbound.ca_file.as_ref();
                let path = path.map(|path| path.display().to_string());
                optional_text(path.as_ref())
            },
        },
        Key {
            name: "outbound.connect_timeout",
            doc: "How long a connection to a backend may take. Part of the time of the whole request.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(50),
                max: MINUTE,
                set: |draft, _, value| draft.settings.outbound.connect_timeout = value,
            },
            get: |draft, _| time(draft.settings.outbound.connect_timeout),
        },
    ],
};

fn shown(url: Option<&Target>) -> Raw {
    optional_text(url.map(Target::text).as_ref())
}

fn secret(text: &str) -> Result<Option<HookSecret>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    HookSecret::parse(text)
        .map(Some)
        .map_err(|error| error.to_string())
}

fn hidden(secret: Option<&HookSecret>) -> Raw {
    optional_text(secret.map(|_| "(hidden)"))
}

fn headers(items: Vec<String>) -> Result<Vec<String>, String> {
    let is_name = |item: &String| {
        !item.is_empty()
            && item
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if let Some(odd) = items.iter().find(|item| !is_name(item)) {
        return Err(format!(
            "has `{odd}`, which is no name of a header in lower case"
        ));
    }
    if items.len() > HookSettings::HEADERS_MAX {
        return Err(format!("has more than {} names", HookSettings::HEADERS_MAX));
    }
    Ok(items)
}

fn networks(items: &[String]) -> Result<Vec<IpNet>, String> {
    let mut all = Vec::new();
    for item in items {
        let texts: &[&str] = match item.as_str() {
            "loopback" => &LOOPBACK,
            "private" => &PRIVATE,
            other => &[other],
        };
        for text in texts {
            let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
            let network = text.parse().ok().or_else(address);
            all.push(network.ok_or_else(|| format!("`{item}` is no network"))?);
        }
    }
    Ok(all)
}
