//! A node's sign of life, and the sweeping up after nodes and sessions that have none.

use std::sync::Arc;
use std::time::Duration;

use sparkway_metrics::{NodeState, SessionState};
use sparkway_store::{NodeLease, StoreError};

use crate::clock::millis;
use crate::drain::Phase;
use crate::shared::Shared;

/// How long a lease holds (core.md 3).
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// How often lapsed leases and expired sessions are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Sessions per sweep and partition.
const SWEEP_BATCH: usize = 200;

/// Takes the lease, or renews it.
///
/// # Errors
/// The store does not answer; sessions opened without a lease count as those of a dead node.
pub(crate) async fn take(shared: &Shared) -> Result<(), StoreError> {
    let lease = NodeLease {
        node: shared.id.clone(),
        connections: shared.connections(),
        spare_accepts_per_second: shared.settings.drain.max_rate,
        draining: *shared.phase.borrow() >= Phase::Closing,
    };
    shared.store.lease(lease, millis(LEASE)).await
}

/// Renews the lease for as long as the node lives.
pub(crate) async fn renew(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut phase = shared.phase.subscribe();
    loop {
        // A node that begins to drain says so at once: the pace of all depends on it.
        tokio::select! {
            _ = ticks.tick() => {}
            changed = phase.changed() => if changed.is_err() { return },
        }
        if *shared.phase.borrow() == Phase::Done {
            return;
        }
        shared.measure().await;
        if let Err(error) = take(&shared).await {
            tracing::warn!(%error, "lease not renewed");
        }
    }
}

impl Shared {
    /// Brings the gauges up to date that nobody counts on the way.
    async fn measure(&self) {
        let metrics = &self.metrics;
        let sessions = i64::try_from(self.registry.len()).unwrap_or(i64::MAX);
        metrics
            .session
            .sessions
            .at(SessionState::Attached)
            .set(sessions);
        let (mut topics, mut bytes) = (0, 0);
        for lot in &self.lots {
            let log = lot.log();
            topics += log.len();
            bytes += log.bytes();
        }
        metrics
            .hub
            .topics
            .set(i64::try_from(topics).unwrap_or(i64::MAX));
        metrics
            .topic
            .ring_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let limit = self.settings.limits.connections.unwrap_or(0);
        metrics.socket.connection_limit.set(i64::from(limit));
        if let Ok(nodes) = self.store.nodes().await {
            let draining = nodes.iter().filter(|node| node.draining).count();
            let ready = nodes.len() - draining;
            let nodes = &metrics.node.cluster_nodes;
            nodes
                .at(NodeState::Ready)
                .set(i64::try_from(ready).unwrap_or(i64::MAX));
            nodes
                .at(NodeState::Draining)
                .set(i64::try_from(draining).unwrap_or(i64::MAX));
        }
    }
}

/// Detaches sessions of dead nodes and removes expired ones, each once in the cluster.
pub(crate) async fn sweep(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let window_ms = shared.session.resume_window_ms;
    loop {
        ticks.tick().await;
        for partition in shared.layout.iter() {
            loop {
                match shared.store.sweep(partition, window_ms, SWEEP_BATCH).await {
                    Ok(expired) if expired.len() >= SWEEP_BATCH => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(%error, "sweep skipped");
                        break;
                    }
                }
            }
        }
    }
}
