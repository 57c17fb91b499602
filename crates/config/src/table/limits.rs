//! Drain, API, log.

use std::time::Duration;

use secrecy::SecretString;

use super::{NOTHING, Section, count, list, optional_text, small, text, time};
use crate::key::{Key, Kind};
use crate::settings::{ApiKey, LogFormat, Scope};

const MILLION: u64 = 1_000_000;
/// Fewest characters of the secret part of an API key: 120 bits when it is base64.
const API_SECRET_CHARS_MIN: usize = 20;

pub(super) const DRAIN: Section = Section {
    name: "drain",
    doc: "How the node goes away.",
    keys: &[
        Key {
            name: "drain.readiness_delay",
            doc: "How long the node is unready but still accepts, so that load balancers notice.",
            secret: false,
            kind: Kind::Time {
                min: NOTHING,
                max: Duration::from_mins(10),
                set: |draft, _, value| draft.settings.drain.readiness_delay = value,
            },
            get: |draft, _| time(draft.settings.drain.readiness_delay),
        },
        Key {
            name: "drain.duration",
            doc: "Over how long connections are closed.",
            secret: false,
            kind: Kind::Time {
                min: NOTHING,
                max: Duration::from_hours(1),
                set: |draft, _, value| draft.settings.drain.duration = value,
            },
            get: |draft, _| time(draft.settings.drain.duration),
        },
        Key {
            name: "drain.max_rate",
            doc: "Most connections closed per second by all draining nodes together.",
            secret: false,
            kind: Kind::Count {
                min: 1,
                max: MILLION,
                set: |draft, _, value| draft.settings.drain.max_rate = small(value),
            },
            get: |draft, _| count(draft.settings.drain.max_rate),
        },
    ],
};

pub(super) const API: Section = Section {
    name: "api",
    doc: "Who may use the HTTP API.",
    keys: &[Key {
        name: "api.keys",
        doc: "Valid keys, several for rotation, each with what it allows: `swk_ops_…:read+admin`. Without scopes a key allows everything. Empty: the API answers on loopback only.",
        secret: true,
        kind: Kind::List {
            allowed: "`swk_<id>_<secret>`, then `:` and scopes of `publish`, `read`, `manage`, `admin` joined by `+`; the secret has at least 20 letters and digits",
            set: |draft, _, items| {
                let keys = items.iter().map(|item| api_key(item));
                let keys = keys.collect::<Result<Vec<_>, _>>()?;
                for (at, key) in keys.iter().enumerate() {
                    if keys.iter().skip(at + 1).any(|other| other.id == key.id) {
                        return Err(format!("has two keys with the id `{}`", key.id));
                    }
                }
                draft.settings.api.keys = keys;
                Ok(())
            },
        },
        get: |draft, _| {
            let keys: Vec<String> = draft.settings.api.keys.iter().map(shown_api_key).collect();
            list(&keys)
        },
    }],
};

pub(super) const LOG: Section = Section {
    name: "log",
    doc: "What is logged, to stderr.",
    keys: &[
        Key {
            name: "log.level",
            doc: "What is logged: a level, or a list such as `info,sparkway_gateway=debug`.",
            secret: false,
            kind: Kind::Text {
                allowed: "`off`, `error`, `warn`, `info`, `debug`, `trace`, or `target=level`, several separated by commas",
                set: |draft, _, text| {
                    if !text.split(',').all(is_directive) {
                        return Err("names a level that there is not".to_owned());
                    }
                    draft.settings.log.level = text;
                    Ok(())
                },
            },
            get: |draft, _| text(&draft.settings.log.level),
        },
        Key {
            name: "log.format",
            doc: "How lines look. Empty: `text` on a terminal, else `json`.",
            secret: false,
            kind: Kind::Choice {
                words: || vec!["", "text", "json"],
                set: |draft, _, text| {
                    draft.settings.log.format = match text {
                        "text" => Some(LogFormat::Text),
                        "json" => Some(LogFormat::Json),
                        _ => None,
                    };
                },
            },
            get: |draft, _| {
                optional_text(draft.settings.log.format.map(|format| match format {
                    LogFormat::Text => "text",
                    LogFormat::Json => "json",
                }))
            },
        },
    ],
};

fn is_directive(directive: &str) -> bool {
    let level = directive.rsplit('=').next().unwrap_or_default().trim();
    ["off", "error", "warn", "info", "debug", "trace"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(level))
}

/// Reads one key. Errors name at most its id, never the secret.
fn api_key(text: &str) -> Result<ApiKey, String> {
    let (key, scopes) = match text.split_once(':') {
        Some((key, scopes)) => (key, Some(scopes)),
        None => (text, None),
    };
    let (id, secret) = key
        .strip_prefix("swk_")
        .and_then(|rest| rest.split_once('_'))
        .ok_or("has a key that is not of the form swk_<id>_<secret>")?;
    let is_plain = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if id.is_empty() || id.len() > 32 || !is_plain(id) {
        return Err("has a key whose id is not 1 to 32 letters, digits and -".to_owned());
    }
    let is_secret_plain = secret
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if secret.len() < API_SECRET_CHARS_MIN || !is_secret_plain {
        return Err(format!(
            "has the key `{id}`, whose secret is too short or has odd characters"
        ));
    }
    let scopes = match scopes {
        None => Scope::ALL.to_vec(),
        Some(scopes) => scopes
            .split('+')
            .map(|scope| {
                super::word(&Scope::ALL, Scope::as_str, scope)
                    .ok_or_else(|| format!("has the key `{id}` with an unknown scope"))
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(ApiKey {
        id: id.into(),
        key: SecretString::from(key),
        scopes,
    })
}

fn shown_api_key(key: &ApiKey) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    format!("swk_{}_(hidden):{}", key.id, scopes.join("+"))
}
