//! The feed, and the store's clock.

use crate::family::{Builder, Counters, NETWORK};
use crate::spread::{Dimension, Spread};
use crate::{BusResult, Counter, FloatGauge, Histogram, Shape};

/// What a node counts of the feeds it reads, by partition (`shard`).
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Seconds from an entry's id to its arrival through the feed.
    pub bus_lag: Spread<Histogram>,
    /// Messages of the feed.
    pub bus_messages: Spread<Counters<BusResult>>,
    /// Seconds since the node heard its own word through the feed.
    pub bus_silence: FloatGauge,
    /// Feeds connected anew because they brought nothing.
    pub bus_renewals: Counter,
    /// Seconds that this node's clock is ahead of the store's.
    pub clock_offset: Spread<FloatGauge>,
}

impl StoreMetrics {
    pub(crate) fn new(builder: &mut Builder, shape: &Shape) -> Self {
        let shards = Dimension::shards(shape);
        Self {
            bus_lag: builder.histograms_by(
                "bus_lag_seconds",
                NETWORK,
                &shards,
                "Time from an entry's publication (by its id) to its arrival through the feed.",
            ),
            bus_messages: builder.counters_by(
                "bus_messages_total",
                &shards,
                "Messages of the feed by what became of them.",
            ),
            bus_silence: builder.float_gauge(
                "bus_silence_seconds",
                "Time since this node heard its own word through the feed, in the partition where it is longest. It speaks every 5 seconds; beyond 20 it is deaf.",
            ),
            bus_renewals: builder.counter(
                "bus_renewals_total",
                "Feeds that were connected anew because the store took the node's words and the feed did not bring them.",
            ),
            clock_offset: builder.float_gauges_by(
                "clock_offset_seconds",
                &shards,
                "This node's clock minus the store's. Beyond half a second either way, latencies lie.",
            ),
        }
    }
}
