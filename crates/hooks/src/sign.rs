//! Signatures of requests: a backend can tell that the gateway sent them, when, and that nobody
//! changed them.
//!
//! # Source
//! The headers and the signed text are those of the Standard Webhooks specification 1.0, so that
//! backends can use its libraries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::Sha256;

/// Fewest bytes of a secret.
const BYTES_MIN: usize = 24;
/// What a secret in base64 begins with.
const BASE64_PREFIX: &str = "whsec_";

/// Why a text is no secret. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Too short.
    #[error("has fewer than {0} bytes")]
    Short(usize),
    /// Begins with `whsec_` and is no base64.
    #[error("begins with whsec_, but what follows is no base64")]
    Base64,
}

/// A secret that requests are signed with.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// Reads a secret: `whsec_` and base64 of the key, or a text whose bytes are the key.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let bytes = match text.strip_prefix(BASE64_PREFIX) {
            Some(coded) => STANDARD.decode(coded).map_err(|_| SecretError::Base64)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < BYTES_MIN {
            return Err(SecretError::Short(BYTES_MIN));
        }
        Ok(Self(bytes.into()))
    }

    fn mac(&self, id: &str, time_s: u64, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        mac.update(format!("{id}.{time_s}.").as_bytes());
        mac.update(body);
        Some(STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The values of the three headers of a signed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `webhook-timestamp`: Unix seconds.
    pub timestamp: String,
    /// `webhook-signature`: one `v1,<base64>` per secret, separated by spaces.
    pub signature: String,
}

/// Signs a request with every secret. A repeated request has the same `id` and a new time.
#[must_use]
pub fn sign(secrets: &[Secret], id: &str, time_s: u64, body: &[u8]) -> Signature {
    let all: Vec<String> = secrets
        .iter()
        .filter_map(|secret| Some(format!("v1,{}", secret.mac(id, time_s, body)?)))
        .collect();
    Signature {
        timestamp: time_s.to_string(),
        signature: all.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the specification's own test vectors.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = sign(&[secret], id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.timestamp, "1614265330");
        assert_eq!(
            signed.signature,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn two_secrets_give_two_signatures_and_each_part_is_covered() {
        let secrets = ["a".repeat(24), "b".repeat(24)].map(|text| Secret::parse(&text).unwrap());
        let both = sign(&secrets, "id", 1, b"body");
        assert_eq!(both.signature.split(' ').count(), 2);
        let first = sign(&secrets[..1], "id", 1, b"body");
        assert!(both.signature.starts_with(&first.signature));
        for other in [
            sign(&secrets[..1], "ie", 1, b"body"),
            sign(&secrets[..1], "id", 2, b"body"),
            sign(&secrets[..1], "id", 1, b"bodz"),
        ] {
            assert_ne!(other.signature, first.signature);
        }
    }

    #[test]
    fn a_weak_secret_is_refused_and_none_is_shown() {
        assert_eq!(Secret::parse("short").unwrap_err(), SecretError::Short(24));
        assert_eq!(
            Secret::parse("whsec_AAAA").unwrap_err(),
            SecretError::Short(24)
        );
        assert_eq!(Secret::parse("whsec_???").unwrap_err(), SecretError::Base64);
        let secret = Secret::parse(&"s".repeat(24)).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }
}
