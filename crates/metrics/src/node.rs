//! The node itself.

use crate::family::{Builder, Counters, Gauges};
use crate::{DrainPhase, FloatGauge, Gauge, NodeState};

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
    /// How loaded the node is; 1 is full.
    pub load_ratio: FloatGauge,
}

impl NodeMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
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
            load_ratio: builder.float_gauge(
                "load_ratio",
                "How loaded this node is, the highest of its measures; 1 is full.",
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
