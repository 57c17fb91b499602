//! Why a credential or a key was refused. No message holds a byte that a client sent.

use std::fmt;

use sparkway_protocol::Code;

/// A claim that the gateway looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// `sub`, the user.
    Subject,
    /// `exp`, the end of validity.
    Expiry,
    /// `nbf`, the begin of validity.
    NotBefore,
    /// `iat`, when it was made.
    IssuedAt,
    /// `iss`, who made it.
    Issuer,
    /// `aud`, for whom it was made.
    Audience,
    /// `jti`, its id.
    TokenId,
    /// `subscribe`, topic patterns.
    Subscribe,
    /// `publish`, topic patterns.
    Publish,
    /// `name` or `username`.
    Name,
    /// `avatar`.
    Avatar,
}

impl Claim {
    /// The claims that a configuration can require, by name.
    pub const REQUIRABLE: [Self; 9] = [
        Self::Subject,
        Self::Expiry,
        Self::NotBefore,
        Self::IssuedAt,
        Self::Issuer,
        Self::Audience,
        Self::TokenId,
        Self::Subscribe,
        Self::Publish,
    ];

    /// The name in the token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Expiry => "exp",
            Self::NotBefore => "nbf",
            Self::IssuedAt => "iat",
            Self::Issuer => "iss",
            Self::Audience => "aud",
            Self::TokenId => "jti",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Name => "name",
            Self::Avatar => "avatar",
        }
    }

    /// The requirable claim of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::REQUIRABLE
            .into_iter()
            .find(|claim| claim.as_str() == name)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// None was given although one is required.
    #[error("no token was given")]
    Missing,
    /// Longer than the limit (bytes); nothing of it was decoded.
    #[error("the token is longer than {0} bytes")]
    TooLong(usize),
    /// No three segments of base64url with JSON objects without repeated fields.
    #[error("the token is no signed JWT")]
    Malformed,
    /// No configured key has the algorithm that the token names.
    #[error("the token's algorithm is not configured")]
    Algorithm,
    /// The header demands extensions (`crit`); none is supported.
    #[error("the token demands header extensions that are not supported")]
    Critical,
    /// No configured key made the signature.
    #[error("the token's signature is not valid")]
    Signature,
    /// The issuer at this place of the settings does not publish the key that the token names:
    /// it may be newer than what is known of the issuer.
    #[error("the token's issuer does not publish the key that it names")]
    KeyUnknown(usize),
    /// Nothing is known yet of the keys of the issuer at this place of the settings.
    #[error("the keys of the token's issuer are not known yet")]
    KeysUnknown(usize),
    /// The backend that was asked said no.
    #[error("the backend does not let the client in")]
    Denied,
    /// The backend that is to be asked does not answer.
    #[error("the backend that decides cannot be asked")]
    Undecided,
    /// `exp` is in the past.
    #[error("the token has expired")]
    Expired,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// It is valid for longer than the configured maximum.
    #[error("the token is valid for longer than the configured maximum")]
    LivesTooLong,
    /// A required claim is absent.
    #[error("the token lacks the claim `{0}`")]
    MissingClaim(Claim),
    /// A claim has the wrong kind, length or characters.
    #[error("the claim `{0}` of the token is not well-formed")]
    BadClaim(Claim),
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    WrongAudience,
}

impl AuthError {
    /// The code that the client is told: whether its token ran out, or anything else.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Expired => Code::TokenExpired,
            Self::KeysUnknown(_) | Self::Undecided => Code::Unavailable,
            Self::KeyUnknown(_)
            | Self::Denied
            | Self::Missing
            | Self::TooLong(_)
            | Self::Malformed
            | Self::Algorithm
            | Self::Critical
            | Self::Signature
            | Self::Revoked
            | Self::NotYetValid
            | Self::IssuedInFuture
            | Self::LivesTooLong
            | Self::MissingClaim(_)
            | Self::BadClaim(_)
            | Self::WrongIssuer
            | Self::WrongAudience => Code::Unauthorized,
        }
    }
}

/// What is wrong with a configured key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Tokens are looked at, but there is nothing to verify them with.
    #[error("no key is configured")]
    None,
    /// More than [`crate::AuthSettings::KEYS_MAX`]: every one may be tried for a token.
    #[error("more than {0} keys are configured")]
    TooMany(usize),
    /// Two keys share an id, so `kid` does not select one.
    #[error("another key has the same id")]
    SameId,
    /// A shared secret of fewer bytes than its hash has (RFC 7518, 3.2).
    #[error("the secret is shorter than {0} bytes")]
    ShortSecret(usize),
    /// A PEM text as a shared secret: public keys are no secrets.
    #[error("the secret is a PEM text, which everybody may know; configure it as a public key")]
    PemAsSecret,
    /// A private key where a public one belongs.
    #[error("it is a private key; configure the public key only")]
    PrivateKey,
    /// Not a PEM public key of the kind that the algorithm needs.
    #[error("it is no PEM public key for {0}")]
    NotAKey(&'static str),
    /// An RSA key below 2048 bits.
    #[error("the RSA key has fewer than 2048 bits")]
    ShortRsa,
}

/// A key that cannot be used; the node does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", match &self.id { Some(id) => format!("auth key `{id}`"), None => "auth key".to_owned() })]
pub struct KeyError {
    /// The configured id of the key, if it has one.
    pub id: Option<Box<str>>,
    /// What is wrong.
    pub problem: KeyProblem,
}
