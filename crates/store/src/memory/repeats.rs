//! Remembers the digests of publishes, so that a repeat is stored once.

use sparkway_protocol::MessageId;

use super::hasher::{QuickMap, Seed};

/// Digests in two buckets of one window each: together they reach back at least one window, and a
/// whole bucket is forgotten at once.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    window_ms: u64,
    began_ms: u64,
    newer: QuickMap<[u8; 16], MessageId>,
    older: QuickMap<[u8; 16], MessageId>,
}

impl Repeats {
    pub(super) fn new(window_ms: u64, seed: Seed) -> Self {
        Self {
            window_ms,
            began_ms: 0,
            newer: QuickMap::with_hasher(seed),
            older: QuickMap::with_hasher(seed),
        }
    }

    /// Turns to the bucket of this time. A clock that was set back only makes buckets last longer.
    pub(super) fn turn(&mut self, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.began_ms);
        if age_ms == 0 {
            self.began_ms = now_ms;
        } else if age_ms >= self.window_ms {
            if age_ms >= self.window_ms.saturating_mul(2) {
                self.newer.clear();
            }
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
            // A burst must not hold its memory for ever.
            self.newer.shrink_to(self.older.len().saturating_mul(2));
            self.began_ms = now_ms;
        }
    }

    pub(super) fn find(&self, digest: &[u8; 16]) -> Option<MessageId> {
        self.newer
            .get(digest)
            .or_else(|| self.older.get(digest))
            .copied()
    }

    pub(super) fn note(&mut self, digest: [u8; 16], id: MessageId) {
        self.newer.insert(digest, id);
    }

    /// Forgets what was stored after `id`.
    pub(super) fn forget_after(&mut self, id: MessageId) {
        self.newer.retain(|_, stored| *stored <= id);
        self.older.retain(|_, stored| *stored <= id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId::new(number).unwrap()
    }

    #[test]
    fn digest_is_found_for_one_window_and_forgotten_after_two() {
        let mut repeats = Repeats::new(100, Seed::random());
        repeats.turn(1000);
        repeats.turn(1099);
        repeats.note([1; 16], id(16));
        for now in [1100, 1150, 1199] {
            repeats.turn(now);
            assert_eq!(repeats.find(&[1; 16]), Some(id(16)), "at {now}");
        }
        repeats.turn(1200);
        assert_eq!(repeats.find(&[1; 16]), None);
    }

    #[test]
    fn long_silence_forgets_both_buckets() {
        let mut repeats = Repeats::new(100, Seed::random());
        repeats.turn(1000);
        repeats.note([1; 16], id(16));
        repeats.turn(1200);
        assert_eq!(repeats.find(&[1; 16]), None);
    }

    #[test]
    fn clock_set_back_forgets_nothing_early_and_goes_on_turning() {
        let mut repeats = Repeats::new(100, Seed::random());
        repeats.turn(10_000);
        repeats.note([1; 16], id(16));
        repeats.turn(500);
        assert_eq!(repeats.find(&[1; 16]), Some(id(16)));
        repeats.turn(600);
        assert_eq!(repeats.find(&[1; 16]), Some(id(16)));
        repeats.turn(700);
        assert_eq!(repeats.find(&[1; 16]), None);
    }
}
