//! How long to wait before the next attempt, and what a close means for it.

use std::time::Duration;

use rand::Rng;
use sparkway_protocol::CloseReason;
use sparkway_protocol::close::Next;

/// Delays between attempts: uniform between zero and a bound that doubles (full jitter), so that
/// a crowd that lost its node together does not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Bound of the first delay. Default 500 ms.
    pub base: Duration,
    /// No bound grows past this. Default 20 s.
    pub cap: Duration,
    /// Bound of the delay before a resume that is due at once (a cut, a drain): long enough to
    /// spread a crowd, short enough not to be felt. Default 250 ms; zero for none.
    pub spread: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            spread: Duration::from_millis(250),
        }
    }
}

impl Backoff {
    /// The largest delay before attempt number `attempt` (0 is the first).
    #[must_use]
    pub fn bound(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A delay before attempt number `attempt`: uniform in `0..=bound(attempt)`.
    pub fn delay(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        uniform(self.bound(attempt), rng)
    }

    /// A delay before a resume that is due at once: uniform in `0..=spread`.
    pub fn spread(&self, rng: &mut impl Rng) -> Duration {
        uniform(self.spread, rng)
    }
}

/// Uniform in `0..=bound`.
pub(crate) fn uniform(bound: Duration, rng: &mut impl Rng) -> Duration {
    let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.random_range(0..=micros))
}

/// What a client does after a close with this code (protocol.md, codes). No code at all means the
/// line broke, as 1006 does.
pub(crate) fn next_after(code: Option<u16>) -> Next {
    let Some(code) = code else {
        return Next::Resume;
    };
    if let Some(known) = CloseReason::ALL.iter().find(|reason| reason.code() == code) {
        return known.next();
    }
    match code {
        1005 | 1006 | 4200..=4299 => Next::Resume,
        4000..=4099 => Next::Stop,
        _ => Next::Backoff,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn delays_fill_the_whole_range_up_to_a_doubling_bound_and_never_pass_the_cap() {
        let backoff = Backoff::default();
        let mut rng = SmallRng::seed_from_u64(7);
        for attempt in 0..64 {
            let bound = backoff.bound(attempt);
            let want = (500_u64 << attempt.min(10)).min(20_000);
            assert_eq!(bound, Duration::from_millis(want), "attempt {attempt}");
            let delays: Vec<_> = (0..400).map(|_| backoff.delay(attempt, &mut rng)).collect();
            assert!(delays.iter().all(|delay| *delay <= bound));
            assert!(
                delays.iter().any(|delay| *delay < bound / 10),
                "attempt {attempt}"
            );
            assert!(
                delays.iter().any(|delay| *delay > bound * 9 / 10),
                "attempt {attempt}"
            );
        }
    }

    #[test]
    fn closes_lead_where_the_protocol_says() {
        for code in [4000, 4009, 4010, 4050, 4099, 1000, 1008] {
            assert_eq!(next_after(Some(code)), Next::Stop, "{code}");
        }
        for code in [4100, 4150, 4199, 1011, 1013, 3000, 4300, 1015] {
            assert_eq!(next_after(Some(code)), Next::Backoff, "{code}");
        }
        for code in [4200, 4299, 1001, 1006, 1012] {
            assert_eq!(next_after(Some(code)), Next::Resume, "{code}");
        }
        assert_eq!(next_after(None), Next::Resume);
    }
}
