//! Sets of public keys as issuers publish them (JWKS).
//!
//! # Source
//! RFC 7517 (keys and sets), RFC 7518 6 (their parameters), RFC 8037 2 (Ed25519).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use crate::Algorithm;
use crate::verifier::keys::BoundKey;

/// Longest key id that is kept, in bytes.
const KEY_ID_BYTES_MAX: usize = 256;
/// Bytes of an RSA modulus: 2048 to 8192 bits; a longer one costs too much per token.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Most bytes of an RSA exponent: a long one makes every check slow.
const EXPONENT_BYTES_MAX: usize = 8;
/// Bytes of a coordinate of P-256, and of an Ed25519 key.
const POINT_BYTES: usize = 32;

/// Why a document is no set of keys. Holds no byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No JSON object with a list `keys`.
    #[error("is no JSON object with a list `keys`")]
    Malformed,
    /// More than [`KeySet::KEYS_MAX`].
    #[error("holds more than {0} keys")]
    TooMany(usize),
    /// None of its keys can verify tokens.
    #[error("holds no public key for RS256, PS256, ES256 or EdDSA")]
    NoKey,
}

/// The keys that one issuer publishes at a time.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<BoundKey>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeySet({} keys)", self.keys.len())
    }
}

impl KeySet {
    /// Most keys of one set: a token without `kid` may be tried with each of them.
    pub const KEYS_MAX: usize = 64;

    /// Reads a set. Keys that cannot verify tokens (of other kinds, for encryption, too short,
    /// private) are left out. The algorithm of a key is the one that it names, else the usual one
    /// of its kind: never the one that a token names.
    ///
    /// # Errors
    /// [`KeySetError`]: the caller keeps the set that it has.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let document: Value = serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        let listed = document.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or(KeySetError::Malformed)?;
        if listed.len() > Self::KEYS_MAX {
            return Err(KeySetError::TooMany(Self::KEYS_MAX));
        }
        let keys: Vec<BoundKey> = listed.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKey);
        }
        Ok(Self { keys })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn keys(&self) -> &[BoundKey] {
        &self.keys
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

fn key(jwk: &Value) -> Option<BoundKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let is_for_signatures = text("use").is_none_or(|wanted| wanted == "sig");
    let verifies = jwk.get("key_ops").is_none_or(|wanted| {
        let wanted = wanted.as_array();
        wanted.is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
    });
    // Who publishes a private key has lost it.
    if !is_for_signatures || !verifies || jwk.get("d").is_some() {
        return None;
    }
    let id = match jwk.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.as_str().into()),
        Some(_) => return None,
    };
    let algorithm = algorithm(text("kty")?, text("crv"), text("alg"))?;
    let part = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let key = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let (modulus, exponent) = (part("n")?, part("e")?);
            let modulus = modulus.strip_prefix(&[0]).unwrap_or(&modulus);
            let fits = MODULUS_BYTES.contains(&modulus.len())
                && (1..=EXPONENT_BYTES_MAX).contains(&exponent.len());
            fits.then(|| DecodingKey::from_rsa_raw_components(modulus, &exponent))?
        }
        Algorithm::Es256 => {
            let fits = part("x")?.len() == POINT_BYTES && part("y")?.len() == POINT_BYTES;
            fits.then(|| DecodingKey::from_ec_components(text("x")?, text("y")?).ok())??
        }
        Algorithm::EdDsa => {
            let fits = part("x")?.len() == POINT_BYTES;
            fits.then(|| DecodingKey::from_ed_components(text("x")?).ok())??
        }
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
    };
    Some(BoundKey { id, algorithm, key })
}

/// What a key verifies. A named algorithm must be one of its kind.
fn algorithm(kind: &str, curve: Option<&str>, named: Option<&str>) -> Option<Algorithm> {
    let possible: &[Algorithm] = match (kind, curve) {
        ("RSA", _) => &[Algorithm::Rs256, Algorithm::Ps256],
        ("EC", Some("P-256")) => &[Algorithm::Es256],
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDsa],
        _ => &[],
    };
    match named {
        None => possible.first().copied(),
        // RFC 9864 gives EdDSA on this curve a name of its own.
        Some("Ed25519") => possible
            .iter()
            .copied()
            .find(|one| *one == Algorithm::EdDsa),
        Some(named) => possible.iter().copied().find(|one| one.as_str() == named),
    }
}
