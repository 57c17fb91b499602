//! Durations in buckets at most 3 % wide.

/// Sub-buckets per power of two.
const FINE: u32 = 32;
const FINE_BITS: u32 = FINE.trailing_zeros();
const BUCKETS: usize = 64 * FINE as usize;

/// Counts durations in nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
        }
    }

    pub(crate) fn record(&mut self, ns: u64) {
        if let Some(bucket) = self.buckets.get_mut(place(ns)) {
            *bucket += 1;
            self.count += 1;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    /// The upper end of the bucket below which `share` of all durations lie, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = self.count as f64 * share;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= wanted {
                return upper(at) / 1e6;
            }
        }
        0.0
    }
}

/// The bucket of a value: its power of two, and the next five bits.
fn place(ns: u64) -> usize {
    let magnitude = (ns | 1).ilog2();
    if magnitude < FINE_BITS {
        return usize::try_from(ns).unwrap_or(0);
    }
    let shift = magnitude - FINE_BITS;
    let row = (shift + 1) * FINE;
    let column = (ns >> shift) & u64::from(FINE - 1);
    usize::try_from(u64::from(row) + column).unwrap_or(BUCKETS)
}

fn upper(bucket: usize) -> f64 {
    let (row, column) = (bucket / FINE as usize, bucket % FINE as usize);
    if row == 0 {
        return column as f64;
    }
    let exponent = i32::try_from(row - 1).unwrap_or(i32::MAX);
    (f64::from(FINE) + column as f64 + 1.0) * 2_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_3_percent_below_the_end_of_its_bucket() {
        for ns in [
            1_u64,
            31,
            32,
            33,
            1000,
            123_456,
            987_654_321,
            u64::from(u32::MAX),
        ] {
            let end = upper(place(ns));
            assert!(
                end >= ns as f64 && end <= ns as f64 * 1.04 + 1.0,
                "{ns}: {end}"
            );
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::new();
        for ms in 1..=100_u64 {
            histogram.record(ms * 1_000_000);
        }
        assert!((histogram.quantile_ms(0.5) - 50.0).abs() < 2.0);
        assert!((histogram.quantile_ms(0.99) - 99.0).abs() < 4.0);
        histogram.clear();
        assert!(histogram.quantile_ms(0.5) < 1e-9);
    }
}
