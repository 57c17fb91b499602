//! Configured keys, each bound to the one algorithm that it verifies.

use jsonwebtoken::DecodingKey;

use crate::{Algorithm, Key, KeyProblem};

/// Bytes of an uncompressed point of P-256: one for the form and twice 32.
const P256_POINT_BYTES: usize = 65;
/// Bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;
/// Fewest bytes of a DER `RSAPublicKey` with a modulus of 2048 bits.
const RSA_2048_DER_BYTES: usize = 256;

/// A key that verifies tokens of one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct BoundKey {
    pub(crate) id: Option<Box<str>>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl BoundKey {
    /// Whether it made the signature of a text, by its own algorithm.
    pub(crate) fn has_signed(&self, signed: &str, signature: &str) -> bool {
        let algorithm = foreign(self.algorithm);
        let verified =
            jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, algorithm);
        verified.unwrap_or(false)
    }
}

pub(crate) fn bind(key: &Key) -> Result<BoundKey, KeyProblem> {
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
