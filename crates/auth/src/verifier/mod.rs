//! Tokens in, identities out.

pub(crate) mod keys;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sparkway_protocol::UserId;

use crate::claims::{self, Demands, Fields};
use crate::{
    Algorithm, AuthError, AuthSettings, Grants, Identity, Key, KeyError, KeyProblem, KeySet, Mark,
    Mode, Pass,
};
use keys::{BoundKey, bind};
pub(crate) use keys::{foreign, public_key, shared_secret};

/// How somebody was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Without a token (mode `optional`), or with auth off.
    Anonymous(Grants),
    /// With a valid token.
    Identified(Identity),
}

impl Admission {
    /// The user, if known.
    #[must_use]
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::Anonymous(_) => None,
            Self::Identified(identity) => Some(&identity.user),
        }
    }

    /// What he may do.
    #[must_use]
    pub const fn grants(&self) -> &Grants {
        match self {
            Self::Anonymous(grants) => grants,
            Self::Identified(identity) => &identity.grants,
        }
    }

    /// What the session keeps of it.
    #[must_use]
    pub fn pass(&self) -> Pass {
        match self {
            Self::Anonymous(grants) => Pass::unmarked(grants.clone()),
            Self::Identified(identity) => Pass {
                grants: identity.grants.clone(),
                mark: Mark::of(identity),
            },
        }
    }

    /// Unix milliseconds at which the admission ends, if it does.
    #[must_use]
    pub const fn expires_at_ms(&self) -> Option<u64> {
        match self {
            Self::Anonymous(_) => None,
            Self::Identified(identity) => identity.expires_at_ms,
        }
    }
}

/// Verifies tokens with the configured keys and with the key sets of issuers. Immutable: new
/// settings or a new set make a new one, which costs a few microseconds.
#[derive(Clone, Debug)]
pub struct Verifier {
    settings: Arc<AuthSettings>,
    keys: Arc<[BoundKey]>,
    /// Of each issuer in the order of the settings, once it is known.
    sets: Vec<Option<Arc<KeySet>>>,
}

impl Verifier {
    /// Prepares the keys.
    ///
    /// # Errors
    /// The first key that cannot be used, or that there is none although the mode looks at tokens;
    /// the caller keeps the verifier it has, or does not start.
    pub fn new(mut settings: AuthSettings) -> Result<Self, KeyError> {
        let refuse = |id: Option<&Key>, problem| KeyError {
            id: id.and_then(|key| key.id.clone()),
            problem,
        };
        let has_none = settings.keys.is_empty() && settings.issuers.is_empty();
        if has_none && settings.mode != Mode::Off && !settings.opaque_tokens {
            return Err(refuse(None, KeyProblem::None));
        }
        if settings.keys.len() > AuthSettings::KEYS_MAX {
            return Err(refuse(None, KeyProblem::TooMany(AuthSettings::KEYS_MAX)));
        }
        let mut keys: Vec<BoundKey> = Vec::with_capacity(settings.keys.len());
        for key in std::mem::take(&mut settings.keys) {
            if key.id.is_some() && keys.iter().any(|other| other.id == key.id) {
                return Err(refuse(Some(&key), KeyProblem::SameId));
            }
            let bound = bind(&key).map_err(|problem| refuse(Some(&key), problem))?;
            keys.push(bound);
        }
        Ok(Self {
            sets: vec![None; settings.issuers.len()],
            settings: Arc::new(settings),
            keys: keys.into(),
        })
    }

    /// The same with the keys that an issuer publishes now, by its place in
    /// [`AuthSettings::issuers`].
    #[must_use]
    pub fn with_key_set(&self, issuer: usize, set: Arc<KeySet>) -> Self {
        let mut new = self.clone();
        if let Some(slot) = new.sets.get_mut(issuer) {
            *slot = Some(set);
        }
        new
    }

    /// What somebody may do whose credential says nothing of it.
    #[must_use]
    pub fn default_grants(&self) -> &Grants {
        &self.settings.default_grants
    }

    /// What nobody in particular may do.
    #[must_use]
    pub fn anonymous_grants(&self) -> &Grants {
        &self.settings.anonymous_grants
    }

    /// Whether tokens are not verified here, but by whoever is asked at connect.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.settings.opaque_tokens
    }

    /// Whether tokens are required, optional or ignored, where a route does not say otherwise.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// The name of the cookie that may hold the token.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.settings.cookie_name
    }

    /// Lets somebody in who came with or without a token, as `mode` demands: the route's, else
    /// [`Self::mode`]. With `off` a token is not looked at.
    ///
    /// # Errors
    /// Why not; the caller refuses the connection. In mode `optional` a bad token is an error, too:
    /// whoever shows one means to be somebody.
    pub fn admit(
        &self,
        token: Option<&str>,
        mode: Mode,
        now_unix_s: u64,
    ) -> Result<Admission, AuthError> {
        match (mode, token) {
            (Mode::Off, _) => Ok(Admission::Anonymous(Grants::all())),
            (Mode::Optional, None) => {
                Ok(Admission::Anonymous(self.settings.anonymous_grants.clone()))
            }
            (Mode::Required, None) => Err(AuthError::Missing),
            (Mode::Required | Mode::Optional, Some(token)) => {
                self.verify(token, now_unix_s).map(Admission::Identified)
            }
        }
    }

    /// Checks a token's size, form, signature and claims at the Unix time `now_unix_s` (seconds).
    ///
    /// # Errors
    /// The first check that fails; the caller refuses the connection or the refresh with
    /// [`AuthError::code`].
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, AuthError> {
        if token.len() > self.settings.token_bytes_max {
            return Err(AuthError::TooLong(self.settings.token_bytes_max));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        let header = Fields::parse(&decode(header)?)?;
        if header.get("crit").is_some() {
            return Err(AuthError::Critical);
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => Algorithm::parse(name).ok_or(AuthError::Algorithm)?,
            _ => return Err(AuthError::Malformed),
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(AuthError::Malformed),
        };
        let payload = decode(payload)?;
        if self.settings.issuers.is_empty() {
            check_signature(&self.keys, algorithm, key_id, (signed, signature))?;
            let demands = Demands::of(&self.settings, None);
            return claims::check(&Fields::parse(&payload)?, &demands, now_unix_s);
        }
        // Read before the signature is checked, to select among configured issuers, and for
        // nothing else.
        let claims = Fields::parse(&payload)?;
        let places = self.places(&claims)?;
        let issuer = self.check_place(&places, algorithm, key_id, (signed, signature))?;
        let demands = Demands::of(&self.settings, issuer);
        claims::check(&claims, &demands, now_unix_s)
    }

    /// Whose keys may have signed a token with this `iss`: those of an issuer count only for its
    /// own tokens, whatever their ids are.
    fn places(&self, claims: &Fields) -> Result<Vec<Place>, AuthError> {
        let issuer = match claims.get("iss") {
            None => None,
            Some(Value::String(issuer)) => Some(issuer.as_str()),
            Some(_) => return Err(AuthError::BadClaim(crate::Claim::Issuer)),
        };
        let named = |wanted: Option<&str>| {
            let mut all = self.settings.issuers.iter();
            all.position(|one| one.issuer.as_deref() == wanted)
        };
        let own = issuer.and_then(|issuer| named(Some(issuer)));
        let mut places = Vec::with_capacity(2);
        let wanted = self.settings.issuer.as_deref();
        let is_configured = match wanted {
            Some(wanted) => issuer == Some(wanted),
            None => own.is_none(),
        };
        if is_configured && !self.keys.is_empty() {
            places.push(Place::Configured);
        }
        places.extend(own.or_else(|| named(None)).map(Place::Published));
        match issuer {
            _ if !places.is_empty() => Ok(places),
            None => Err(AuthError::MissingClaim(crate::Claim::Issuer)),
            Some(_) => Err(AuthError::WrongIssuer),
        }
    }

    /// Tries the keys of these places; answers the issuer whose key it was.
    fn check_place(
        &self,
        places: &[Place],
        algorithm: Algorithm,
        key_id: Option<&str>,
        signed: (&str, &str),
    ) -> Result<Option<usize>, AuthError> {
        let mut refusal = AuthError::Algorithm;
        for place in places {
            let tried = match place {
                Place::Configured => {
                    check_signature(&self.keys, algorithm, key_id, signed).map(|()| None)
                }
                Place::Published(at) => {
                    let found = self.check_published(*at, algorithm, key_id, signed);
                    found.map(|()| Some(*at))
                }
            };
            match tried {
                Ok(issuer) => return Ok(issuer),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    /// A token that names a key is checked with that one alone.
    fn check_published(
        &self,
        issuer: usize,
        algorithm: Algorithm,
        key_id: Option<&str>,
        signed: (&str, &str),
    ) -> Result<(), AuthError> {
        let Some(set) = self.sets.get(issuer).and_then(Option::as_deref) else {
            return Err(AuthError::KeysUnknown(issuer));
        };
        if key_id.is_some_and(|id| !set.has(id)) {
            return Err(AuthError::KeyUnknown(issuer));
        }
        check_signature(set.keys(), algorithm, key_id, signed)
    }
}

/// Whose keys they are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Of the configuration.
    Configured,
    /// Of the issuer at this place of the settings.
    Published(usize),
}

/// Tries the key that `kid` names, else every key of that algorithm. Each key verifies only the
/// algorithm it is configured for, whatever the token says.
fn check_signature(
    keys: &[BoundKey],
    algorithm: Algorithm,
    key_id: Option<&str>,
    (signed, signature): (&str, &str),
) -> Result<(), AuthError> {
    let named = key_id.and_then(|id| keys.iter().find(|key| key.id.as_deref() == Some(id)));
    let mut is_configured = false;
    for key in keys {
        let is_candidate = named.is_none_or(|named| std::ptr::eq(named, key));
        if !is_candidate || key.algorithm != algorithm {
            continue;
        }
        is_configured = true;
        if key.has_signed(signed, signature) {
            return Ok(());
        }
    }
    Err(if is_configured {
        AuthError::Signature
    } else {
        AuthError::Algorithm
    })
}

fn decode(segment: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| AuthError::Malformed)
}

#[cfg(test)]
mod tests;
