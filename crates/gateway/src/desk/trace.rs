//! What an operator wants to see traced.

use std::sync::Arc;

use futures_util::future::try_join_all;
use sparkway_store::{Control, Marked, StoreError};

use super::Desk;

impl Desk {
    /// Has all nodes record the publishes of a topic or a session for so many seconds, whatever
    /// their ratio; 0 ends it. They stay within the allowance of forced traces, and nodes that
    /// export no traces record nothing. A node that starts later does not know of it.
    ///
    /// # Errors
    /// Some nodes may have been told; safe to repeat.
    ///
    /// # Cancel safety
    /// Dropped, some nodes may have been told.
    pub async fn mark(&self, what: Marked, seconds: u16) -> Result<(), StoreError> {
        self.shared.mark(what.clone(), seconds);
        let nodes = self.shared.store.nodes().await?;
        let others = nodes
            .into_iter()
            .filter(|lease| lease.node != self.shared.id);
        let tell = others.map(|lease| {
            let what = what.clone();
            let store = Arc::clone(&self.shared.store);
            async move {
                store
                    .tell(lease.node, Control::Mark { what, seconds })
                    .await
            }
        });
        try_join_all(tell).await.map(|_| ())
    }

    /// Whether this node exports traces.
    #[must_use]
    pub fn traces(&self) -> bool {
        self.shared.tracing.is_some()
    }
}
