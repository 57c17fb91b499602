//! Redis and the feed.

use crate::family::{Builder, Counters, FAST, Histograms, NETWORK};
use crate::{BusResult, CommandResult, FloatGauge, Histogram, RedisOp, RedisRole};

/// What the store counts. With the embedded store everything stays zero but the feed's families.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Calls of Redis.
    pub redis_commands: Counters<(RedisOp, CommandResult)>,
    /// Seconds that they took.
    pub redis_command_duration: Histograms<RedisOp>,
    /// Connections to Redis that were made again.
    pub redis_reconnects: Counters<RedisRole>,
    /// Seconds from an entry's id to its arrival through the feed.
    pub bus_lag: Histogram,
    /// Messages of the feed.
    pub bus_messages: Counters<BusResult>,
    /// Seconds that this node's clock is ahead of the store's.
    pub clock_offset: FloatGauge,
}

impl StoreMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            redis_commands: builder.counters(
                "redis_commands_total",
                "Calls of Redis by operation and result; everything but ok is an error.",
            ),
            redis_command_duration: builder.histograms(
                "redis_command_duration_seconds",
                FAST,
                "Time that a call of Redis took, waiting for the connection included.",
            ),
            redis_reconnects: builder.counters(
                "redis_reconnects_total",
                "Connections to Redis that were lost and made again.",
            ),
            bus_lag: builder.histogram(
                "bus_lag_seconds",
                NETWORK,
                "Time from an entry's publication (by its id) to its arrival through the feed.",
            ),
            bus_messages: builder.counters(
                "bus_messages_total",
                "Messages of the feed by what became of them.",
            ),
            clock_offset: builder.float_gauge(
                "clock_offset_seconds",
                "This node's clock minus the store's. Beyond half a second either way, latencies lie.",
            ),
        }
    }
}
