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

mod backend;
mod family;
mod http;
mod hub;
mod inventory;
mod label;
mod node;
mod presence;
mod redis;
mod session;
mod socket;
mod spread;
mod store;
mod topic;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

pub use backend::BackendMetrics;
pub use family::{Counters, Gauges, Histograms};
pub use http::HttpMetrics;
pub use hub::HubMetrics;
pub use inventory::{Family, Kind, docs_markdown, inventory};
pub use label::{
    AuthReason, BusResult, CloseCode, CommandResult, Delivery, DeliverySource, Direction,
    DrainPhase, EncodeResult, FetchResult, HandshakeResult, Hook, HookResult, HttpRoute,
    HttpStatus, Initiator, Invariant, Label, LinkState, NodeState, Opcode, Opening, Origin,
    PresenceWord, PublishResult, RateScope, RedisOp, RedisRole, ReloadResult, RepairResult,
    ReplaySource, ResumeResult, SessionState, SlowAction, SpanResult, SubscribeResult, Takeover,
};
pub use node::NodeMetrics;
pub use presence::PresenceMetrics;
pub use prometheus::{
    Counter as FloatCounter, Gauge as FloatGauge, Histogram, IntCounter as Counter,
    IntGauge as Gauge,
    local::{LocalHistogram, LocalIntCounter as LocalCounter},
};
pub use redis::RedisMetrics;
pub use session::SessionMetrics;
pub use socket::SocketMetrics;
pub use spread::{NAMESPACES_MAX, Shape, Slots, Spread};
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
    /// Who is in which topic.
    pub presence: PresenceMetrics,
    /// Fan-out and slow consumers.
    pub hub: HubMetrics,
    /// The feed.
    pub store: StoreMetrics,
    /// The HTTP API.
    pub http: HttpMetrics,
    /// The application's backends.
    pub backend: BackendMetrics,
    /// Calls of Redis; zero with the embedded store.
    pub redis: RedisMetrics,
    /// Which series a namespace has.
    pub namespaces: Slots,
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
    /// All families of a node of one thread, without namespaces, over the embedded store.
    #[must_use]
    pub fn new() -> Self {
        Self::of(&Shape::default(), None)
    }

    /// All families, with every series at zero but those that a store has counted already.
    #[must_use]
    pub fn of(shape: &Shape, redis: Option<RedisMetrics>) -> Self {
        let mut metrics = Self::with_families(shape).0;
        if let Some(redis) = redis {
            metrics.redis = redis;
        }
        metrics
    }

    pub(crate) fn with_families(shape: &Shape) -> (Self, Vec<Family>) {
        let mut builder = Builder::new(PREFIX);
        let socket = SocketMetrics::new(&mut builder);
        let session = SessionMetrics::new(&mut builder, shape);
        let topic = TopicMetrics::new(&mut builder);
        let presence = PresenceMetrics::new(&mut builder, shape);
        let hub = HubMetrics::new(&mut builder, shape);
        let store = StoreMetrics::new(&mut builder, shape);
        let http = HttpMetrics::new(&mut builder);
        let backend = BackendMetrics::new(&mut builder);
        let node = NodeMetrics::new(&mut builder, shape);
        let (own, mut families) = builder.finish();
        let (redis, more) = RedisMetrics::with_families();
        families.extend(more);
        // Standard dashboards look for `process_…` without a prefix: a registry of its own.
        let process = Registry::new();
        family::valid(process.register(Box::new(ProcessCollector::for_self())));
        let metrics = Self {
            socket,
            session,
            topic,
            presence,
            hub,
            store,
            http,
            backend,
            redis,
            namespaces: Slots::of(shape),
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
        families.extend(self.redis.registry().gather());
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
