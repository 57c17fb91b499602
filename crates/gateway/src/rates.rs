//! How fast clients may come: before they are heard, and once they have asked.

use sparkway_session::Bucket;

/// So many times as many connections as handshakes are heard. What comes faster is closed before
/// its TLS and its head cost anything; what is slower than that is told when to come again.
const HEARD: u32 = 2;

/// How fast the node, or one address, may come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    arrivals: Bucket,
    handshakes: Bucket,
}

impl Rates {
    pub(crate) fn full(rate: u32, now_ms: u64) -> Self {
        Self {
            arrivals: Bucket::full(rate.saturating_mul(HEARD), now_ms),
            handshakes: Bucket::full(rate, now_ms),
        }
    }

    pub(crate) fn arrive(&mut self, rate: u32, now_ms: u64) -> Result<(), ()> {
        let rate = rate.saturating_mul(HEARD);
        self.arrivals.take(1000, rate, rate, now_ms).map_err(drop)
    }

    /// # Errors
    /// In so many milliseconds it may come again.
    pub(crate) fn begin(&mut self, rate: u32, now_ms: u64) -> Result<(), u64> {
        self.handshakes.take(1000, rate, rate, now_ms)
    }

    /// Whether it says nothing that a new one would not say.
    pub(crate) fn are_full(mut self, rate: u32, now_ms: u64) -> bool {
        let arriving = rate.saturating_mul(HEARD);
        let is_full = |bucket: &mut Bucket, rate: u32| {
            rate == 0
                || bucket
                    .take(u64::from(rate) * 1000, rate, rate, now_ms)
                    .is_ok()
        };
        is_full(&mut self.handshakes, rate) && is_full(&mut self.arrivals, arriving)
    }
}
