//! Durations, counted in buckets that are at most 3 % wide: any number of them in 16 KiB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// Sub-buckets per power of two.
const FINE: u64 = 32;
/// Buckets in all: 64 powers of two would be 2^64 microseconds.
const BUCKETS: usize = 60 * 32;

/// A histogram of durations in microseconds that many tasks fill at once.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
    max_us: AtomicU64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            max_us: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub(super) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.max_us.fetch_max(us, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(place(us)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    /// The smallest bound that this share (in thousandths) of all durations does not pass, in ms.
    pub(super) fn quantile_ms(&self, thousandths: u64) -> f64 {
        let wanted = (self.count() * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted && seen > 0 {
                return ms(bound(at).min(self.max_us.load(Ordering::Relaxed)));
            }
        }
        0.0
    }

    /// Count and percentiles with stable names; milliseconds.
    pub(super) fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "p50_ms": self.quantile_ms(500),
            "p90_ms": self.quantile_ms(900),
            "p99_ms": self.quantile_ms(990),
            "p999_ms": self.quantile_ms(999),
            "max_ms": ms(self.max_us.load(Ordering::Relaxed)),
        })
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// The bucket of a number of microseconds: exact below 64, then 32 per power of two.
fn place(us: u64) -> usize {
    let power = (us | 1).ilog2();
    let shift = power.saturating_sub(FINE.ilog2());
    let place = u64::from(shift) * FINE + (us >> shift);
    usize::try_from(place)
        .unwrap_or(usize::MAX)
        .min(BUCKETS - 1)
}

/// The largest number of microseconds in this bucket.
fn bound(place: usize) -> u64 {
    let place = place as u64;
    let shift = (place / FINE).saturating_sub(1);
    let first = place - shift * FINE;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_at_most_its_bound_and_within_4_percent_of_it() {
        let mut us = 0;
        while us < 1 << 40 {
            let bound = bound(place(us));
            assert!(bound >= us, "{us} above {bound}");
            assert!(bound - us <= us / 25 + 1, "{us} far below {bound}");
            us += us / 3 + 1;
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let histogram = Histogram::new();
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (thousandths, want) in [(500, 500.0), (990, 990.0), (999, 999.0), (1000, 1000.0)] {
            let got = histogram.quantile_ms(thousandths);
            assert!((want..=want * 1.04).contains(&got), "{thousandths}: {got}");
        }
        assert_eq!(histogram.count(), 1000);
    }
}
