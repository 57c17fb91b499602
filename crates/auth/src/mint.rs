//! Making tokens: for the command line and for tests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sparkway_protocol::UserId;

use crate::verifier::{foreign, shared_secret};
use crate::{Algorithm, Claim, Grants, KeyProblem, PatternError};

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The user (`sub`).
    pub user: UserId,
    /// Unix seconds at which it is made (`iat`).
    pub issued_at_s: u64,
    /// Unix seconds at which it ends (`exp`), if it does.
    pub expires_at_s: Option<u64>,
    /// Topic patterns (`subscribe`).
    pub subscribe: Vec<String>,
    /// Topic patterns (`publish`).
    pub publish: Vec<String>,
    /// Who makes it (`iss`).
    pub issuer: Option<String>,
    /// For whom (`aud`).
    pub audience: Option<String>,
    /// Its id (`jti`).
    pub token_id: Option<String>,
    /// Which key of the gateway verifies it (`kid` of the header).
    pub key_id: Option<String>,
    /// Further claims. A value that is JSON is taken as such, anything else as a text.
    pub claims: Vec<(String, String)>,
}

impl NewToken {
    /// A token for `user` without end and without grants.
    #[must_use]
    pub const fn new(user: UserId, issued_at_s: u64) -> Self {
        Self {
            user,
            issued_at_s,
            expires_at_s: None,
            subscribe: Vec::new(),
            publish: Vec::new(),
            issuer: None,
            audience: None,
            token_id: None,
            key_id: None,
            claims: Vec::new(),
        }
    }

    /// Ends so many seconds after it was made.
    #[must_use]
    pub const fn lasting(mut self, seconds: u64) -> Self {
        self.expires_at_s = Some(self.issued_at_s.saturating_add(seconds));
        self
    }

    /// Allows to subscribe to these topics.
    #[must_use]
    pub fn subscribing(mut self, patterns: &[&str]) -> Self {
        self.subscribe = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        self
    }

    /// Allows to publish to these topics.
    #[must_use]
    pub fn publishing(mut self, patterns: &[&str]) -> Self {
        self.publish = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        self
    }

    fn payload(&self) -> Result<BTreeMap<&str, Value>, MintError> {
        let mut claims = BTreeMap::new();
        for (name, value) in &self.claims {
            if Claim::parse(name).is_some() {
                return Err(MintError::OwnOption(name.clone()));
            }
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            claims.insert(name.as_str(), value);
        }
        claims.insert("sub", json!(self.user.as_str()));
        claims.insert("iat", json!(self.issued_at_s));
        claims.insert("subscribe", json!(self.subscribe));
        claims.insert("publish", json!(self.publish));
        let texts = [
            ("iss", &self.issuer),
            ("aud", &self.audience),
            ("jti", &self.token_id),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                claims.insert(name, json!(text));
            }
        }
        if let Some(end) = self.expires_at_s {
            claims.insert("exp", json!(end));
        }
        Ok(claims)
    }
}

/// Why a token was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The secret cannot be used.
    #[error("{0}")]
    Key(KeyProblem),
    /// A topic pattern cannot be granted.
    #[error("a topic pattern {0}")]
    Pattern(PatternError),
    /// A further claim that has a field of its own.
    #[error("the claim `{0}` cannot be given as a further claim: it has an option of its own")]
    OwnOption(String),
    /// The token would be longer than a gateway takes (bytes).
    #[error("the token would be longer than {0} bytes")]
    TooLong(usize),
    /// Serialising or signing failed.
    #[error("the token could not be signed")]
    Signing,
}

/// Makes a token signed with HS256.
///
/// # Errors
/// What cannot be signed or would not be accepted by a gateway; nothing was made.
pub fn mint(token: &NewToken, secret: &SecretString) -> Result<String, MintError> {
    Grants::new(&token.subscribe, &token.publish).map_err(MintError::Pattern)?;
    let secret = secret.expose_secret();
    shared_secret(Algorithm::Hs256, secret).map_err(MintError::Key)?;
    let key = EncodingKey::from_secret(secret.as_bytes());
    let header = match &token.key_id {
        Some(id) => json!({"alg": "HS256", "typ": "JWT", "kid": id}),
        None => json!({"alg": "HS256", "typ": "JWT"}),
    };
    let payload = serde_json::to_vec(&token.payload()?).map_err(|_| MintError::Signing)?;
    let signed = sign(&header, &payload, Algorithm::Hs256, &key)?;
    if signed.len() > sparkway_protocol::limits::TOKEN_BYTES {
        return Err(MintError::TooLong(sparkway_protocol::limits::TOKEN_BYTES));
    }
    Ok(signed)
}

/// Signs any header and payload, also wrong ones: the tests make those.
pub(crate) fn sign(
    header: &Value,
    payload: &[u8],
    algorithm: Algorithm,
    key: &EncodingKey,
) -> Result<String, MintError> {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, foreign(algorithm))
        .map_err(|_| MintError::Signing)?;
    Ok(format!("{message}.{signature}"))
}
