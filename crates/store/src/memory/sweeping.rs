//! Sessions that nobody came back for, and those whose node is silent.

use sparkway_protocol::SessionId;

use super::nodes::Nodes;
use super::sessions::Sessions;
use crate::{Expired, Happened};

impl Sessions {
    /// See [`crate::Store::sweep`].
    pub(super) fn sweep(
        &mut self,
        now_ms: u64,
        window_ms: u64,
        limit: usize,
        nodes: &Nodes,
    ) -> Vec<Expired> {
        self.forget_removed(now_ms);
        let orphans: Vec<_> = self
            .owned
            .iter()
            .filter(|(node, _)| !nodes.holds(node, now_ms))
            .flat_map(|(_, sessions)| sessions.iter().copied())
            .take(limit)
            .collect();
        for session in orphans {
            if let Some(kept) = self.kept.get_mut(&session) {
                kept.is_orphan = true;
            }
            self.set_deadline(session, now_ms.saturating_add(window_ms));
        }
        let late: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(deadline_ms, _)| *deadline_ms <= now_ms)
            .map(|&(_, session)| session)
            .take(limit)
            .collect();
        late.into_iter()
            .filter_map(|session| {
                if self.take_back(session, now_ms, nodes) {
                    return None;
                }
                let record = self.take(session)?.record;
                let kind = Happened::SessionExpired;
                self.events.add(kind, session, record.user.as_ref(), now_ms);
                let left = record
                    .user
                    .as_ref()
                    .map(|user| self.users.contains_key(user));
                Some(Expired {
                    session,
                    user: record.user,
                    last_of_user: left == Some(false),
                })
            })
            .collect()
    }

    /// Attaches a session again whose owner lives after all: its connection still stands.
    fn take_back(&mut self, session: SessionId, now_ms: u64, nodes: &Nodes) -> bool {
        let Some(kept) = self.kept.get_mut(&session) else {
            return false;
        };
        let lives = kept.is_orphan && nodes.holds(&kept.record.owner, now_ms);
        if lives {
            kept.is_orphan = false;
            kept.record.attached = true;
            let owner = kept.record.owner.clone();
            if let Some(deadline_ms) = kept.deadline_ms.take() {
                self.deadlines.remove(&(deadline_ms, session));
            }
            self.own(owner, session);
        }
        lives
    }
}
