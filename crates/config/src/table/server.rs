//! Listeners, store, routes.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sparkway_protocol::{NodeId, Partitions};

use super::{Section, count, list, optional_count, optional_text, small, text, word, words};
use crate::draft::DraftRoute;
use crate::key::{Key, Kind};
use crate::raw::Raw;
use crate::settings::{AddressRange, Dialect, Mode, Reject, StoreSettings, TlsVersion};

const LISTEN: &str = "an IP address and a port, such as `0.0.0.0:8000` or `[::]:8000`";

pub(super) const SERVER: Section = Section {
    name: "server",
    doc: "The public listener.",
    keys: &[
        Key {
            name: "server.listen",
            doc: "Address and port of the public listener: WebSocket routes and `/healthz`.",
            secret: false,
            kind: Kind::Text {
                allowed: LISTEN,
                set: |draft, _, text| {
                    draft.settings.server.listen = address(&text)?;
                    Ok(())
                },
            },
            get: |draft, _| text(draft.settings.server.listen),
        },
        Key {
            name: "server.node_id",
            doc: "Name of this node, unique in the cluster and in time. Empty: host name and a random part.",
            secret: false,
            kind: Kind::Text {
                allowed: "1 to 128 bytes without control characters, or empty",
                set: |draft, _, text| {
                    let id = (!text.is_empty()).then(|| NodeId::parse(&text));
                    draft.settings.server.node_id = id.transpose().map_err(|e| e.to_string())?;
                    Ok(())
                },
            },
            get: |draft, _| optional_text(draft.settings.server.node_id.as_ref()),
        },
        Key {
            name: "server.tls.cert",
            doc: "PEM file with the certificate chain, leaf first, for `wss` without a proxy.",
            secret: false,
            kind: Kind::Text {
                allowed: "a readable file, or empty; together with `server.tls.key`",
                set: |draft, _, text| {
                    draft.tls_cert = path(text);
                    Ok(())
                },
            },
            get: |draft, _| shown_path(draft.tls_cert.as_ref()),
        },
        Key {
            name: "server.tls.key",
            doc: "PEM file with the private key of `server.tls.cert`.",
            secret: false,
            kind: Kind::Text {
                allowed: "a readable file, or empty; together with `server.tls.cert`",
                set: |draft, _, text| {
                    draft.tls_key = path(text);
                    Ok(())
                },
            },
            get: |draft, _| shown_path(draft.tls_key.as_ref()),
        },
        Key {
            name: "server.tls.min_version",
            doc: "Oldest version of TLS that a client may speak.",
            secret: false,
            kind: Kind::Choice {
                words: || vec!["1.2", "1.3"],
                set: |draft, _, text| {
                    draft.tls_oldest = match text {
                        "1.3" => TlsVersion::Tls13,
                        _ => TlsVersion::Tls12,
                    };
                },
            },
            get: |draft, _| match draft.tls_oldest {
                TlsVersion::Tls12 => text("1.2"),
                TlsVersion::Tls13 => text("1.3"),
            },
        },
        Key {
            name: "server.allowed_origins",
            doc: "Web pages that may connect. Empty: only pages of the host that they connect to.",
            secret: false,
            kind: Kind::List {
                allowed: "origins such as `https://app.example`, `https://*.example`, or `*`",
                set: |draft, _, items| {
                    for item in &items {
                        origin(item)?;
                    }
                    draft.settings.server.allowed_origins = items;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.server.allowed_origins),
        },
        Key {
            name: "server.compression",
            doc: "Whether messages are deflated for clients that offer it (permessage-deflate without context). A published message is compressed once for all of them; the limit of a message counts inflated. `off` is the default: it costs CPU, and a secret beside text that somebody else chooses shows in the length.",
            secret: false,
            kind: Kind::Choice {
                words: || vec!["off", "deflate"],
                set: |draft, _, text| draft.settings.server.compression = text == "deflate",
            },
            get: |draft, _| {
                text(if draft.settings.server.compression {
                    "deflate"
                } else {
                    "off"
                })
            },
        },
        Key {
            name: "server.trusted_proxies",
            doc: "Proxies whose `X-Forwarded-For` counts. Empty: the header is ignored.",
            secret: false,
            kind: Kind::List {
                allowed: "IP addresses and networks such as `10.0.0.0/8`",
                set: |draft, _, items| {
                    let ranges = items.iter().map(|item| {
                        AddressRange::parse(item).ok_or_else(|| format!("`{item}` is no network"))
                    });
                    draft.settings.server.trusted_proxies = ranges.collect::<Result<_, _>>()?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.server.trusted_proxies),
        },
    ],
};

pub(super) const INTERNAL: Section = Section {
    name: "internal",
    doc: "The internal listener, on a thread and runtime of its own.",
    keys: &[Key {
        name: "internal.listen",
        doc: "Address and port of HTTP API, health and metrics. Beyond loopback `api.keys` is demanded.",
        secret: false,
        kind: Kind::Text {
            allowed: LISTEN,
            set: |draft, _, text| {
                draft.settings.internal.listen = address(&text)?;
                Ok(())
            },
        },
        get: |draft, _| text(draft.settings.internal.listen),
    }],
};

pub(super) const STORE: Section = Section {
    name: "store",
    doc: "Where state lives.",
    keys: &[
        Key {
            name: "store.url",
            doc: "Which store. `memory:` is embedded: one node, and sessions do not outlive it.",
            secret: true,
            kind: Kind::Text {
                allowed: "`memory:`, `redis://host`, `redis+sentinel://host,host/master`, `redis+cluster://host,host`; `rediss` for TLS; `user:password@` before the host",
                set: |draft, _, text| {
                    StoreSettings::check_url(&text).map_err(|error| {
                        let error = error.to_string();
                        error.trim_start_matches("store.url ").to_owned()
                    })?;
                    draft.settings.store.url = SecretString::from(text);
                    Ok(())
                },
            },
            get: |draft, _| Raw::Text(without_password(draft.settings.store.url.expose_secret())),
        },
        Key {
            name: "store.key_prefix",
            doc: "First part of every key and channel of Redis.",
            secret: false,
            kind: Kind::Text {
                allowed: "1 to 64 letters, digits, `-`, `_`, `.` or `:`",
                set: |draft, _, text| {
                    let is_plain =
                        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
                    if !(1..=64).contains(&text.len()) || !text.bytes().all(is_plain) {
                        return Err("has other characters or another length".to_owned());
                    }
                    draft.settings.store.key_prefix = text;
                    Ok(())
                },
            },
            get: |draft, _| text(&draft.settings.store.key_prefix),
        },
        Key {
            name: "store.partitions",
            doc: "Independent total orders, fixed for the life of the data. Empty: 16 on a cluster, else 1.",
            secret: false,
            kind: Kind::OptionalCount {
                min: 1,
                max: 16,
                set: |draft, _, number| {
                    let partitions = number.and_then(|number| u8::try_from(number).ok());
                    draft.settings.store.partitions = partitions.and_then(Partitions::new);
                },
            },
            get: |draft, _| optional_count(draft.settings.store.partitions.map(Partitions::count)),
        },
        Key {
            name: "store.replicas",
            doc: "Replicas that confirm a publish of durability `replicated`.",
            secret: false,
            kind: Kind::Count {
                min: 0,
                max: 16,
                set: |draft, _, number| draft.settings.store.replicas = small(number),
            },
            get: |draft, _| count(draft.settings.store.replicas),
        },
        Key {
            name: "store.ca_file",
            doc: "PEM file with the certificates that sign the store's, for `rediss`. Empty: those of the operating system.",
            secret: false,
            kind: Kind::Text {
                allowed: "a readable file, or empty",
                set: |draft, _, text| {
                    draft.settings.store.ca_file = path(text);
                    Ok(())
                },
            },
            get: |draft, _| shown_path(draft.settings.store.ca_file.as_ref()),
        },
    ],
};

pub(super) const ROUTES: Section = Section {
    name: "routes",
    doc: "Which path of the public listener speaks which dialect. Configuring any route replaces all default ones. `{room}` stands for one segment of a path.",
    keys: &[
        Key {
            name: "routes",
            doc: "All routes in one value, for the environment and `--set`: `/ws=spark,/chat=chat`.",
            secret: false,
            kind: Kind::List {
                allowed: "`PATH=DIALECT`, several separated by commas",
                set: |draft, _, items| {
                    let routes = items.iter().map(|item| route(item));
                    draft.routes = Some(routes.collect::<Result<_, _>>()?);
                    Ok(())
                },
            },
            get: |_, _| Raw::List(Vec::new()),
        },
        Key {
            name: "routes.*",
            doc: "What is spoken at a path: `\"/ws\" = \"spark\"`.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&Dialect::ALL, Dialect::as_str),
                set: |draft, path, text| {
                    draft.route(path).dialect = word(&Dialect::ALL, Dialect::as_str, text);
                },
            },
            get: |draft, path| optional_text(draft.route_now(path).dialect.map(Dialect::as_str)),
        },
        Key {
            name: "routes.*.dialect",
            doc: "The same, where the path has further keys.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&Dialect::ALL, Dialect::as_str),
                set: |draft, path, text| {
                    draft.route(path).dialect = word(&Dialect::ALL, Dialect::as_str, text);
                },
            },
            get: |draft, path| optional_text(draft.route_now(path).dialect.map(Dialect::as_str)),
        },
        Key {
            name: "routes.*.auth",
            doc: "Whether tokens are needed at a path. Empty: as `auth.mode` says.",
            secret: false,
            kind: Kind::Choice {
                words: || [vec![""], words(&Mode::ALL, Mode::as_str)].concat(),
                set: |draft, path, text| {
                    draft.route(path).auth = word(&Mode::ALL, Mode::as_str, text);
                },
            },
            get: |draft, path| optional_text(draft.route_now(path).auth.map(Mode::as_str)),
        },
        Key {
            name: "routes.*.reject",
            doc: "How a missing or bad token in a handshake is answered: the connection is made and closed with the dialect's code, which pages can see, or with the status 401. With `http` the first message is no place for a token.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&Reject::ALL, Reject::as_str),
                set: |draft, path, text| {
                    let reject = word(&Reject::ALL, Reject::as_str, text);
                    draft.route(path).reject = reject.unwrap_or_default();
                },
            },
            get: |draft, path| text(draft.route_now(path).reject.as_str()),
        },
    ],
};

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "is no IP address with a port".to_owned())
}

fn path(text: String) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn shown_path(path: Option<&PathBuf>) -> Raw {
    optional_text(path.map(|path| path.display().to_string()).as_ref())
}

fn origin(text: &str) -> Result<(), String> {
    let is_host = |host: &str| {
        let host = host.strip_prefix("*.").unwrap_or(host);
        let is_plain = |symbol: char| symbol.is_ascii_alphanumeric() || "-._:[]".contains(symbol);
        !host.is_empty() && host.chars().all(is_plain)
    };
    let is_origin = text
        .split_once("://")
        .is_some_and(|(scheme, host)| !scheme.is_empty() && is_host(host));
    if text == "*" || is_origin {
        Ok(())
    } else {
        Err(format!("has `{text}`, which is no origin"))
    }
}

fn route(item: &str) -> Result<DraftRoute, String> {
    let (path, dialect) = item
        .split_once('=')
        .ok_or_else(|| format!("has `{item}` without a dialect"))?;
    let dialect = word(&Dialect::ALL, Dialect::as_str, dialect)
        .ok_or_else(|| format!("has the unknown dialect `{dialect}`"))?;
    Ok(DraftRoute {
        path: path.to_owned(),
        dialect: Some(dialect),
        auth: None,
        reject: Reject::default(),
    })
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((login, hosts)) => {
            let user = login.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:(hidden)@{hosts}")
        }
        None => url.to_owned(),
    }
}
