//! What always holds in a node. Checked where it is cheap to see; a violation is a defect of the
//! gateway, never of a client or the store: it stops a debug build, is counted in a shipped one,
//! and fails a simulated schedule.

use sparkway_hub::{Batch, Hub, batch::Run};
pub(crate) use sparkway_metrics::Invariant;
use sparkway_protocol::{Entry, MessageId};

use crate::shared::Shared;

impl Shared {
    /// Notes whether an invariant holds.
    pub(crate) fn holds(&self, invariant: Invariant, holds: bool) {
        if holds {
            return;
        }
        self.metrics.node.invariant_violations.at(invariant).inc();
        tracing::error!(invariant = ?invariant, "an invariant does not hold");
        // A planted defect is to be found by what clients see, not by the node's end.
        let is_fatal = cfg!(not(feature = "planted"));
        debug_assert!(holds || !is_fatal, "{invariant:?} does not hold");
    }

    /// [`Invariant::PartitionOrder`]: a worker gets the entries of a partition in id order.
    pub(crate) fn check_batch(&self, hub: &Hub, batch: &Batch) {
        let mut last = hub.position(batch.partition());
        let entries = batch.runs().iter().flat_map(Run::entries);
        let rises = entries
            .map(|entry| entry.id)
            .all(|id| std::mem::replace(&mut last, id) < id);
        self.holds(Invariant::PartitionOrder, rises);
    }

    /// [`Invariant::TopicChain`]: what is handed on is newer than what was, and nothing between
    /// the two is left out.
    pub(crate) fn check_entry(&self, last: Option<MessageId>, entry: &Entry) {
        let continues = last.is_none_or(|last| last < entry.id && entry.prev <= last);
        self.holds(Invariant::TopicChain, continues);
    }
}
