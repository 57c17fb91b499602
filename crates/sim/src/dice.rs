//! The only source of chance: the same seed, the same throws.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Throws that follow from a seed.
#[derive(Debug)]
pub struct Dice(Mutex<SmallRng>);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(SmallRng::seed_from_u64(seed)))
    }

    /// A number of the range; its start when it is empty.
    pub fn of(&self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return range.start;
        }
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(range)
    }

    /// An index below `count`; 0 when there is none.
    pub fn index(&self, count: usize) -> usize {
        usize::try_from(self.of(0..count as u64)).unwrap_or(0)
    }

    /// Whether something of this chance in a thousand happens.
    pub fn happens(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.of(0..1000) < u64::from(per_mille)
    }

    /// One of several; `None` of none.
    pub fn one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }
}
