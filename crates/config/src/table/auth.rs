//! Credentials.

use std::time::Duration;

use secrecy::SecretString;

use super::issuers::{URL, target};
use super::{Section, list, optional_text, optional_time, text, time, word, words};
use crate::draft::DraftKey;
use crate::key::{Key, Kind};
use crate::raw::Raw;
use crate::settings::{Algorithm, Claim, Grants, Mode, Target};

const PATTERNS: &str = "topic names, prefixes such as `room:*`, or `*`";
const PEM: &str = "a PEM text that begins with `-----BEGIN PUBLIC KEY-----`, or empty";

pub(super) const AUTH: Section = Section {
    name: "auth",
    doc: "How clients prove who they are: with a JWT in the URL (`?token=`), the subprotocol `bearer.<jwt>`, `Authorization: Bearer`, the cookie, or the first message. Of several the first in this order counts.",
    keys: &[
        Key {
            name: "auth.mode",
            doc: "Whether tokens are needed. `off` accepts everybody and is meant for development.",
            secret: false,
            kind: Kind::Choice {
                words: || words(&Mode::ALL, Mode::as_str),
                set: |draft, _, text| {
                    let mode = word(&Mode::ALL, Mode::as_str, text);
                    draft.settings.auth.mode = mode.unwrap_or_default();
                },
            },
            get: |draft, _| text(draft.settings.auth.mode.as_str()),
        },
        Key {
            name: "auth.hs256_secret",
            doc: "Secret that tokens are signed with (HS256).",
            secret: true,
            kind: Kind::Text {
                allowed: "at least 32 bytes, or empty",
                set: |draft, _, text| {
                    draft.unnamed_key.secret = secret(text);
                    Ok(())
                },
            },
            get: |draft, _| hidden(&draft.unnamed_key),
        },
        Key {
            name: "auth.public_key",
            doc: "Public key that verifies tokens. `\\n` in it stands for a line break.",
            secret: false,
            kind: Kind::Text {
                allowed: PEM,
                set: |draft, _, text| {
                    draft.unnamed_key.public_key = pem(&text);
                    Ok(())
                },
            },
            get: |draft, _| optional_text(draft.unnamed_key.public_key.as_ref()),
        },
        Key {
            name: "auth.public_key_algorithm",
            doc: "How `auth.public_key` signs. Empty: RS256, ES256 or EdDSA, as the key is.",
            secret: false,
            kind: Kind::Choice {
                words: || vec!["", "RS256", "PS256", "ES256", "EdDSA"],
                set: |draft, _, text| draft.unnamed_key.algorithm = Algorithm::parse(text),
            },
            get: |draft, _| optional_text(draft.unnamed_key.algorithm.map(Algorithm::as_str)),
        },
        Key {
            name: "auth.keys.*.algorithm",
            doc: "How a further key signs; its name is what a token's `kid` selects. Several keys serve rotation.",
            secret: false,
            kind: Kind::Choice {
                words: || [vec![""], words(&Algorithm::ALL, Algorithm::as_str)].concat(),
                set: |draft, id, text| draft.key(id).algorithm = Algorithm::parse(text),
            },
            get: |draft, id| optional_text(draft.key_now(id).algorithm.map(Algorithm::as_str)),
        },
        Key {
            name: "auth.keys.*.secret",
            doc: "Secret of a further key. Without an algorithm: HS256.",
            secret: true,
            kind: Kind::Text {
                allowed: "at least 32 bytes for HS256, 48 for HS384, 64 for HS512, or empty",
                set: |draft, id, text| {
                    draft.key(id).secret = secret(text);
                    Ok(())
                },
            },
            get: |draft, id| hidden(&draft.key_now(id)),
        },
        Key {
            name: "auth.keys.*.public_key",
            doc: "Public key of a further key. Without an algorithm: RS256, ES256 or EdDSA, as the key is.",
            secret: false,
            kind: Kind::Text {
                allowed: PEM,
                set: |draft, id, text| {
                    draft.key(id).public_key = pem(&text);
                    Ok(())
                },
            },
            get: |draft, id| optional_text(draft.key_now(id).public_key.as_ref()),
        },
        Key {
            name: "auth.jwks_url",
            doc: "Where the keys of a single issuer are fetched (JWKS); its `iss` is `auth.issuer`, or any. Several: `auth.issuers`.",
            secret: false,
            kind: Kind::Text {
                allowed: URL,
                set: |draft, _, text| {
                    draft.jwks_url = target(&text)?;
                    Ok(())
                },
            },
            get: |draft, _| optional_text(draft.jwks_url.as_ref().map(Target::text).as_ref()),
        },
        Key {
            name: "auth.jwks_refresh",
            doc: "How often key sets are fetched again: a withdrawn key counts for no longer. A token with an unknown key has them fetched at once, at most every 60 s.",
            secret: false,
            kind: Kind::Time {
                min: super::SECOND,
                max: Duration::from_hours(24),
                set: |draft, _, value| draft.settings.key_sets.refresh = value,
            },
            get: |draft, _| time(draft.settings.key_sets.refresh),
        },
        Key {
            name: "auth.jwks_timeout",
            doc: "How long one fetch may take. While fetches fail, the keys known before count.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(100),
                max: super::MINUTE,
                set: |draft, _, value| draft.settings.key_sets.timeout = value,
            },
            get: |draft, _| time(draft.settings.key_sets.timeout),
        },
        Key {
            name: "auth.issuer",
            doc: "The only accepted `iss` of tokens that the keys above verify. Empty: any.",
            secret: false,
            kind: Kind::Text {
                allowed: "a text, or empty",
                set: |draft, _, text| {
                    draft.settings.auth.issuer = (!text.is_empty()).then_some(text);
                    Ok(())
                },
            },
            get: |draft, _| optional_text(draft.settings.auth.issuer.as_ref()),
        },
        Key {
            name: "auth.audience",
            doc: "Accepted `aud`, one of which a token must name. Empty: tokens with `aud` are meant for others and refused.",
            secret: false,
            kind: Kind::List {
                allowed: "texts",
                set: |draft, _, items| {
                    draft.settings.auth.audience = items;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.auth.audience),
        },
        Key {
            name: "auth.leeway",
            doc: "How far the clocks of issuer and gateway may differ.",
            secret: false,
            kind: Kind::Time {
                min: super::NOTHING,
                max: super::MINUTE,
                set: |draft, _, value| draft.settings.auth.leeway = value,
            },
            get: |draft, _| time(draft.settings.auth.leeway),
        },
        Key {
            name: "auth.lifetime_max",
            doc: "Longest validity of a token, from its `iat`, else from now. Empty: any.",
            secret: false,
            kind: Kind::OptionalTime {
                min: super::SECOND,
                max: Duration::from_hours(24 * 3650),
                set: |draft, _, value| draft.settings.auth.lifetime_max = value,
            },
            get: |draft, _| optional_time(draft.settings.auth.lifetime_max),
        },
        Key {
            name: "auth.token_bytes_max",
            doc: "Longest token; a longer one is refused before it is decoded.",
            secret: false,
            kind: Kind::Bytes {
                min: 256,
                max: 64 * 1024,
                set: |draft, _, value| draft.settings.auth.token_bytes_max = value,
            },
            get: |draft, _| super::bytes(draft.settings.auth.token_bytes_max),
        },
        Key {
            name: "auth.required_claims",
            doc: "Claims that a token must have; `sub` it always must.",
            secret: false,
            kind: Kind::List {
                allowed: "`sub`, `exp`, `nbf`, `iat`, `iss`, `aud`, `jti`, `subscribe`, `publish`",
                set: |draft, _, items| {
                    let claims = items.iter().map(|item| {
                        Claim::parse(item).ok_or_else(|| format!("has the unknown claim `{item}`"))
                    });
                    draft.settings.auth.required_claims = claims.collect::<Result<_, _>>()?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.settings.auth.required_claims),
        },
        Key {
            name: "auth.default_subscribe",
            doc: "Topics that a token without the claim `subscribe` may subscribe to.",
            secret: false,
            kind: Kind::List {
                allowed: PATTERNS,
                set: |draft, _, items| {
                    draft.default_grants.subscribe = patterns(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.default_grants.subscribe),
        },
        Key {
            name: "auth.default_publish",
            doc: "Topics that a token without the claim `publish` may publish to.",
            secret: false,
            kind: Kind::List {
                allowed: PATTERNS,
                set: |draft, _, items| {
                    draft.default_grants.publish = patterns(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.default_grants.publish),
        },
        Key {
            name: "auth.anonymous_subscribe",
            doc: "Topics that a client without a token may subscribe to, in mode `optional`.",
            secret: false,
            kind: Kind::List {
                allowed: PATTERNS,
                set: |draft, _, items| {
                    draft.anonymous_grants.subscribe = patterns(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.anonymous_grants.subscribe),
        },
        Key {
            name: "auth.anonymous_publish",
            doc: "Topics that a client without a token may publish to, in mode `optional`.",
            secret: false,
            kind: Kind::List {
                allowed: PATTERNS,
                set: |draft, _, items| {
                    draft.anonymous_grants.publish = patterns(items)?;
                    Ok(())
                },
            },
            get: |draft, _| list(&draft.anonymous_grants.publish),
        },
        Key {
            name: "auth.revocation_keep",
            doc: "How long a revocation is kept that does not say otherwise. Longer than any token lives, or a revoked one is good again afterwards.",
            secret: false,
            kind: Kind::Time {
                min: super::MINUTE,
                max: Duration::from_hours(24 * 3650),
                set: |draft, _, value| draft.settings.auth.revocation_keep = value,
            },
            get: |draft, _| time(draft.settings.auth.revocation_keep),
        },
        Key {
            name: "auth.cookie_name",
            doc: "Cookie that may hold the token. Used only for pages of allowed origins.",
            secret: false,
            kind: Kind::Text {
                allowed: "letters, digits, `-`, `_` and `.`",
                set: |draft, _, text| {
                    let is_plain =
                        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                    if text.is_empty() || !text.bytes().all(is_plain) {
                        return Err("is no name of a cookie".to_owned());
                    }
                    draft.settings.auth.cookie_name = text;
                    Ok(())
                },
            },
            get: |draft, _| text(&draft.settings.auth.cookie_name),
        },
    ],
};

fn secret(text: String) -> Option<SecretString> {
    (!text.is_empty()).then(|| SecretString::from(text))
}

fn hidden(key: &DraftKey) -> Raw {
    optional_text(key.secret.as_ref().map(|_| "(hidden)"))
}

/// Environment variables often hold a PEM text in one line.
fn pem(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.replace("\\n", "\n"))
}

fn patterns(items: Vec<String>) -> Result<Vec<String>, String> {
    for item in &items {
        Grants::new(&[item], &[]).map_err(|error| format!("has `{item}`, which {error}"))?;
    }
    Grants::new(&items, &[]).map_err(|error| error.to_string())?;
    Ok(items)
}
