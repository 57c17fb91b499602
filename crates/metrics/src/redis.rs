//! Calls of Redis.

use prometheus::Registry;

use crate::family::{Builder, Counters, FAST, Gauges, Histograms};
use crate::{CommandResult, Family, Gauge, LinkState, PREFIX, RedisOp, RedisRole};

/// What a store in Redis counts. It is made before the node and outlives it, so its series are in
/// a registry of their own, which every node that uses the store shows.
#[derive(Clone, Debug)]
pub struct RedisMetrics {
    /// Commands.
    pub commands: Counters<(RedisOp, CommandResult)>,
    /// Seconds that they took.
    pub command_duration: Histograms<RedisOp>,
    /// Connections that work, and those that are being made again.
    pub connections: Gauges<(RedisRole, LinkState)>,
    /// Connections that were made again.
    pub reconnects: Counters<RedisRole>,
    /// Commands that wait for their answer.
    pub inflight: Gauge,
    registry: Registry,
}

impl Default for RedisMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl RedisMetrics {
    /// All families, with every series at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::with_families().0
    }

    pub(crate) fn with_families() -> (Self, Vec<Family>) {
        let mut builder = Builder::new(PREFIX);
        let commands = builder.counters(
            "redis_commands_total",
            "Calls of Redis by operation and result, each attempt by itself; everything but ok is an error.",
        );
        let command_duration = builder.histograms(
            "redis_command_duration_seconds",
            FAST,
            "Time that a call of Redis took, waiting for the connection included.",
        );
        let connections = builder.gauges(
            "redis_connections",
            "Connections to Redis by what they are for: up, or lost and being made again (down).",
        );
        let reconnects = builder.counters(
            "redis_reconnects_total",
            "Connections to Redis that were lost and made again.",
        );
        let inflight = builder.gauge(
            "redis_inflight_commands",
            "Calls of Redis that wait for their answer. Rises when Redis is slow.",
        );
        let (registry, families) = builder.finish();
        let metrics = Self {
            commands,
            command_duration,
            connections,
            reconnects,
            inflight,
            registry,
        };
        (metrics, families)
    }

    pub(crate) const fn registry(&self) -> &Registry {
        &self.registry
    }
}
