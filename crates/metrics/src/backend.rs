//! Questions to the application's backends.

use crate::family::{Builder, Counters, Histograms, NETWORK};
use crate::{Counter, FetchResult, Gauge, Hook, HookResult};

/// What the gateway counts of the application's backends.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    /// Questions.
    pub hook_requests: Counters<(Hook, HookResult)>,
    /// Seconds to an answer.
    pub hook_duration: Histograms<Hook>,
    /// Events that wait to be delivered.
    pub hook_queue_length: Gauge,
    /// Events that are not delivered any more.
    pub hook_events_dropped: Counter,
    /// Fetches of key sets.
    pub key_set_fetches: Counters<FetchResult>,
}

impl BackendMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            hook_requests: builder.counters(
                "hook_requests_total",
                "Requests to the application's backends by how they ended. circuit_open was not sent: the hook failed too often lately; busy was not: too many waited for an answer.",
            ),
            hook_duration: builder.histograms(
                "hook_duration_seconds",
                NETWORK,
                "Time from a request to the application's backend to its answer, also a failed one.",
            ),
            hook_queue_length: builder.gauge(
                "hook_queue_length",
                "Events that wait in the store to be delivered, as the node sees them that delivers. Rises while the backend is away.",
            ),
            hook_events_dropped: builder.counter(
                "hook_events_dropped_total",
                "Events that were given up after all attempts and lie among the dead letters, or were trimmed before.",
            ),
            key_set_fetches: builder.counters(
                "key_set_fetches_total",
                "Fetches of the key sets of issuers. While they fail, the keys known before stay valid.",
            ),
        }
    }
}
