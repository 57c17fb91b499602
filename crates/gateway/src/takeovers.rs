//! How often a session may be taken from a connection that it still has. Two clients that hold the
//! same session would otherwise take it from each other as fast as the store can claim.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sparkway_protocol::SessionId;
use sparkway_session::Bucket;

/// Takeovers of one session on this node per second, and at once: an honest client on a bad network
/// seldom needs more than one in some seconds.
const PER_SECOND: u32 = 2;
const BURST: u32 = 60;
/// Sessions that are remembered before those are forgotten that have rested.
const SWEEP_AT: usize = 1024;
/// After so long a bucket is full again, whatever it was.
const RESTED_MS: u64 = 1000 * (BURST / PER_SECOND) as u64;

/// Sessions that were taken over lately.
#[derive(Debug, Default)]
pub(crate) struct Takeovers(Mutex<HashMap<SessionId, Taken>>);

#[derive(Debug)]
struct Taken {
    bucket: Bucket,
    last_ms: u64,
}

impl Takeovers {
    /// Whether the session may be taken over once more now.
    pub(crate) fn allow(&self, session: SessionId, now_ms: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SWEEP_AT && !known.contains_key(&session) {
            known.retain(|_, taken| now_ms < taken.last_ms.saturating_add(RESTED_MS));
        }
        let taken = known.entry(session).or_insert_with(|| Taken {
            bucket: Bucket::full(BURST, now_ms),
            last_ms: now_ms,
        });
        taken.last_ms = now_ms;
        taken.bucket.take(1000, PER_SECOND, BURST, now_ms).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use sparkway_protocol::Partition;

    use super::*;

    fn session(number: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SessionId::from_random(bytes, Partition::default())
    }

    #[test]
    fn a_loop_is_slowed_down_and_others_are_not() {
        let takeovers = Takeovers::default();
        let allowed = (0..1000).filter(|_| takeovers.allow(session(1), 0)).count();
        assert_eq!(allowed, BURST as usize);
        assert!(takeovers.allow(session(2), 0));
        assert!(takeovers.allow(session(1), 500));
        assert!(!takeovers.allow(session(1), 500));
    }

    #[test]
    fn those_that_have_rested_are_forgotten() {
        let takeovers = Takeovers::default();
        for number in 0..2 * u32::try_from(SWEEP_AT).unwrap() {
            takeovers.allow(session(number), u64::from(number) * RESTED_MS);
        }
        assert!(takeovers.0.lock().unwrap().len() <= SWEEP_AT);
    }
}
