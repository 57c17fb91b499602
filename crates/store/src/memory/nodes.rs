//! What is known of nodes: their leases, and where to tell them something.

use std::collections::BTreeMap;

use sparkway_protocol::{Epoch, NodeId, SessionId};
use tokio::sync::mpsc;

use crate::{Control, NodeLease, Revocation, StoreError};

/// Control messages that wait for a node; one that finds no room is gone (at most once).
const CONTROLS: usize = 4096;

/// How long the last renewal of a node is remembered, in milliseconds: 1 h.
const RENEWAL_KEPT_MS: u64 = 3_600_000;

/// Shared by all partitions.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    leases: BTreeMap<NodeId, (NodeLease, u64)>,
    /// When nodes last renewed their leases, for those that ran out, too.
    renewed: BTreeMap<NodeId, u64>,
    controls: BTreeMap<NodeId, Vec<mpsc::Sender<Control>>>,
    revoked: BTreeMap<Box<str>, u64>,
}

impl Nodes {
    pub(super) fn listen(&mut self, node: &NodeId) -> mpsc::Receiver<Control> {
        let (sender, receiver) = mpsc::channel(CONTROLS);
        self.controls.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        self.controls.entry(node.clone()).or_default().push(sender);
        receiver
    }

    pub(super) fn tell(&self, node: &NodeId, control: &Control) {
        for sender in self.controls.get(node).into_iter().flatten() {
            if sender.try_send(control.clone()).is_err() {
                tracing::debug!(%node, "control message was dropped");
            }
        }
    }

    /// Tells the owner of a session that another has it now.
    pub(super) fn tell_superseded(&self, owner: &NodeId, session: SessionId, epoch: Epoch) {
        self.tell(owner, &Control::Superseded { session, epoch });
    }

    /// See [`crate::Store::revoke`].
    pub(super) fn revoke(
        &mut self,
        revocation: &Revocation,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.revoked.retain(|_, until_ms| *until_ms > now_ms);
        let is_known = self.revoked.contains_key(&revocation.what);
        if !is_known && self.revoked.len() >= Revocation::COUNT_MAX {
            return Err(StoreError::Unavailable("too many revocations"));
        }
        let until_ms = self.revoked.entry(revocation.what.clone()).or_default();
        *until_ms = revocation.until_ms.max(*until_ms);
        for node in self.controls.keys() {
            self.tell(node, &Control::Revoked(revocation.clone()));
        }
        Ok(())
    }

    /// See [`crate::Store::revocations`].
    pub(super) fn revocations(&mut self, now_ms: u64) -> Vec<Revocation> {
        self.revoked.retain(|_, until_ms| *until_ms > now_ms);
        let kept = self.revoked.iter();
        kept.map(|(what, &until_ms)| Revocation {
            what: what.clone(),
            until_ms,
        })
        .collect()
    }

    pub(super) fn lease(&mut self, lease: NodeLease, now_ms: u64, until_ms: u64) {
        let is_forgotten = |at_ms: u64| at_ms.saturating_add(RENEWAL_KEPT_MS) < now_ms;
        self.renewed.retain(|_, at_ms| !is_forgotten(*at_ms));
        self.renewed.insert(lease.node.clone(), now_ms);
        self.leases.insert(lease.node.clone(), (lease, until_ms));
    }

    /// When the node last renewed its lease; not known for ever.
    pub(super) fn renewed_ms(&self, node: &NodeId) -> Option<u64> {
        self.renewed.get(node).copied()
    }

    pub(super) fn release(&mut self, node: &NodeId) {
        self.leases.remove(node);
    }

    /// Whether the node's lease holds.
    pub(super) fn holds(&self, node: &NodeId, now_ms: u64) -> bool {
        self.leases
            .get(node)
            .is_some_and(|&(_, until_ms)| until_ms > now_ms)
    }

    pub(super) fn list(&mut self, now_ms: u64) -> Vec<NodeLease> {
        self.leases
            .retain(|_, &mut (_, until_ms)| until_ms > now_ms);
        self.leases
            .values()
            .map(|(lease, _)| lease.clone())
            .collect()
    }
}
