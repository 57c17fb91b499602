//! How credentials are checked.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sparkway_protocol::limits;

use crate::{Claim, Grants};

/// Whether a credential is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every client proves who it is.
    #[default]
    Required,
    /// A client without a token is anonymous; a token that is given must be valid.
    Optional,
    /// Tokens are not looked at and everything is allowed: for development.
    Off,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Required, Self::Optional, Self::Off];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Off => "off",
        }
    }
}

/// How a key signs. Always a property of the key, never of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// HMAC with SHA-384 and a shared secret.
    Hs384,
    /// HMAC with SHA-512 and a shared secret.
    Hs512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 7] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Ps256,
        Self::Es256,
        Self::EdDsa,
    ];

    /// The name in configuration and in a token's header (RFC 7518, exact case).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this exact name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    /// Whether the key is a shared secret (else a PEM public key).
    #[must_use]
    pub const fn is_shared_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// The usual algorithm for the public key in a PEM text: RS256, ES256 or `EdDSA`.
    #[must_use]
    pub fn of_public_key(pem: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256, Self::EdDsa]
            .into_iter()
            .find(|algorithm| crate::verifier::public_key(*algorithm, pem).is_ok())
    }
}

/// A key, bound to its algorithm.
#[derive(Clone, Debug)]
pub struct Key {
    /// What a token's `kid` selects it by; a key without id is tried for every token of its
    /// algorithm.
    pub id: Option<Box<str>>,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The shared secret (at least as many bytes as the hash: 32, 48, 64), or the public key as
    /// PEM text (`BEGIN PUBLIC KEY`).
    pub material: SecretString,
}

impl Key {
    /// A key without an id.
    #[must_use]
    pub fn new(algorithm: Algorithm, material: impl Into<String>) -> Self {
        Self {
            id: None,
            algorithm,
            material: SecretString::from(material.into()),
        }
    }

    /// Gives it the id that a token's `kid` names.
    #[must_use]
    pub fn named(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    pub(crate) fn expose(&self) -> &str {
        self.material.expose_secret()
    }
}

/// Somebody who signs tokens with keys that he publishes and replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issuer {
    /// The `iss` of his tokens; his keys verify no others. Default: any that no other issuer has.
    pub issuer: Option<String>,
    /// Accepted `aud` of his tokens. Default: those of [`AuthSettings::audience`].
    pub audience: Vec<String>,
}

/// Who may connect, and how he proves it. The default requires tokens and has no key: it refuses
/// to start until one is configured.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Whether a credential is needed. Default `required`: an open gateway is a decision.
    pub mode: Mode,
    /// Keys that verify tokens, at most [`Self::KEYS_MAX`]. Default none.
    pub keys: Vec<Key>,
    /// Who publishes keys, at most [`Self::ISSUERS_MAX`]; the caller fetches them. Default none.
    pub issuers: Vec<Issuer>,
    /// Whether tokens are not verified here, because a backend does it. Default no.
    pub opaque_tokens: bool,
    /// The only accepted `iss` of tokens that configured keys verify. Default: any.
    pub issuer: Option<String>,
    /// Accepted `aud`, one of which a token must name. Default none: a token that carries `aud` is
    /// meant for somebody else and refused (RFC 7519, 4.1.3).
    pub audience: Vec<String>,
    /// How far clocks may differ. Default 5 s: more would make expiry meaningless for short tokens.
    pub leeway: Duration,
    /// Longest validity of a token, from its `iat`, else from now. Default: any.
    pub lifetime_max: Option<Duration>,
    /// Longest token in bytes, refused before it is decoded. Default 8 KiB.
    pub token_bytes_max: usize,
    /// Claims that must be present; `sub` always must. Default `exp`: a token without an end could
    /// never be withdrawn.
    pub required_claims: Vec<Claim>,
    /// What a token allows that has no `subscribe` or no `publish` claim. Default nothing.
    pub default_grants: Grants,
    /// What a client without a token may do in mode `optional`. Default nothing.
    pub anonymous_grants: Grants,
    /// How long a revocation is kept unless it says otherwise. Default 7 days: it must be longer than
    /// tokens live, or a revoked one is good again afterwards.
    pub revocation_keep: Duration,
    /// The cookie that may hold the token. Default `session` (`dialects.md` S1-07).
    pub cookie_name: String,
}

impl AuthSettings {
    /// Most keys: a token without a known `kid` may be tried with each of them.
    pub const KEYS_MAX: usize = 16;
    /// Most issuers that publish keys.
    pub const ISSUERS_MAX: usize = 16;
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            keys: Vec::new(),
            issuers: Vec::new(),
            opaque_tokens: false,
            issuer: None,
            audience: Vec::new(),
            leeway: Duration::from_secs(5),
            lifetime_max: None,
            token_bytes_max: limits::TOKEN_BYTES,
            required_claims: vec![Claim::Expiry],
            default_grants: Grants::none(),
            anonymous_grants: Grants::none(),
            revocation_keep: Duration::from_hours(7 * 24),
            cookie_name: "session".to_owned(),
        }
    }
}
