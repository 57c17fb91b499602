//! Sending nodes away, and keeping them.

use sparkway_protocol::NodeId;
use sparkway_store::{Control, StoreError};

use super::Desk;
use crate::drain::Phase;

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    /// The node is told.
    Told,
    /// There is no such node, or its lease has run out.
    Unknown,
    /// This node is closing connections already: it does not come back.
    TooLate,
}

impl Desk {
    /// Wants a node to send its clients away and to end, or not to. A node that drains can be kept
    /// until it begins to close connections.
    ///
    /// # Errors
    /// The node may or may not have been told; safe to repeat.
    ///
    /// # Cancel safety
    /// Dropped, the node may have been told.
    pub async fn drain(&self, node: &NodeId, go: bool) -> Result<Wished, StoreError> {
        let is_own = node == self.node();
        let leases = self.shared.store.nodes().await?;
        if !leases.iter().any(|lease| lease.node == *node) {
            return Ok(Wished::Unknown);
        }
        // Of another node the lease says that it leaves, not whether it can still be kept: it
        // knows itself, and goes on closing if it does already.
        if !go && is_own && self.phase() >= Phase::Closing {
            return Ok(Wished::TooLate);
        }
        if is_own {
            self.shared.drain_wanted.send_replace(go);
        } else {
            let told = Control::Drain { go };
            self.shared.store.tell(node.clone(), told).await?;
        }
        Ok(Wished::Told)
    }
}
