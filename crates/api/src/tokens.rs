//! Tokens that count no longer.

use sparkway_gateway::{Revocation, Revoked};
use sparkway_protocol::UserId;

use crate::answer::{Answered, Reply};
use crate::call::Call;
use crate::problem::Problem;
use crate::shape::shapes;

shapes! {
    /// Which tokens to revoke: exactly one of `token_id`, `user` and `everyone`.
    Revoke {
        /// The token with this id (`jti`).
        token_id: Option<String>,
        /// All tokens of this user that were issued until `issued_until`.
        user: Option<String>,
        /// All tokens of everybody that were issued until `issued_until`.
        everyone: Option<bool>,
        /// Unix milliseconds; usually now.
        issued_until: Option<u64>,
        /// Unix milliseconds until which the revocation is kept; it must lie behind the expiry of every token concerned. Usually as `auth.revocation_keep` says.
        until: Option<u64>,
    }

    /// What was revoked.
    RevokedTokens {
        /// Tokens issued until then, in Unix milliseconds.
        issued_until: u64,
        /// How long it is kept, in Unix milliseconds.
        until: u64,
    }
}

/// `POST /v1/tokens/revoke`.
pub(crate) async fn revoke(call: Call) -> Answered {
    let Revoke {
        token_id,
        user,
        everyone,
        issued_until,
        until,
    } = call.json()?;
    let what = match (token_id, user, everyone) {
        (Some(id), None, None) => {
            let is_id = (1..=Revocation::TOKEN_ID_BYTES_MAX).contains(&id.len())
                && !id.chars().any(char::is_control);
            if !is_id {
                let rule = "is not 1 to 256 bytes without control characters";
                return Err(Problem::at("/token_id", rule));
            }
            Revoked::Token(id.into())
        }
        (None, Some(user), None) => {
            let user = UserId::parse(&user).map_err(|rule| Problem::at("/user", rule))?;
            Revoked::User(user)
        }
        (None, None, Some(true)) => Revoked::Everyone,
        _ => {
            return Err(Problem::invalid(
                "exactly one of token_id, user and everyone (true) is needed",
            ));
        }
    };
    if until.is_some_and(|until| until <= call.desk.now_ms()) {
        return Err(Problem::at("/until", "has passed"));
    }
    let revocation = call.desk.revoke(what, issued_until, until).await?;
    Reply::ok(&RevokedTokens {
        issued_until: revocation.issued_until_ms,
        until: revocation.until_ms,
    })
}
