//! Sessions that were removed against their owner's will: fenced for a while.

use sparkway_protocol::{CloseReason, SessionId};

use super::nodes::Nodes;
use super::sessions::Sessions;
use crate::Control;

/// How long a session that was removed in favour of another one stays fenced: its owner must not
/// take the missing record for one that the store lost, and write it again.
const REMOVED_MS: u64 = 3_600_000;

impl Sessions {
    /// Removes a session against its owner's will, and tells the owner.
    pub(super) fn remove_for_another(
        &mut self,
        session: SessionId,
        reason: CloseReason,
        now_ms: u64,
        nodes: &Nodes,
    ) {
        let Some(kept) = self.close(session, now_ms) else {
            return;
        };
        self.removed.insert(session, now_ms);
        self.removed_order.push_back((now_ms, session));
        if kept.record.attached || kept.is_orphan {
            nodes.tell(&kept.record.owner, &Control::Close { session, reason });
        }
    }

    pub(super) fn forget_removed(&mut self, now_ms: u64) {
        while let Some(&(at_ms, session)) = self.removed_order.front() {
            if at_ms.saturating_add(REMOVED_MS) > now_ms {
                break;
            }
            self.removed_order.pop_front();
            self.removed.remove(&session);
        }
    }
}
