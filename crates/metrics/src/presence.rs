//! Who is in which topic.

use crate::family::{Builder, Counters};
use crate::spread::{Dimension, Shape, Spread};
use crate::{Gauge, PresenceWord};

/// What the gateway counts of presence.
#[derive(Clone, Debug)]
pub struct PresenceMetrics {
    /// Sessions of this node in topics.
    pub members: Spread<Gauge>,
    /// Users who came and left.
    pub changes: Counters<PresenceWord>,
    /// Changes that were not told for want of room.
    pub untold: crate::Counter,
    /// Moves that the store refused.
    pub refused: crate::Counter,
}

impl PresenceMetrics {
    pub(crate) fn new(builder: &mut Builder, shape: &Shape) -> Self {
        Self {
            members: builder.gauges_by(
                "presence_members",
                &Dimension::namespaces(shape),
                "Subscriptions of this node's sessions in topics with presence.",
            ),
            changes: builder.counters(
                "presence_changes_total",
                "Users who came into a topic or left it, written by this node. timeout is who stayed away longer than the grace, or was on a node that died.",
            ),
            untold: builder.counter(
                "presence_untold_total",
                "Users who came or left without those who watch the topic being told, because too many did at once.",
            ),
            refused: builder.counter(
                "presence_refused_total",
                "Joins and leaves that the store refused, each attempt counted. They are tried again whenever the node's lease is renewed; until then who is in the topic is not up to date.",
            ),
        }
    }
}
