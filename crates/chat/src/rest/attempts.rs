//! How often one address may register or log in, and how often one may guess a password: per
//! node, since it is there to make guessing slow and not to count exactly.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use sparkway_gateway::application::{Host, RateScope};
use sparkway_gateway::settings::ChatSettings;

use super::{Refusal, refuse};
use crate::Chat;

const MINUTE_MS: u64 = 60_000;
/// Addresses or accounts that are told apart; the rest share one.
const MOST: usize = 65_536;

/// The accounts of those who ask.
#[derive(Debug)]
pub(crate) struct Attempts {
    registrations: Pace,
    logins: Pace,
    failures: Pace,
}

impl Attempts {
    pub(crate) fn new(settings: &ChatSettings) -> Self {
        Self {
            registrations: Pace::new(settings.registrations_per_address),
            logins: Pace::new(settings.logins_per_address),
            failures: Pace::new(settings.failed_logins_per_account),
        }
    }
}

/// Lets so many through in a minute, and as many at once, for each of many.
#[derive(Debug)]
struct Pace {
    /// Milliseconds that one costs; none: no limit.
    cost_ms: Option<u64>,
    hasher: RandomState,
    known: Mutex<Known>,
}

/// When each would have paid for what it took, by a hash of its name.
#[derive(Debug)]
struct Known {
    paid_ms: HashMap<u64, u64>,
    /// So many are looked through for those that can be forgotten.
    sweep_at: usize,
}

impl Pace {
    fn new(per_minute: Option<u32>) -> Self {
        Self {
            cost_ms: per_minute.map(|count| (MINUTE_MS / u64::from(count.max(1))).max(1)),
            hasher: RandomState::new(),
            known: Mutex::new(Known {
                paid_ms: HashMap::new(),
                sweep_at: 1024,
            }),
        }
    }

    /// Takes one, or says after how many seconds there is one.
    fn take(&self, name: &impl Hash, now_ms: u64) -> Result<(), u64> {
        let Some(cost_ms) = self.cost_ms else {
            return Ok(());
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_ms = known.of(self.hasher.hash_one(name), now_ms);
        let owed_ms = paid_ms.saturating_sub(now_ms).saturating_add(cost_ms);
        if owed_ms > MINUTE_MS {
            return Err((owed_ms - MINUTE_MS).div_ceil(1000));
        }
        *paid_ms = now_ms.saturating_add(owed_ms);
        Ok(())
    }

    /// What was taken does not count.
    fn give_back(&self, name: &impl Hash, now_ms: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_ms = known.of(self.hasher.hash_one(name), now_ms);
        *paid_ms = paid_ms.saturating_sub(self.cost_ms.unwrap_or(0));
    }
}

impl Known {
    fn of(&mut self, name: u64, now_ms: u64) -> &mut u64 {
        if self.paid_ms.len() >= self.sweep_at {
            self.paid_ms.retain(|_, paid_ms| *paid_ms > now_ms);
            self.sweep_at = (self.paid_ms.len() * 2).clamp(1024, MOST);
        }
        let is_told_apart = self.paid_ms.len() < MOST || self.paid_ms.contains_key(&name);
        // No hash of a name is likely to be zero.
        self.paid_ms
            .entry(if is_told_apart { name } else { 0 })
            .or_insert(now_ms)
    }
}

impl Chat {
    fn mono_ms(&self) -> u64 {
        self.host.get().map_or(0, Host::mono_ms)
    }

    fn too_many(&self, scope: RateScope, seconds: u64) -> Refusal {
        if let Some(host) = self.host.get() {
            host.count_limited(scope);
        }
        let refusal = refuse(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
        Refusal {
            retry_after_s: Some(seconds),
            ..refusal
        }
    }

    /// An address wants to register.
    pub(super) fn may_register(&self, from: IpAddr) -> Result<(), Refusal> {
        let taken = self.attempts.registrations.take(&from, self.mono_ms());
        taken.map_err(|seconds| self.too_many(RateScope::ChatRegistrations, seconds))
    }

    /// An address wants to log in to an account. Counts as a failure until it is not one.
    pub(super) fn may_log_in(&self, from: IpAddr, account: &str) -> Result<(), Refusal> {
        let now_ms = self.mono_ms();
        let taken = self.attempts.logins.take(&from, now_ms);
        let taken = taken.and_then(|()| self.attempts.failures.take(&account, now_ms));
        taken.map_err(|seconds| self.too_many(RateScope::ChatLogins, seconds))
    }

    /// Somebody knew the password of an account.
    pub(super) fn logged_in_to(&self, account: &str) {
        self.attempts.failures.give_back(&account, self.mono_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_minute_and_the_refusal_says_when() {
        let pace = Pace::new(Some(3));
        for _ in 0..3 {
            pace.take(&"ada", 1000).unwrap();
        }
        assert_eq!(pace.take(&"ada", 1000), Err(20));
        assert_eq!(pace.take(&"ada", 20_999), Err(1));
        pace.take(&"bob", 1000).unwrap();
        pace.take(&"ada", 21_000).unwrap();
        assert_eq!(pace.take(&"ada", 21_000), Err(20));
        pace.give_back(&"ada", 21_000);
        pace.take(&"ada", 21_000).unwrap();
        let none = Pace::new(None);
        assert!((0..1000).all(|_| none.take(&"ada", 0).is_ok()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_paid() {
        let pace = Pace::new(Some(1));
        for name in 0..2 * MOST {
            assert!(pace.take(&name, 0).is_ok() || name >= MOST);
        }
        let count = || pace.known.lock().unwrap().paid_ms.len();
        assert!(count() <= MOST + 1, "{}", count());
        assert!(pace.take(&"somebody new", 0).is_err(), "the rest share one");
        pace.take(&"somebody new", MINUTE_MS).unwrap();
        assert_eq!(count(), 1);
    }
}
