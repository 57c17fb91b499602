//! Leaving in good order: phases, pace, deadline.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use sparkway_protocol::CloseReason;
use sparkway_session::Input;

use crate::attached::Attached;
use crate::clock::millis;
use crate::shared::Shared;

/// Where a node stands between its start and its end. Later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Accepts and serves.
    Serving,
    /// Serves, and tells load balancers to send nobody new.
    Unready,
    /// Accepts nobody, and sends its clients away at a measured pace.
    Closing,
    /// Waits for the last close handshakes and writes.
    Flushing,
    /// Nothing is left.
    Done,
}

/// How long a client that was told to leave may take before it is closed.
const OBEY: Duration = Duration::from_millis(500);
/// How long the last close handshakes may take.
const FLUSH: Duration = Duration::from_secs(6);
/// How long the last writes to the store may take.
const WRITES: Duration = Duration::from_secs(2);
/// How often the pace is looked at.
const STEP: Duration = Duration::from_millis(50);

/// Drains the node. Ends when no connection is left, at the latest a few seconds after
/// `drain.duration`.
///
/// # Cancel safety
/// Dropped, the node stays in the phase it has reached.
pub(crate) async fn drain(shared: &Arc<Shared>) {
    let settings = &shared.settings.drain;
    shared.enter(Phase::Unready);
    tokio::time::sleep(settings.readiness_delay).await;
    shared.enter(Phase::Closing);
    let leaving = sessions_in_random_order(shared);
    let pace = pace(shared, leaving.len()).await;
    tell_all(&leaving, pace);
    close_all(shared, leaving, pace).await;
    shared.enter(Phase::Flushing);
    shared.disconnect_everybody(CloseReason::Drain);
    let flushed = tokio::time::timeout(FLUSH, async {
        while shared.connections() > 0 {
            tokio::time::sleep(STEP).await;
        }
    });
    if flushed.await.is_err() {
        tracing::warn!(left = shared.connections(), "drain ended by its deadline");
    }
    // Detaches are still being written; what is not, the sweepers do when the lease is gone.
    drop(tokio::time::timeout(WRITES, shared.tasks.finished()).await);
    if let Err(error) = shared.store.release(shared.id.clone()).await {
        tracing::warn!(%error, "lease not released, it runs out by itself");
    }
    shared.enter(Phase::Done);
}

fn sessions_in_random_order(shared: &Shared) -> Vec<Arc<Attached>> {
    let mut sessions = shared.registry.all();
    sessions.shuffle(&mut rand::rng());
    sessions
}

/// Sessions per second: slow enough for the survivors' budget, shared by all nodes that drain.
async fn pace(shared: &Shared, sessions: usize) -> f64 {
    let settings = &shared.settings.drain;
    let draining = shared.store.nodes().await.map_or(1, |nodes| {
        nodes.iter().filter(|node| node.draining).count().max(1)
    });
    let even = sessions as f64 / settings.duration.as_secs_f64().max(0.1);
    let budget = f64::from(settings.max_rate) / draining as f64;
    even.min(budget).max(1.0)
}

/// Tells every client when to leave: in its turn.
fn tell_all(leaving: &[Arc<Attached>], pace: f64) {
    for (turn, session) in leaving.iter().enumerate() {
        let after = Duration::from_secs_f64(turn as f64 / pace);
        session.handle.post(Input::Drain {
            reconnect_after_ms: millis(after),
        });
    }
}

/// Closes those who did not leave by themselves, each a moment after its turn; at the deadline
/// the rest at once.
async fn close_all(shared: &Shared, leaving: Vec<Arc<Attached>>, pace: f64) {
    let began = tokio::time::Instant::now();
    let mut rest = leaving.into_iter().enumerate().peekable();
    while rest.peek().is_some() {
        let elapsed = began.elapsed();
        let late = elapsed >= shared.settings.drain.duration;
        while let Some((turn, session)) = rest.next_if(|(turn, _)| {
            late || Duration::from_secs_f64(*turn as f64 / pace) + OBEY <= elapsed
        }) {
            tracing::trace!(turn, session = %session.session, "drained");
            session.handle.post(Input::Disconnect(CloseReason::Drain));
        }
        if shared.registry.len() == 0 {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}
