//! How often one address may register or log in, how often one may guess a password, and how often
//! one user may send: per node, since it is there to make guessing slow, and what is sent bearable,
//! and not to count exactly.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use sparkway_gateway::application::{Host, RateScope};
use sparkway_gateway::settings::Settings;

use super::{Refusal, refuse};
use crate::Chat;
use crate::users::User;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
/// Addresses or accounts that are told apart; the rest share one.
const MOST: usize = 65_536;

/// The accounts of those who ask.
#[derive(Debug)]
pub(crate) struct Attempts {
    registrations: Pace,
    logins: Pace,
    failures: Pace,
    messages: Pace,
}

impl Attempts {
    pub(crate) fn new(settings: &Settings) -> Self {
        let (chat, limits) = (&settings.chat, &settings.limits);
        Self {
            registrations: Pace::per_minute(chat.registrations_per_address),
            logins: Pace::per_minute(chat.logins_per_address),
            failures: Pace::per_minute(chat.failed_logins_per_account),
            messages: Pace::per_second(limits.frames_per_second, limits.frames_burst),
        }
    }
}

/// Lets so many through in a time, and so many at once, for each of many.
#[derive(Debug)]
struct Pace {
    /// Microseconds that one costs, and that may be owed; none: no limit.
    cost: Option<(u64, u64)>,
    hasher: RandomState,
    known: Mutex<Known>,
}

/// When each would have paid for what it took, by a hash of its name.
#[derive(Debug)]
struct Known {
    paid_us: HashMap<u64, u64>,
    /// So many are looked through for those that can be forgotten.
    sweep_at: usize,
}

impl Pace {
    /// So many in a minute, and as many at once; none: no limit.
    fn per_minute(count: Option<u32>) -> Self {
        Self::new(count.map(|count| (MINUTE_US / u64::from(count.max(1)), MINUTE_US)))
    }

    /// So many in a second, 0: no limit; and so many at once.
    fn per_second(count: u32, burst: u32) -> Self {
        let cost_us = SECOND_US.checked_div(count.into());
        Self::new(cost_us.map(|cost_us| {
            let cost_us = cost_us.max(1);
            (cost_us, cost_us * u64::from(burst.max(1)))
        }))
    }

    fn new(cost: Option<(u64, u64)>) -> Self {
        Self {
            cost,
            hasher: RandomState::new(),
            known: Mutex::new(Known {
                paid_us: HashMap::new(),
                sweep_at: 1024,
            }),
        }
    }

    /// Takes one, or says after how many seconds there is one.
    fn take(&self, name: &impl Hash, now_ms: u64) -> Result<(), u64> {
        let Some((cost_us, most_us)) = self.cost else {
            return Ok(());
        };
        let now = micros(now_ms);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_us = known.of(self.hasher.hash_one(name), now);
        let owed_us = paid_us.saturating_sub(now).saturating_add(cost_us);
        if owed_us > most_us {
            return Err((owed_us - most_us).div_ceil(SECOND_US));
        }
        *paid_us = now.saturating_add(owed_us);
        Ok(())
    }

    /// What was taken does not count.
    fn give_back(&self, name: &impl Hash, now_ms: u64) {
        let now = micros(now_ms);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let paid_us = known.of(self.hasher.hash_one(name), now);
        *paid_us = paid_us.saturating_sub(self.cost.map_or(0, |(cost_us, _)| cost_us));
    }
}

/// In the unit in which is paid: a frame may cost less than a millisecond.
const fn micros(ms: u64) -> u64 {
    ms.saturating_mul(1000)
}

impl Known {
    fn of(&mut self, name: u64, now_us: u64) -> &mut u64 {
        if self.paid_us.len() >= self.sweep_at {
            self.paid_us.retain(|_, paid_us| *paid_us > now_us);
            self.sweep_at = (self.paid_us.len() * 2).clamp(1024, MOST);
        }
        let is_told_apart = self.paid_us.len() < MOST || self.paid_us.contains_key(&name);
        // No hash of a name is likely to be zero.
        self.paid_us
            .entry(if is_told_apart { name } else { 0 })
            .or_insert(now_us)
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

    /// A user wants to send a message: as often as he may send frames.
    pub(super) fn may_send(&self, user: &User) -> Result<(), Refusal> {
        let taken = self.attempts.messages.take(&user.id, self.mono_ms());
        taken.map_err(|seconds| self.too_many(RateScope::ChatMessages, seconds))
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
        let pace = Pace::per_minute(Some(3));
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
        let none = Pace::per_minute(None);
        assert!((0..1000).all(|_| none.take(&"ada", 0).is_ok()));
    }

    #[test]
    fn so_many_in_a_second_and_more_at_once() {
        let pace = Pace::per_second(10, 3);
        for _ in 0..3 {
            pace.take(&"ada", 0).unwrap();
        }
        assert_eq!(pace.take(&"ada", 99), Err(1));
        pace.take(&"ada", 100).unwrap();
        assert_eq!(pace.take(&"ada", 100), Err(1));
        pace.take(&"bob", 100).unwrap();
        let none = Pace::per_second(0, 3);
        assert!((0..1000).all(|_| none.take(&"ada", 0).is_ok()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_paid() {
        let pace = Pace::per_minute(Some(1));
        for name in 0..2 * MOST {
            assert!(pace.take(&name, 0).is_ok() || name >= MOST);
        }
        let count = || pace.known.lock().unwrap().paid_us.len();
        assert!(count() <= MOST + 1, "{}", count());
        assert!(pace.take(&"somebody new", 0).is_err(), "the rest share one");
        pace.take(&"somebody new", 60_000).unwrap();
        assert_eq!(count(), 1);
    }
}
