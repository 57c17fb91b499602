//! Rings, gaps, repairs.

use crate::family::{Builder, Counters, NETWORK};
use crate::{Counter, Gauge, Histogram, RepairResult};

/// What the gateway counts of topic logs.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// Entries in all rings.
    pub ring_entries: Gauge,
    /// Bytes in all rings.
    pub ring_bytes: Gauge,
    /// Entries that left a ring.
    pub ring_evictions: Counter,
    /// Repairs.
    pub gap_repairs: Counters<RepairResult>,
    /// Seconds that a repair took.
    pub gap_repair_duration: Histogram,
    /// Gaps that are being repaired.
    pub gaps_open: Gauge,
}

impl TopicMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            ring_entries: builder.gauge(
                "ring_entries",
                "Entries of live topics kept in the memory of this node.",
            ),
            ring_bytes: builder.gauge(
                "ring_bytes",
                "Bytes of entries of live topics kept in the memory of this node.",
            ),
            ring_evictions: builder.counter(
                "ring_evictions_total",
                "Entries that left a ring for newer ones; the log still has them.",
            ),
            gap_repairs: builder.counters(
                "gap_repairs_total",
                "Holes in the feed that were repaired from the log. trimmed and failed are messages lost to somebody, and reported to him.",
            ),
            gap_repair_duration: builder.histogram(
                "gap_repair_duration_seconds",
                NETWORK,
                "Time that a partition stood still for a repair.",
            ),
            gaps_open: builder.gauge(
                "gaps_open",
                "Holes that are being repaired now; delivery of their partition waits.",
            ),
        }
    }
}
