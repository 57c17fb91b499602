//! Issuers that publish their keys.

use super::{Section, list, optional_text};
use crate::key::{Key, Kind};
use crate::settings::Target;

pub(super) const URL: &str = "a URL that begins with https:// or http://, or empty";

pub(super) const ISSUERS: Section = Section {
    name: "auth.issuers",
    doc: "Issuers that publish their keys (JWKS), each under a name of your choice. The keys of an issuer verify the tokens that name it in `iss`, and no others. For a single one `auth.jwks_url` and `auth.issuer` are enough.",
    keys: &[
        Key {
            name: "auth.issuers.*.issuer",
            doc: "The `iss` of its tokens.",
            secret: false,
            kind: Kind::Text {
                allowed: "a text",
                set: |draft, name, text| {
                    draft.issuer(name).issuer = (!text.is_empty()).then_some(text);
                    Ok(())
                },
            },
            get: |draft, name| optional_text(draft.issuer_now(name).issuer.as_ref()),
        },
        Key {
            name: "auth.issuers.*.jwks_url",
            doc: "Where its keys are fetched.",
            secret: false,
            kind: Kind::Text {
                allowed: URL,
                set: |draft, name, text| {
                    draft.issuer(name).jwks_url = target(&text)?;
                    Ok(())
                },
            },
            get: |draft, name| {
                let url = draft.issuer_now(name).jwks_url;
                optional_text(url.map(|url| url.text()).as_ref())
            },
        },
        Key {
            name: "auth.issuers.*.audience",
            doc: "Accepted `aud` of its tokens. Empty: as `auth.audience`.",
            secret: false,
            kind: Kind::List {
                allowed: "texts",
                set: |draft, name, items| {
                    draft.issuer(name).audience = items;
                    Ok(())
                },
            },
            get: |draft, name| list(&draft.issuer_now(name).audience),
        },
    ],
};

/// Reads the URL of a backend.
pub(super) fn target(text: &str) -> Result<Option<Target>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Target::parse(text)
        .map(Some)
        .map_err(|error| error.to_string())
}
