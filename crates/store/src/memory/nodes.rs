//! What is known of nodes: their leases, and where to tell them something.

use std::collections::BTreeMap;

use sparkway_protocol::NodeId;
use tokio::sync::mpsc;

use crate::{Control, NodeLease};

/// Control messages that wait for a node; one that finds no room is gone (at most once).
const CONTROLS: usize = 4096;

/// Shared by all partitions.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    leases: BTreeMap<NodeId, (NodeLease, u64)>,
    controls: BTreeMap<NodeId, Vec<mpsc::Sender<Control>>>,
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

    pub(super) fn lease(&mut self, lease: NodeLease, until_ms: u64) {
        self.leases.insert(lease.node.clone(), (lease, until_ms));
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
