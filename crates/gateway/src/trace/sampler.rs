//! Which publishes and connections are recorded. Decided before anything is made for them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use sparkway_protocol::TraceContext;

use crate::settings::TracingSettings;

/// Publishes of clients' own traces, and failed or slow ones, that are recorded per second: a
/// client must not be able to switch on the recording of everything, nor an outage.
const FORCED_PER_SECOND: f64 = 100.0;
/// Connections that are recorded per second: a drain or a storm makes thousands.
const CONNECTIONS_PER_SECOND: f64 = 20.0;

/// Decides.
#[derive(Debug)]
pub(crate) struct Sampler {
    publishes: f64,
    connections: f64,
    forced: Allowance,
    odd: Allowance,
    opened: Allowance,
}

impl Sampler {
    pub(crate) fn new(settings: &TracingSettings) -> Self {
        Self {
            publishes: settings.sample_ratio,
            connections: settings.connection_ratio,
            forced: Allowance::new(FORCED_PER_SECOND),
            odd: Allowance::new(FORCED_PER_SECOND),
            opened: Allowance::new(CONNECTIONS_PER_SECOND),
        }
    }

    /// Whether a publish is recorded. A client that records its trace is followed,
    /// one that does not is not.
    pub(crate) fn publish(&self, parent: Option<TraceContext>) -> bool {
        match parent {
            Some(parent) => parent.is_sampled() && self.forced(),
            None => rand::random::<f64>() < self.publishes,
        }
    }

    /// The same of a connection.
    pub(crate) fn connection(&self, parent: Option<TraceContext>) -> bool {
        let wanted = match parent {
            Some(parent) => parent.is_sampled(),
            None => rand::random::<f64>() < self.connections,
        };
        wanted && self.opened.take()
    }

    /// Whether one more publish is recorded that was not drawn, but asked for.
    pub(crate) fn forced(&self) -> bool {
        self.forced.take()
    }

    /// Whether a failed or slow publish is recorded that was not to be.
    pub(crate) fn odd(&self) -> bool {
        self.odd.take()
    }
}

/// So many per second, and as many at once.
#[derive(Debug)]
struct Allowance {
    per_second: f64,
    left: Mutex<(f64, Instant)>,
}

impl Allowance {
    fn new(per_second: f64) -> Self {
        Self {
            per_second,
            left: Mutex::new((per_second, Instant::now())),
        }
    }

    fn take(&self) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now.saturating_duration_since(left.1).as_secs_f64();
        *left = (
            (left.0 + passed * self.per_second).min(self.per_second),
            now,
        );
        if left.0 < 1.0 {
            return false;
        }
        left.0 -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(ratio: f64) -> Sampler {
        Sampler::new(&TracingSettings {
            sample_ratio: ratio,
            connection_ratio: ratio,
            ..TracingSettings::default()
        })
    }

    fn parent(sampled: bool) -> Option<TraceContext> {
        TraceContext::new([1; 16], [2; 8], sampled)
    }

    #[test]
    fn a_ratio_holds_for_publishes_without_a_trace() {
        let sampler = sampler(0.25);
        let recorded = (0..10_000).filter(|_| sampler.publish(None)).count();
        assert!((2_000..3_000).contains(&recorded), "{recorded}");
        assert!((0..1000).all(|_| !self::sampler(0.0).publish(None)));
    }

    #[test]
    fn a_client_is_followed_in_what_it_records_and_cannot_force_more_than_the_allowance() {
        let sampler = sampler(0.0);
        assert!(sampler.publish(parent(true)));
        assert!(!sampler.publish(parent(false)));
        let began = Instant::now();
        let recorded = (0..100_000)
            .filter(|_| sampler.publish(parent(true)))
            .count();
        let most = FORCED_PER_SECOND * (1.0 + began.elapsed().as_secs_f64()) + 1.0;
        assert!(recorded as f64 <= most, "{recorded} of at most {most}");
    }

    #[test]
    fn a_storm_of_connections_records_no_more_than_the_allowance() {
        let sampler = sampler(1.0);
        let began = Instant::now();
        let recorded = (0..10_000).filter(|_| sampler.connection(None)).count();
        let most = CONNECTIONS_PER_SECOND * (1.0 + began.elapsed().as_secs_f64()) + 1.0;
        assert!(recorded as f64 <= most, "{recorded} of at most {most}");
    }
}
