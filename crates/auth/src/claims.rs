//! What a verified token says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use sparkway_protocol::UserId;

use crate::{AuthError, AuthSettings, Claim, Grants};

/// Longest display name, avatar URL and token id that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What other users may see of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Display name (claim `name`, else `username`), at most 256 bytes.
    pub name: Option<Box<str>>,
    /// URL of a picture (claim `avatar`), at most 256 bytes.
    pub avatar: Option<Box<str>>,
}

/// Who somebody is and what he may do, as a valid token said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user (`sub`).
    pub user: UserId,
    /// His topics.
    pub grants: Grants,
    /// Unix milliseconds at which the token ends (`exp`, without leeway), if it does.
    pub expires_at_ms: Option<u64>,
    /// The token's own id (`jti`), at most 256 bytes.
    pub token_id: Option<String>,
    /// Unix seconds at which the token was issued (`iat`), if it says so.
    pub issued_at_s: Option<u64>,
    /// What others may see of him.
    pub profile: Profile,
}

/// A JSON object whose fields are all different: what stands twice could be read differently by
/// whoever issued the token.
pub(crate) struct Fields(BTreeMap<String, Value>);

impl Fields {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, AuthError> {
        serde_json::from_slice(json).map_err(|_| AuthError::Malformed)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Fields;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = input.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("repeated field"));
                    }
                }
                Ok(Fields(fields))
            }
        }
        input.deserialize_map(Unique)
    }
}

/// What a token must say.
pub(crate) struct Demands<'a> {
    settings: &'a AuthSettings,
    issuer: Option<&'a str>,
    audience: &'a [String],
}

impl<'a> Demands<'a> {
    /// What the settings demand of a token that was signed by a configured key, or by one of the
    /// issuer at this place.
    pub(crate) fn of(settings: &'a AuthSettings, issuer: Option<usize>) -> Self {
        let issuer = issuer.and_then(|at| settings.issuers.get(at));
        let own = issuer.map_or(&[][..], |issuer| &issuer.audience);
        Self {
            settings,
            issuer: match issuer {
                Some(issuer) => issuer.issuer.as_deref(),
                None => settings.issuer.as_deref(),
            },
            audience: if own.is_empty() {
                &settings.audience
            } else {
                own
            },
        }
    }
}

/// Checks the claims of a token whose signature is valid.
pub(crate) fn check(
    claims: &Fields,
    demands: &Demands<'_>,
    now_unix_s: u64,
) -> Result<Identity, AuthError> {
    let settings = demands.settings;
    for &claim in &settings.required_claims {
        if claims.get(claim.as_str()).is_none() {
            return Err(AuthError::MissingClaim(claim));
        }
    }
    let expires_s = check_times(claims, settings, now_unix_s)?;
    check_issuer(claims, demands.issuer)?;
    check_audience(claims, demands.audience)?;
    let user = text(claims, Claim::Subject, Claim::Subject.as_str())?
        .ok_or(AuthError::MissingClaim(Claim::Subject))?;
    let name = match text(claims, Claim::Name, "name")? {
        Some(name) => Some(name),
        None => text(claims, Claim::Name, "username")?,
    };
    Ok(Identity {
        user: UserId::parse(user).map_err(|_| AuthError::BadClaim(Claim::Subject))?,
        grants: grants(claims, settings)?,
        expires_at_ms: expires_s.map(|seconds| seconds.saturating_mul(1000)),
        token_id: short(text(claims, Claim::TokenId, "jti")?, Claim::TokenId)?.map(str::to_owned),
        issued_at_s: seconds(claims, Claim::IssuedAt)?,
        profile: Profile {
            name: short(name, Claim::Name)?.map(Box::from),
            avatar: short(text(claims, Claim::Avatar, "avatar")?, Claim::Avatar)?.map(Box::from),
        },
    })
}

/// Expiry, begin, issue and length of life, each with the leeway; returns `exp`.
fn check_times(
    claims: &Fields,
    settings: &AuthSettings,
    now_s: u64,
) -> Result<Option<u64>, AuthError> {
    let leeway_s = settings.leeway.as_secs();
    let latest_s = now_s.saturating_add(leeway_s);
    let expires_s = seconds(claims, Claim::Expiry)?;
    if expires_s.is_some_and(|at| now_s >= at.saturating_add(leeway_s)) {
        return Err(AuthError::Expired);
    }
    if seconds(claims, Claim::NotBefore)?.is_some_and(|at| at > latest_s) {
        return Err(AuthError::NotYetValid);
    }
    let issued_s = seconds(claims, Claim::IssuedAt)?;
    if issued_s.is_some_and(|at| at > latest_s) {
        return Err(AuthError::IssuedInFuture);
    }
    if let Some(longest) = settings.lifetime_max {
        let life_s = expires_s.map(|at| at.saturating_sub(issued_s.unwrap_or(now_s)));
        if life_s.is_none_or(|life| life > longest.as_secs()) {
            return Err(AuthError::LivesTooLong);
        }
    }
    Ok(expires_s)
}

fn check_issuer(claims: &Fields, wanted: Option<&str>) -> Result<(), AuthError> {
    let issuer = text(claims, Claim::Issuer, "iss")?;
    match (wanted, issuer) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(AuthError::MissingClaim(Claim::Issuer)),
        (Some(wanted), Some(issuer)) if wanted == issuer => Ok(()),
        (Some(_), Some(_)) => Err(AuthError::WrongIssuer),
    }
}

fn check_audience(claims: &Fields, audience: &[String]) -> Result<(), AuthError> {
    let Some(named) = texts(claims, Claim::Audience)? else {
        return if audience.is_empty() {
            Ok(())
        } else {
            Err(AuthError::MissingClaim(Claim::Audience))
        };
    };
    let is_ours = named
        .iter()
        .any(|name| audience.iter().any(|ours| ours == name));
    if is_ours {
        Ok(())
    } else {
        Err(AuthError::WrongAudience)
    }
}

fn grants(claims: &Fields, settings: &AuthSettings) -> Result<Grants, AuthError> {
    let mut grants = settings.default_grants.clone();
    if let Some(patterns) = texts(claims, Claim::Subscribe)? {
        grants = grants
            .with_subscribe(&patterns)
            .map_err(|_| AuthError::BadClaim(Claim::Subscribe))?;
    }
    if let Some(patterns) = texts(claims, Claim::Publish)? {
        grants = grants
            .with_publish(&patterns)
            .map_err(|_| AuthError::BadClaim(Claim::Publish))?;
    }
    Ok(grants)
}

/// A number of seconds since 1970, whole or not (RFC 7519, `NumericDate`).
fn seconds(claims: &Fields, claim: Claim) -> Result<Option<u64>, AuthError> {
    let Some(value) = claims.get(claim.as_str()) else {
        return Ok(None);
    };
    let whole = value.as_u64().or_else(|| {
        let fraction = value.as_f64()?;
        Some(Duration::try_from_secs_f64(fraction).ok()?.as_secs())
    });
    whole.map(Some).ok_or(AuthError::BadClaim(claim))
}

/// A text, or `None` when the claim is absent.
fn text<'a>(claims: &'a Fields, claim: Claim, name: &str) -> Result<Option<&'a str>, AuthError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AuthError::BadClaim(claim)),
    }
}

/// One text or a list of texts, or `None` when the claim is absent.
fn texts(claims: &Fields, claim: Claim) -> Result<Option<Vec<&str>>, AuthError> {
    match claims.get(claim.as_str()) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text])),
        Some(Value::Array(list)) => list
            .iter()
            .map(|item| item.as_str().ok_or(AuthError::BadClaim(claim)))
            .collect::<Result<Vec<_>, _>>()
            .map(Some),
        Some(_) => Err(AuthError::BadClaim(claim)),
    }
}

fn short(text: Option<&str>, claim: Claim) -> Result<Option<&str>, AuthError> {
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) => {
            Err(AuthError::BadClaim(claim))
        }
        kept => Ok(kept),
    }
}
