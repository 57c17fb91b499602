//! Tokens that count no longer, although they are genuine and have not run out.

use std::collections::HashMap;

use sparkway_protocol::UserId;

use crate::Identity;

/// Which tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The one with this id (`jti`), at most [`Revocation::TOKEN_ID_BYTES_MAX`] bytes.
    Token(Box<str>),
    /// All of one user that were issued by a time.
    User(UserId),
    /// All of everybody that were issued by a time. Clients without a token are not concerned.
    Everyone,
}

/// A revocation, as it is kept until every token that it concerns has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which tokens.
    pub what: Revoked,
    /// Of a user and of everyone: tokens issued at or before this time (`iat`), in Unix
    /// milliseconds. A token that does not say when it was issued is revoked, too.
    pub issued_until_ms: u64,
    /// When it is forgotten, in Unix milliseconds. It must lie behind the expiry of every token
    /// that it concerns, or such a token is good again afterwards.
    pub until_ms: u64,
}

impl Revocation {
    /// Longest token id, in bytes.
    pub const TOKEN_ID_BYTES_MAX: usize = 256;

    /// The text that is kept in the store; [`Self::until_ms`] is kept beside it.
    #[must_use]
    pub fn to_record(&self) -> String {
        match &self.what {
            Revoked::Token(id) => format!("t:{id}"),
            Revoked::User(user) => format!("u:{}:{user}", self.issued_until_ms),
            Revoked::Everyone => format!("e:{}", self.issued_until_ms),
        }
    }

    /// Reads what [`Self::to_record`] wrote; `None` when it is of another version.
    #[must_use]
    pub fn from_record(record: &str, until_ms: u64) -> Option<Self> {
        let (kind, rest) = record.split_once(':')?;
        let (what, issued_until_ms) = match kind {
            "t" if is_token_id(rest) => (Revoked::Token(rest.into()), 0),
            "u" => {
                let (time, user) = rest.split_once(':')?;
                (Revoked::User(UserId::parse(user).ok()?), time.parse().ok()?)
            }
            "e" => (Revoked::Everyone, rest.parse().ok()?),
            _ => return None,
        };
        Some(Self {
            what,
            issued_until_ms,
            until_ms,
        })
    }
}

/// Whether a text can be the id of a token (`jti`): 1 to 256 bytes without control characters.
#[must_use]
pub fn is_token_id(text: &str) -> bool {
    (1..=Revocation::TOKEN_ID_BYTES_MAX).contains(&text.len())
        && !text.chars().any(char::is_control)
}

/// What of a credential decides whether it is revoked. Kept with the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The token's id (`jti`).
    pub token_id: Option<Box<str>>,
    /// When it was issued (`iat`), in Unix seconds.
    pub issued_at_s: Option<u64>,
}

impl Mark {
    /// The mark of a verified token.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self {
            token_id: identity.token_id.as_deref().map(Box::from),
            issued_at_s: identity.issued_at_s,
        }
    }
}

/// The revocations that hold now. Bounded by whoever fills it.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    tokens: HashMap<Box<str>, u64>,
    users: HashMap<UserId, Bound>,
    everyone: Option<Bound>,
}

/// Tokens issued until a time, for as long as another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bound {
    issued_until_ms: u64,
    until_ms: u64,
}

impl Bound {
    /// Of two bounds the stricter parts: never too few tokens are refused.
    fn widen(&mut self, other: Self) {
        self.issued_until_ms = self.issued_until_ms.max(other.issued_until_ms);
        self.until_ms = self.until_ms.max(other.until_ms);
    }

    fn covers(self, mark: &Mark, now_ms: u64) -> bool {
        let is_older = mark
            .issued_at_s
            .is_none_or(|issued_s| issued_s.saturating_mul(1000) <= self.issued_until_ms);
        self.until_ms > now_ms && is_older
    }
}

impl Revocations {
    /// Adds one; the same one twice counts once.
    pub fn insert(&mut self, revocation: &Revocation) {
        let bound = Bound {
            issued_until_ms: revocation.issued_until_ms,
            until_ms: revocation.until_ms,
        };
        match &revocation.what {
            Revoked::Token(id) => {
                let until = self.tokens.entry(id.clone()).or_default();
                *until = bound.until_ms.max(*until);
            }
            Revoked::User(user) => self.users.entry(user.clone()).or_default().widen(bound),
            Revoked::Everyone => self.everyone.get_or_insert_default().widen(bound),
        }
    }

    /// Forgets what is over.
    pub fn prune(&mut self, now_ms: u64) {
        self.tokens.retain(|_, until_ms| *until_ms > now_ms);
        self.users.retain(|_, bound| bound.until_ms > now_ms);
        self.everyone = self.everyone.filter(|bound| bound.until_ms > now_ms);
    }

    /// Whether a credential is revoked. Who has no user has no token, and nothing to revoke.
    #[must_use]
    pub fn cover(&self, user: Option<&UserId>, mark: &Mark, now_ms: u64) -> bool {
        let Some(user) = user else { return false };
        let by_id = mark
            .token_id
            .as_deref()
            .and_then(|id| self.tokens.get(id))
            .is_some_and(|until_ms| *until_ms > now_ms);
        let by_user = self.users.get(user);
        by_id
            || by_user.is_some_and(|bound| bound.covers(mark, now_ms))
            || self
                .everyone
                .is_some_and(|bound| bound.covers(mark, now_ms))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.users.len() + usize::from(self.everyone.is_some())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, to be written again where the store has lost them.
    #[must_use]
    pub fn all(&self) -> Vec<Revocation> {
        let one = |what, bound: Bound| Revocation {
            what,
            issued_until_ms: bound.issued_until_ms,
            until_ms: bound.until_ms,
        };
        let tokens = self.tokens.iter().map(|(id, &until_ms)| {
            let bound = Bound {
                issued_until_ms: 0,
                until_ms,
            };
            one(Revoked::Token(id.clone()), bound)
        });
        let users = self
            .users
            .iter()
            .map(|(user, bound)| one(Revoked::User(user.clone()), *bound));
        let everyone = self.everyone.map(|bound| one(Revoked::Everyone, bound));
        tokens.chain(users).chain(everyone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn mark(id: Option<&str>, issued_at_s: Option<u64>) -> Mark {
        Mark {
            token_id: id.map(Box::from),
            issued_at_s,
        }
    }

    fn revoke(what: Revoked) -> Revocation {
        Revocation {
            what,
            issued_until_ms: NOW_MS,
            until_ms: NOW_MS + 1000,
        }
    }

    #[test]
    fn a_token_id_concerns_that_token_only() {
        let mut known = Revocations::default();
        known.insert(&revoke(Revoked::Token("t1".into())));
        let (ada, now_s) = (user("ada"), NOW_MS / 1000);
        assert!(known.cover(Some(&ada), &mark(Some("t1"), None), NOW_MS));
        assert!(!known.cover(Some(&ada), &mark(Some("t2"), None), NOW_MS));
        assert!(!known.cover(Some(&ada), &mark(None, Some(now_s)), NOW_MS));
    }

    #[test]
    fn a_user_and_everyone_lose_what_was_issued_until_then() {
        let now_s = NOW_MS / 1000;
        for what in [Revoked::User(user("ada")), Revoked::Everyone] {
            let is_user = matches!(what, Revoked::User(_));
            let mut known = Revocations::default();
            known.insert(&revoke(what));
            let covers = |name, issued| known.cover(Some(&user(name)), &mark(None, issued), NOW_MS);
            assert!(covers("ada", Some(now_s - 1)) && covers("ada", Some(now_s)));
            assert!(!covers("ada", Some(now_s + 1)), "issued afterwards");
            assert!(covers("ada", None), "nobody knows when it was issued");
            assert_eq!(covers("eve", Some(now_s - 1)), !is_user);
            assert!(!known.cover(None, &Mark::default(), NOW_MS), "no token");
        }
    }

    #[test]
    fn a_revocation_ends_with_its_time_and_is_forgotten() {
        let mut known = Revocations::default();
        known.insert(&revoke(Revoked::Token("t".into())));
        known.insert(&revoke(Revoked::User(user("ada"))));
        known.insert(&revoke(Revoked::Everyone));
        assert_eq!((known.len(), known.all().len()), (3, 3));
        let later = NOW_MS + 1000;
        assert!(!known.cover(Some(&user("ada")), &mark(Some("t"), Some(1)), later));
        known.prune(later);
        assert!(known.is_empty());
    }

    #[test]
    fn two_revocations_of_one_user_are_as_strict_as_both() {
        let mut known = Revocations::default();
        let early = Revocation {
            what: Revoked::User(user("ada")),
            issued_until_ms: NOW_MS - 5000,
            until_ms: NOW_MS + 9000,
        };
        for order in [[0, 1], [1, 0]] {
            for at in order {
                known.insert([&early, &revoke(Revoked::User(user("ada")))][at]);
            }
            let issued = mark(None, Some(NOW_MS / 1000));
            assert!(known.cover(Some(&user("ada")), &issued, NOW_MS + 8000));
        }
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn records_round_trip_with_hostile_names() {
        for what in [
            Revoked::Token("a:b:{}é ".into()),
            Revoked::User(user("u:1:x{ms3}")),
            Revoked::Everyone,
        ] {
            let mut revocation = revoke(what);
            if matches!(revocation.what, Revoked::Token(_)) {
                revocation.issued_until_ms = 0;
            }
            let record = revocation.to_record();
            let read = Revocation::from_record(&record, revocation.until_ms);
            assert_eq!(read, Some(revocation));
        }
        for bad in ["", "t:", "u:x:ada", "u:1", "e:", "z:1", "t:a\nb"] {
            assert_eq!(Revocation::from_record(bad, 1), None, "{bad}");
        }
    }
}
