//! Credentials in, identity and grants out.
//!
//! *In*: the strings of a handshake or a first message ([`Offered`]), the settings, and the time.
//!
//! *Out*: an [`Admission`]: who the client is ([`Identity`]) and which topics he may use
//! ([`Grants`]), or an [`AuthError`].
//!
//! *Guarantees*: a token is accepted only if a configured key signed it with the algorithm that
//! this key is configured for; what the token's own header says selects among configured keys and
//! nothing else. Errors never contain bytes of the token.
//!
//! *Never*: I/O, clocks, randomness. The caller passes the time, and fetches nothing for a token.
//!
//! # Claims of a token
//!
//! | claim | kind | meaning |
//! |---|---|---|
//! | `sub` | string, 1 to 128 bytes | the user; always required |
//! | `exp` | number, Unix seconds | valid before it; required unless configured otherwise |
//! | `nbf` | number, Unix seconds | valid from it on |
//! | `iat` | number, Unix seconds | must not lie in the future |
//! | `iss` | string | must be the configured issuer, where one is configured |
//! | `aud` | string or list | must name a configured audience; refused where none is configured |
//! | `jti` | string | the token's id, for revocation |
//! | `subscribe` | pattern or list of patterns | topics the user may subscribe to |
//! | `publish` | pattern or list of patterns | topics the user may publish to |
//! | `name` or `username` | string | display name |
//! | `avatar` | string | URL of a picture |
//!
//! A pattern is an exact topic name, a prefix that ends with `*`, or `*` alone for every topic
//! (reserved `$…` topics excepted).
//!
//! *Next*: `sparkway-gateway`, which carries out what sessions decide.

mod claims;
mod credential;
mod error;
mod grants;
mod keyset;
mod mint;
mod pass;
mod revocation;
mod settings;
mod verifier;

pub use claims::{Identity, Profile};
pub use credential::{Credential, Offered, Origin};
pub use error::{AuthError, Claim, KeyError, KeyProblem};
pub use grants::{Grants, PatternError};
pub use keyset::{KeySet, KeySetError};
pub use mint::{MintError, NewToken, mint};
pub use pass::Pass;
pub use revocation::{Mark, Revocation, Revocations, Revoked, is_token_id};
pub use settings::{Algorithm, AuthSettings, Issuer, Key, Mode};
pub use verifier::{Admission, Verifier};
