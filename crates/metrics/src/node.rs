//! The node itself.

use crate::family::{Builder, Counters, Gauges};
use crate::spread::{Dimension, Spread};
use crate::{
    Counter, DrainPhase, FloatCounter, FloatGauge, Gauge, Invariant, NodeState, Shape, SpanResult,
};

/// What the gateway counts of itself.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    states: Gauges<NodeState>,
    /// Nodes of the cluster whose lease holds.
    pub cluster_nodes: Gauges<NodeState>,
    /// Connections that a drain has yet to close.
    pub drain_connections_remaining: Gauge,
    /// Connections closed by drains.
    pub drain_closed: Counters<DrainPhase>,
    /// What always holds and did not.
    pub invariant_violations: Counters<Invariant>,
    /// How loaded the node is; 1 is full.
    pub load_ratio: FloatGauge,
    /// Connections sent to other nodes because this one had more than its share.
    pub rebalance_shed: Counter,
    /// Spans of traces.
    pub trace_spans: Counters<SpanResult>,
    /// Threads with a runtime.
    pub tokio_workers: Gauge,
    /// Tasks that have not ended, by thread.
    pub tokio_alive_tasks: Spread<Gauge>,
    /// Tasks that were woken from elsewhere and wait for their turn, by thread.
    pub tokio_global_queue_depth: Spread<Gauge>,
    /// Seconds that a thread ran tasks.
    pub tokio_worker_busy: Spread<FloatCounter>,
}

impl NodeMetrics {
    pub(crate) fn new(builder: &mut Builder, shape: &Shape) -> Self {
        let threads = Dimension::threads(shape);
        builder.facts(
            "build_info",
            "Always 1; the labels say what runs.",
            &[
                ("version", env!("CARGO_PKG_VERSION")),
                (
                    "commit",
                    option_env!("SPARKWAY_COMMIT").unwrap_or("unknown"),
                ),
                ("rustc", option_env!("SPARKWAY_RUSTC").unwrap_or("unknown")),
            ],
        );
        let node = Self {
            states: builder.gauges(
                "node_state",
                "1 for what this node is doing, 0 for the other states.",
            ),
            cluster_nodes: builder.gauges(
                "cluster_nodes",
                "Nodes whose lease holds, by state, as this node sees them.",
            ),
            drain_connections_remaining: builder.gauge(
                "drain_connections_remaining",
                "Connections that the running drain has yet to close.",
            ),
            drain_closed: builder.counters(
                "drain_closed_total",
                "Connections closed by drains: at their rate (paced), or all at once at the deadline (forced).",
            ),
            invariant_violations: builder.counters(
                "invariant_violations_total",
                "Things that always hold in a node and did not: defects of the gateway. Report any.",
            ),
            load_ratio: builder.float_gauge(
                "load_ratio",
                "How loaded this node is: the highest of connections and memory against their limits, the busy share of the busiest thread, and the filling of the outboxes; 1 is full.",
            ),
            rebalance_shed: builder.counter(
                "rebalance_shed_total",
                "Connections that were sent to other nodes because this one had more than its share.",
            ),
            trace_spans: builder.counters(
                "trace_spans_total",
                "Finished spans, by whether there was room for them in front of the exporter. dropped rises when the collector is away or too slow.",
            ),
            tokio_workers: builder.gauge(
                "tokio_workers",
                "Threads of this node that run tasks, that of the internal listener included.",
            ),
            tokio_alive_tasks: builder.gauges_by(
                "tokio_alive_tasks",
                &threads,
                "Tasks that have not ended: one per connection and a few more.",
            ),
            tokio_global_queue_depth: builder.gauges_by(
                "tokio_global_queue_depth",
                &threads,
                "Tasks that another thread woke and that wait for their turn. Above 0 for long, the thread is too slow.",
            ),
            tokio_worker_busy: builder.float_counters_by(
                "tokio_worker_busy_seconds_total",
                &threads,
                "Time that a thread ran tasks; `rate()` near 1 is a core in full use.",
            ),
        };
        node.set_state(NodeState::Starting);
        node
    }

    /// Says what the node is doing now.
    pub fn set_state(&self, state: NodeState) {
        for &other in NodeState::ALL {
            self.states.at(other).set(i64::from(other == state));
        }
    }
}
