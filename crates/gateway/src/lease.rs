//! A node's sign of life, and the sweeping up after nodes and sessions that have none.

use std::sync::Arc;
use std::time::Duration;

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

/// Takes the lease, or renews it. Once it is given up, nothing is written any more.
///
/// # Errors
/// The store does not answer; sessions opened without a lease count as those of a dead node.
pub(crate) async fn take(shared: &Shared) -> Result<(), StoreError> {
    let Ok(_turn) = shared.lease_turn.acquire().await else {
        return Ok(());
    };
    let lease = NodeLease {
        node: shared.id.clone(),
        connections: shared.connections(),
        spare_accepts_per_second: shared.spare_accepts(),
        // From the first word on: whoever begins to close must know of all others.
        draining: *shared.phase.borrow() >= Phase::Unready,
    };
    shared.store.lease(lease, millis(LEASE)).await
}

/// Gives the lease up. A renewal that is under way ends before, and none follows: it would keep a
/// node that is gone among those that drain until it runs out.
///
/// # Errors
/// The store does not answer; the lease runs out by itself.
pub(crate) async fn give_up(shared: &Shared) -> Result<(), StoreError> {
    let turn = shared.lease_turn.acquire().await;
    shared.lease_turn.close();
    drop(turn);
    shared.store.release(shared.id.clone()).await
}

/// Renews the lease for as long as the node lives.
pub(crate) async fn renew(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut phase = shared.phase.subscribe();
    loop {
        // A node that begins to drain says so at once: the pace of all depends on it.
        tokio::select! {
            biased;
            _ = ticks.tick() => {}
            changed = phase.changed() => if changed.is_err() { return },
        }
        if *shared.phase.borrow() == Phase::Done {
            return;
        }
        shared.ask_store().await;
        if let Err(error) = take(&shared).await {
            tracing::warn!(%error, "lease not renewed");
        }
        shared.try_refused_presence();
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
            shared.sweep_presence(partition, SWEEP_BATCH).await;
            loop {
                let swept = shared.store.sweep(partition, window_ms, SWEEP_BATCH);
                let expired = match swept.await {
                    Ok(expired) => expired.len(),
                    Err(error) => {
                        tracing::debug!(%error, "sweep skipped");
                        break;
                    }
                };
                shared.metrics.session.expired.inc_by(expired as u64);
                if expired < SWEEP_BATCH {
                    break;
                }
            }
        }
    }
}
