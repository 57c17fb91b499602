//! Fan-out and slow consumers.

use sparkway_protocol::Format;

use crate::family::{Builder, Counters, FAST, Histograms};
use crate::spread::{Dimension, Spread};
use crate::{Delivery, DeliverySource, EncodeResult, Gauge, Histogram, Shape, SlowAction};

const FANOUTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 10_000.0, 100_000.0,
];

/// What the hub counts.
#[derive(Clone, Debug)]
pub struct HubMetrics {
    /// Messages for connections.
    pub deliveries: Spread<Counters<Delivery>>,
    /// Connections that an entry went to.
    pub fanout_size: Histogram,
    /// Seconds from an entry's arrival on the node to its last outbox.
    pub fanout_duration: Histogram,
    /// Seconds from an entry's id to its acceptance by a socket.
    pub delivery_latency: Histograms<DeliverySource>,
    /// Messages encoded, or shared with another connection.
    pub encodes: Counters<(Format, EncodeResult)>,
    /// Connections whose outbox was full.
    pub slow_consumer_events: Counters<SlowAction>,
    /// Subscriptions of all sessions.
    pub subscriptions: Spread<Gauge>,
    /// Topics with a subscription on this node.
    pub topics: Spread<Gauge>,
}

impl HubMetrics {
    pub(crate) fn new(builder: &mut Builder, shape: &Shape) -> Self {
        let namespaces = Dimension::namespaces(shape);
        Self {
            deliveries: builder.counters_by(
                "deliveries_total",
                &namespaces,
                "Messages for one connection each, by what became of them. dropped_slow comes again from the log.",
            ),
            fanout_size: builder.histogram(
                "fanout_size",
                FANOUTS,
                "Connections of this node that one entry went to.",
            ),
            fanout_duration: builder.histogram(
                "fanout_duration_seconds",
                FAST,
                "Time from an entry's arrival on this node to the last outbox.",
            ),
            delivery_latency: builder.histograms(
                "delivery_latency_seconds",
                FAST,
                "Time from an entry's publication (by its id) to its acceptance by a socket, of the connection that is served last in each batch. The figure to set a target for, with source live.",
            ),
            encodes: builder.counters(
                "encodes_total",
                "Messages encoded (fresh) or taken from another connection of the same format (shared).",
            ),
            slow_consumer_events: builder.counters(
                "slow_consumer_events_total",
                "Connections whose outbox was full, by what was done.",
            ),
            subscriptions: builder.gauges_by(
                "subscriptions",
                &namespaces,
                "Subscriptions of all sessions on this node.",
            ),
            topics: builder.gauges_by(
                "topics",
                &namespaces,
                "Topics with at least one subscription on this node.",
            ),
        }
    }
}
