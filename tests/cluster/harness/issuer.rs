//! Somebody who signs tokens with keys that he publishes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{SignatureScheme, sign};
use serde_json::{Value, json};

use super::tokens::now_s;

/// What stands before the 32 random bytes of an Ed25519 key (RFC 8410).
const PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// One of his keys.
pub(crate) struct SigningKey {
    key: Arc<dyn sign::SigningKey>,
    pub(crate) id: String,
}

impl SigningKey {
    pub(crate) fn new(id: &str) -> Self {
        let seed: [u8; 32] = rand::random();
        let der = [&PREFIX[..], &seed].concat();
        let der = PrivatePkcs8KeyDer::from(der);
        Self {
            key: any_eddsa_type(&der).expect("a key"),
            id: id.to_owned(),
        }
    }

    /// The public half.
    pub(crate) fn published(&self) -> Value {
        let public = self.key.public_key().expect("a public half");
        let key = URL_SAFE_NO_PAD.encode(&public[public.len() - 32..]);
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": key})
    }

    /// A token for everything.
    pub(crate) fn token(&self, user: &str, issuer: &str) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.id});
        let claims = json!({
            "sub": user, "iss": issuer, "exp": now_s() + 3600,
            "subscribe": "*", "publish": "*",
        });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let scheme = self.key.choose_scheme(&[SignatureScheme::ED25519]);
        let signature = scheme.expect("Ed25519").sign(signed.as_bytes());
        let signature = signature.expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The set of some keys.
pub(crate) fn set(keys: &[&SigningKey]) -> Value {
    let keys: Vec<Value> = keys.iter().map(|key| key.published()).collect();
    json!({"keys": keys})
}
