//! Leaving a backend alone that keeps failing.

use std::collections::VecDeque;

/// Answers that are looked at.
const WINDOW: usize = 20;
/// Failures among them that open the breaker.
const FAILURES: usize = 10;
/// How long it stays open the first time, in milliseconds; twice as long each further time.
const OPEN_MS: u64 = 1_000;
/// At the longest, in milliseconds.
const OPEN_MS_MAX: u64 = 30_000;

/// Opens when half of the last twenty questions failed, and lets a single one through after a
/// while: if that one is answered, all are let through again.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Whether each of the last questions failed, oldest first.
    last: VecDeque<bool>,
    /// How often it was opened in a row, and until when it is.
    open: Option<(u32, u64)>,
    /// Since when a single question is under way that decides.
    probing_ms: Option<u64>,
}

impl Breaker {
    /// Whether a question may be asked now (monotonic milliseconds). `true` is followed by
    /// [`Self::ended`], or the probe counts as lost after `longest_ms`.
    pub fn admits(&mut self, now_ms: u64, longest_ms: u64) -> bool {
        let Some((_, until_ms)) = self.open else {
            return true;
        };
        let is_probed = self
            .probing_ms
            .is_some_and(|began_ms| now_ms < began_ms.saturating_add(longest_ms));
        if now_ms < until_ms || is_probed {
            return false;
        }
        self.probing_ms = Some(now_ms);
        true
    }

    /// Whether it lets nobody through for now, but for a single one now and then.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A question that was let through was not asked after all: another one may decide.
    pub fn not_asked(&mut self) {
        self.probing_ms = None;
    }

    /// A question that was let through has ended.
    pub fn ended(&mut self, failed: bool, now_ms: u64) {
        let was_probe = self.probing_ms.take().is_some();
        match (self.open, failed) {
            // Asked before it opened: says nothing new.
            (Some(_), _) if !was_probe => {}
            (Some(_), false) => {
                self.open = None;
                self.last.clear();
            }
            (Some((times, _)), true) => self.open_for(times.saturating_add(1), now_ms),
            (None, _) => {
                if self.last.len() == WINDOW {
                    self.last.pop_front();
                }
                self.last.push_back(failed);
                let failures = self.last.iter().filter(|failed| **failed).count();
                if failures >= FAILURES {
                    self.open_for(0, now_ms);
                }
            }
        }
    }

    fn open_for(&mut self, times: u32, now_ms: u64) {
        let long_ms = OPEN_MS.saturating_mul(1 << times.min(5)).min(OPEN_MS_MAX);
        self.open = Some((times, now_ms.saturating_add(long_ms)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES {
            assert!(breaker.admits(0, 100));
            breaker.ended(true, 0);
        }
        breaker
    }

    #[test]
    fn half_of_twenty_failures_open_it_and_fewer_do_not() {
        let mut breaker = Breaker::default();
        for at in 0..100 {
            assert!(breaker.admits(at, 100), "{at}");
            breaker.ended(at % 20 < 9, at);
        }
        assert!(!broken().admits(OPEN_MS - 1, 100));
    }

    #[test]
    fn a_question_that_was_not_asked_decides_nothing_and_the_next_one_may() {
        let mut breaker = broken();
        assert!(breaker.admits(OPEN_MS, 100));
        breaker.not_asked();
        assert!(breaker.is_open());
        assert!(breaker.admits(OPEN_MS + 1, 100));
        breaker.ended(false, OPEN_MS + 2);
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_question_decides_whether_it_closes() {
        let mut breaker = broken();
        assert!(breaker.admits(OPEN_MS, 100));
        assert!(!breaker.admits(OPEN_MS + 1, 100), "only one");
        breaker.ended(true, OPEN_MS + 2);
        assert!(!breaker.admits(2 * OPEN_MS + 3, 100), "twice as long now");
        assert!(breaker.admits(3 * OPEN_MS + 2, 100));
        breaker.ended(false, 3 * OPEN_MS + 3);
        assert!(breaker.admits(3 * OPEN_MS + 3, 100));
        assert!(breaker.admits(3 * OPEN_MS + 3, 100));
    }

    #[test]
    fn a_lost_question_does_not_keep_it_open_for_ever_and_it_opens_for_half_a_minute_at_most() {
        let mut breaker = broken();
        assert!(breaker.admits(OPEN_MS, 100));
        assert!(breaker.admits(OPEN_MS + 100, 100));
        let mut now_ms = OPEN_MS + 100;
        for _ in 0..40 {
            breaker.ended(true, now_ms);
            now_ms += OPEN_MS_MAX;
            assert!(breaker.admits(now_ms, 100));
        }
    }
}
