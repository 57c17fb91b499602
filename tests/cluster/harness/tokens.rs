//! Credentials for clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sparkway_auth::{NewToken, mint};
use sparkway_protocol::UserId;

/// The secret that nodes of tests share.
pub(crate) const SECRET: &str = "a-secret-of-the-tests-with-enough-bytes-in-it";

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// A token that grants topics to receive and to publish in.
pub(crate) fn token(user: &str, subscribe: &[&str], publish: &[&str]) -> String {
    signed(
        &plain(user)
            .subscribing(subscribe)
            .publishing(publish)
            .lasting(3600),
        SECRET,
    )
}

/// A token for everything, made with this secret.
pub(crate) fn signed_with(user: &str, secret: &str) -> String {
    signed(
        &plain(user)
            .subscribing(&["*"])
            .publishing(&["*"])
            .lasting(3600),
        secret,
    )
}

/// A token for everything that ends so long from now, or ended so long ago.
pub(crate) fn ending(user: &str, in_s: i64) -> String {
    let mut token = plain(user).subscribing(&["*"]).publishing(&["*"]);
    token.issued_at_s = now_s() - 3600;
    token.expires_at_s = Some(now_s().checked_add_signed(in_s).expect("a time"));
    signed(&token, SECRET)
}

/// A token for everything with an id, issued so long ago.
pub(crate) fn named(user: &str, token_id: &str, issued_ago_s: u64) -> String {
    let mut token = plain(user).subscribing(&["*"]).publishing(&["*"]);
    token.issued_at_s = now_s() - issued_ago_s;
    token.token_id = Some(token_id.to_owned());
    signed(&token.lasting(3600), SECRET)
}

/// A token for everything, signed with another secret.
pub(crate) fn forged(user: &str) -> String {
    let token = plain(user)
        .subscribing(&["*"])
        .publishing(&["*"])
        .lasting(3600);
    signed(&token, "another-secret-of-the-tests-with-enough-bytes")
}

fn plain(user: &str) -> NewToken {
    NewToken::new(UserId::parse(user).expect("a user id"), now_s())
}

fn signed(token: &NewToken, secret: &str) -> String {
    mint(token, &secret.to_owned().into()).expect("a token")
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_millis()).expect("a number")
}

/// A message id that lies so far ahead of the clock.
pub(crate) fn id_ahead(ahead: Duration) -> String {
    let ahead = u64::try_from(ahead.as_millis()).expect("a number");
    let since_2025 = now_ms() - 1_735_689_600_000 + ahead;
    (since_2025 * 4096).to_string()
}
