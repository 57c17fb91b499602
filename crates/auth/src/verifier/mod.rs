//! Tokens in, identities out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;
use sparkway_protocol::UserId;

use crate::claims::{self, Fields};
use crate::{
    Algorithm, AuthError, AuthSettings, Grants, Identity, Key, KeyError, KeyProblem, Mode,
};

/// Bytes of an uncompressed point of P-256: one for the form and twice 32.
const P256_POINT_BYTES: usize = 65;
/// Bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;
/// Fewest bytes of a DER `RSAPublicKey` with a modulus of 2048 bits.
const RSA_2048_DER_BYTES: usize = 256;

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

    /// Unix milliseconds at which the admission ends, if it does.
    #[must_use]
    pub const fn expires_at_ms(&self) -> Option<u64> {
        match self {
            Self::Anonymous(_) => None,
            Self::Identified(identity) => identity.expires_at_ms,
        }
    }
}

#[derive(Debug)]
struct BoundKey {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Verifies tokens with the configured keys. Immutable: new settings make a new one, which costs
/// a few microseconds per key.
#[derive(Debug)]
pub struct Verifier {
    settings: AuthSettings,
    keys: Vec<BoundKey>,
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
        if settings.keys.is_empty() && settings.mode != Mode::Off {
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
        Ok(Self { settings, keys })
    }

    /// Whether tokens are required, optional or ignored, where a route does not say otherwise.
    #[must_use]
    pub const fn mode(&self) -> Mode {
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
        self.check_signature(algorithm, key_id, signed, signature)?;
        claims::check(&Fields::parse(&payload)?, &self.settings, now_unix_s)
    }

    /// Tries the key that `kid` names, else every key of that algorithm. Each key verifies only
    /// the algorithm it is configured for, whatever the token says.
    fn check_signature(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        signed: &str,
        signature: &str,
    ) -> Result<(), AuthError> {
        let named =
            key_id.and_then(|id| self.keys.iter().find(|key| key.id.as_deref() == Some(id)));
        let mut is_configured = false;
        for key in &self.keys {
            let is_candidate = named.is_none_or(|named| std::ptr::eq(named, key));
            if !is_candidate || key.algorithm != algorithm {
                continue;
            }
            is_configured = true;
            let verified = jsonwebtoken::crypto::verify(
                signature,
                signed.as_bytes(),
                &key.key,
                foreign(key.algorithm),
            );
            if verified.unwrap_or(false) {
                return Ok(());
            }
        }
        Err(if is_configured {
            AuthError::Signature
        } else {
            AuthError::Algorithm
        })
    }
}

fn decode(segment: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| AuthError::Malformed)
}

fn bind(key: &Key) -> Result<BoundKey, KeyProblem> {
    let material = key.expose();
    let decoding = if key.algorithm.is_shared_secret() {
        shared_secret(key.algorithm, material)?
    } else {
        public_key(key.algorithm, material)?
    };
    Ok(BoundKey {
        id: key.id.clone(),
        algorithm: key.algorithm,
        key: decoding,
    })
}

pub(crate) fn shared_secret(algorithm: Algorithm, secret: &str) -> Result<DecodingKey, KeyProblem> {
    let bytes_min = match algorithm {
        Algorithm::Hs512 => 64,
        Algorithm::Hs384 => 48,
        Algorithm::Hs256
        | Algorithm::Rs256
        | Algorithm::Ps256
        | Algorithm::Es256
        | Algorithm::EdDsa => 32,
    };
    if secret.contains("-----BEGIN") {
        return Err(KeyProblem::PemAsSecret);
    }
    if secret.len() < bytes_min {
        return Err(KeyProblem::ShortSecret(bytes_min));
    }
    Ok(DecodingKey::from_secret(secret.as_bytes()))
}

pub(crate) fn public_key(algorithm: Algorithm, pem: &str) -> Result<DecodingKey, KeyProblem> {
    let no_key = KeyProblem::NotAKey(algorithm.as_str());
    if pem.contains("PRIVATE KEY") {
        return Err(KeyProblem::PrivateKey);
    }
    let read = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
        Algorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return Err(no_key),
    };
    let key = read.map_err(|_| no_key)?;
    let key_bytes = key.try_get_as_bytes().map_err(|_| no_key)?.len();
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 if key_bytes < RSA_2048_DER_BYTES => {
            Err(KeyProblem::ShortRsa)
        }
        Algorithm::Es256 if key_bytes != P256_POINT_BYTES => Err(no_key),
        Algorithm::EdDsa if key_bytes != ED25519_BYTES => Err(no_key),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Rs256
        | Algorithm::Ps256
        | Algorithm::Es256
        | Algorithm::EdDsa => Ok(key),
    }
}

/// The same algorithm in the words of the `jsonwebtoken` crate.
pub(crate) const fn foreign(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests;
