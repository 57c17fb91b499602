//! What a node counts: names, units, buckets, and the handles that the stations hold.
//!
//! *In*: each station is given its part of [`Metrics`] and counts through it.
//!
//! *Out*: [`Metrics::render`], the text that Prometheus scrapes.
//!
//! *Guarantees*: every label comes from a closed enum, so no input of a client can add a series;
//! every series exists from the start, so that its first increase is seen; counting is an atomic
//! addition in an array indexed by the enum, without a lookup. Nothing is global: two nodes in one
//! process have two [`Metrics`].
//!
//! *Never*: labels by topic, user, session, address or node.
//!
//! *Next*: `sparkway-client`, which stands outside.

mod family;
mod hub;
mod inventory;
mod label;
mod node;
mod session;
mod socket;
mod store;
mod topic;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

pub use family::{Counters, Gauges, Histograms};
pub use hub::HubMetrics;
pub use inventory::{Family, Kind, docs_markdown, inventory};
pub use label::{
    AuthReason, BusResult, CloseCode, CommandResult, Delivery, DeliverySource, Direction,
    DrainPhase, EncodeResult, HandshakeResult, Initiator, Label, NodeState, Opcode, Opening,
    Origin, PublishResult, RateScope, RedisOp, RedisRole, RepairResult, ReplaySource, ResumeResult,
    SessionState, SlowAction, SubscribeResult, Takeover,
};
pub use node::NodeMetrics;
pub use prometheus::{
    Gauge as FloatGauge, Histogram, IntCounter as Counter, IntGauge as Gauge,
    local::{LocalHistogram, LocalIntCounter as LocalCounter},
};
pub use session::SessionMetrics;
pub use socket::SocketMetrics;
pub use store::StoreMetrics;
pub use topic::TopicMetrics;

use family::Builder;

/// First part of every name of this node's own families.
const PREFIX: &str = "sparkway";

/// All families of one node. Clone the parts: a clone counts into the same series.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connections, frames, bytes.
    pub socket: SocketMetrics,
    /// Sessions, publishes, subscriptions.
    pub session: SessionMetrics,
    /// Rings, gaps, repairs.
    pub topic: TopicMetrics,
    /// Fan-out and slow consumers.
    pub hub: HubMetrics,
    /// Redis and the feed.
    pub store: StoreMetrics,
    /// The node itself.
    pub node: NodeMetrics,
    own: Registry,
    process: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, with every series at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::with_families().0
    }

    pub(crate) fn with_families() -> (Self, Vec<Family>) {
        let mut builder = Builder::new(PREFIX);
        let socket = SocketMetrics::new(&mut builder);
        let session = SessionMetrics::new(&mut builder);
        let topic = TopicMetrics::new(&mut builder);
        let hub = HubMetrics::new(&mut builder);
        let store = StoreMetrics::new(&mut builder);
        let node = NodeMetrics::new(&mut builder);
        let (own, families) = builder.finish();
        // Standard dashboards look for `process_…` without a prefix: a registry of its own.
        let process = Registry::new();
        family::valid(process.register(Box::new(ProcessCollector::for_self())));
        let metrics = Self {
            socket,
            session,
            topic,
            hub,
            store,
            node,
            own,
            process,
        };
        (metrics, families)
    }

    /// The content type of [`Self::render`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// The current values in the text format 0.0.4. Reads `/proc/self` and walks all series: call
    /// it on the internal runtime, not on the data path.
    #[must_use]
    pub fn render(&self) -> String {
        let mut families = self.own.gather();
        families.extend(self.process.gather());
        let mut text = String::with_capacity(128 * 1024);
        if TextEncoder::new()
            .encode_utf8(&families, &mut text)
            .is_err()
        {
            // Only an empty family fails, and there is none; a scraper sees what was written.
            text.push_str("# incomplete\n");
        }
        text
    }
}

#[cfg(test)]
mod tests;
