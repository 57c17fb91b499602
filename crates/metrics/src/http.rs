//! The HTTP API.

use crate::family::{Builder, Counters, Histograms, NETWORK};
use crate::{Gauge, HttpRoute, HttpStatus};

/// What the HTTP API counts.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Answered requests.
    pub requests: Counters<(HttpRoute, HttpStatus)>,
    /// Seconds from the head of a request to its answer.
    pub request_duration: Histograms<HttpRoute>,
    /// Requests that are being answered.
    pub inflight_requests: Gauge,
}

impl HttpMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            requests: builder.counters(
                "http_requests_total",
                "Requests to the HTTP API, by the pattern of their path and what they were answered.",
            ),
            request_duration: builder.histograms(
                "http_request_duration_seconds",
                NETWORK,
                "Time from the head of a request to its answer; of /v1/events until the stream begins.",
            ),
            inflight_requests: builder.gauge(
                "http_inflight_requests",
                "Requests that are being answered now; event streams not counted.",
            ),
        }
    }
}
