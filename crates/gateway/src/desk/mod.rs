//! The node as backends and operators see it: what the HTTP API may ask of it.

mod drain;
mod hooks;
mod publish;
mod sessions;
mod tail;
mod trace;

use std::sync::Arc;

use sparkway_auth::{Revocation, Revoked};
use sparkway_metrics::Metrics;
use sparkway_protocol::{NodeId, Partitions, SessionId, TopicName};
use sparkway_store::{SharedStore, StoreError};

pub use drain::Wished;
pub use hooks::HookState;
pub use publish::{Publication, Published};
pub use tail::{Next, Tail, Told};

use crate::drain::Phase;
use crate::settings::Settings;
use crate::shared::Shared;

/// A handle to a running node. Cheap to clone; it keeps nothing running.
#[derive(Clone, Debug)]
pub struct Desk {
    shared: Arc<Shared>,
}

impl Desk {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// The node's name in the cluster.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.shared.id
    }

    /// What the node was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// What the node counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The store, for listings and reads. Writes to topics go through [`Desk::publish`].
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.shared.store
    }

    /// Whether it is kept who is in a topic: `topics.presence`, or that of its namespace.
    #[must_use]
    pub fn keeps_presence(&self, topic: &TopicName) -> bool {
        self.shared.has_presence(topic)
    }

    /// Which partition a topic is of.
    #[must_use]
    pub fn layout(&self) -> Partitions {
        self.shared.layout
    }

    /// Unix milliseconds, from the node's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.shared.clock.unix_ms()
    }

    /// What the node is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Open connections of this node.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections()
    }

    /// Sessions in use on this node.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.registry.len()
    }

    /// Bytes that wait for the client of a session; `None` when this node does not serve it.
    #[must_use]
    pub fn queue_bytes(&self, session: SessionId) -> Option<u64> {
        let attached = self.shared.registry.get(session)?;
        Some(attached.handle.outbox.bytes() as u64)
    }

    /// Sessions of this node that receive a topic.
    #[must_use]
    pub fn subscribers(&self, topic: &TopicName) -> u64 {
        let lot = self.shared.lot_of(topic);
        lot.map_or(0, |lot| lot.log().interest(topic))
    }

    /// Revokes tokens on all nodes, as [`Node::revoke`](crate::Node::revoke).
    ///
    /// # Errors
    /// The store does not answer, or keeps too many already: repeat it.
    ///
    /// # Cancel safety
    /// Dropped, other nodes may or may not have learnt of it; repeat it.
    pub async fn revoke(
        &self,
        what: Revoked,
        issued_until_ms: Option<u64>,
        until_ms: Option<u64>,
    ) -> Result<Revocation, StoreError> {
        self.shared.revoke(what, issued_until_ms, until_ms).await
    }
}
