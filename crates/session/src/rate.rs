//! A token bucket in 16 bytes: one per connection, no clock of its own.

/// Lets `per_second` units through on average and `burst` at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Thousandths of a unit that are left.
    left_milli: u64,
    refilled_ms: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn full(burst: u32, now_ms: u64) -> Self {
        Self {
            left_milli: burst as u64 * 1000,
            refilled_ms: now_ms,
        }
    }

    /// Takes `milli` thousandths of a unit, or says in how many milliseconds it could.
    /// `per_second` 0 means no limit.
    ///
    /// # Errors
    /// The milliseconds after which the same call succeeds if nothing else is taken.
    pub fn take(
        &mut self,
        milli: u64,
        per_second: u32,
        burst: u32,
        now_ms: u64,
    ) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let rate = u64::from(per_second); // thousandths per millisecond
        let grown = now_ms.saturating_sub(self.refilled_ms).saturating_mul(rate);
        self.left_milli = self
            .left_milli
            .saturating_add(grown)
            .min(u64::from(burst) * 1000);
        self.refilled_ms = now_ms.max(self.refilled_ms);
        match self.left_milli.checked_sub(milli) {
            Some(left) => {
                self.left_milli = left;
                Ok(())
            }
            None => Err((milli - self.left_milli).div_ceil(rate)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate_and_the_wait_is_exact() {
        let mut bucket = Bucket::full(10, 0);
        for _ in 0..10 {
            assert_eq!(bucket.take(1000, 50, 10, 0), Ok(()));
        }
        let wait = bucket.take(1000, 50, 10, 0).unwrap_err();
        assert_eq!(wait, 20);
        assert!(bucket.take(1000, 50, 10, wait - 1).is_err());
        assert_eq!(bucket.take(1000, 50, 10, wait), Ok(()));
        assert_eq!(bucket.take(1000, 0, 10, 0), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut bucket = Bucket::full(1, 1000);
        assert_eq!(bucket.take(1000, 1, 1, 1000), Ok(()));
        assert!(bucket.take(1000, 1, 1, 0).is_err());
        assert!(bucket.take(1000, 1, 1, 1500).is_err());
        assert_eq!(bucket.take(1000, 1, 1, 2000), Ok(()));
    }
}
