//! Leaving in good order: phases, pace, deadline.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use sparkway_metrics::DrainPhase;
use sparkway_protocol::CloseReason;
use sparkway_session::Input;
use tokio::time::Instant;

use crate::attached::Attached;
use crate::clock::millis;
use crate::lease;
use crate::shared::Shared;
use crate::trace::{Begun, SpanKind};

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
pub(crate) const OBEY: Duration = Duration::from_millis(500);
/// How long the last close handshakes may take.
const FLUSH: Duration = Duration::from_secs(6);
/// How long the last writes to the store may take.
const WRITES: Duration = Duration::from_secs(2);
/// How often it is looked whose turn it is.
const STEP: Duration = Duration::from_millis(50);
/// How often it is looked who else drains.
const LOOK: Duration = Duration::from_secs(1);

/// Drains the node. Ends when no connection is left, at the latest a few seconds after
/// `drain.duration`. Says whether it did: while the node is only unready, `kept` can end it.
///
/// # Cancel safety
/// Dropped, the node stays in the phase it has reached.
pub(crate) async fn drain(shared: &Arc<Shared>, kept: impl Future<Output = ()>) -> bool {
    let settings = &shared.settings.drain;
    let span = Begun::new("drain", SpanKind::Internal, None);
    let connections = shared.connections();
    shared.enter(Phase::Unready);
    // Order: whoever is kept is kept also when the time is over.
    tokio::select! {
        biased;
        () = kept => {
            shared.enter(Phase::Serving);
            return false;
        }
        () = tokio::time::sleep(settings.readiness_delay) => {}
    }
    shared.enter(Phase::Closing);
    // Before the leases of the others are read: of two that begin at once, one sees the other.
    if let Err(error) = lease::take(shared).await {
        tracing::warn!(%error, "lease not renewed");
    }
    close_all(shared, sessions_in_random_order(shared)).await;
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
    let written = async { tokio::join!(shared.tasks.finished(), shared.all_presence_written()) };
    drop(tokio::time::timeout(WRITES, written).await);
    if let Err(error) = lease::give_up(shared).await {
        tracing::warn!(%error, "lease not released, it runs out by itself");
    }
    if let Some(tracing) = &shared.tracing {
        let mut span = span.end();
        span.attribute("sparkway.connections", connections);
        let forced = &shared.metrics.node.drain_closed;
        span.attribute("sparkway.forced", forced.at(DrainPhase::Forced).get());
        tracing.record(span);
    }
    shared.enter(Phase::Done);
    true
}

fn sessions_in_random_order(shared: &Shared) -> Vec<Arc<Attached>> {
    let mut sessions = shared.registry.all();
    sessions.shuffle(&mut rand::rng());
    sessions
}

/// When whose turn is, by its place in the row.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Schedule {
    /// The turn of `from` is at `since`; then they go at `pace` per second.
    since: Instant,
    from: usize,
    pace: f64,
    /// The part of the survivors' budget that the pace was made from.
    share: f64,
}

impl Schedule {
    /// From now on: the rest spread over the time that is left, but not faster than this node's
    /// share of the budget.
    fn of_rest(rest: std::ops::Range<usize>, left: Duration, share: f64) -> Self {
        let even = rest.len() as f64 / left.as_secs_f64().max(0.1);
        Self {
            since: Instant::now(),
            from: rest.start,
            pace: even.min(share).max(1.0),
            share,
        }
    }

    fn turn(&self, at: usize) -> Instant {
        let ahead = at.saturating_sub(self.from) as f64 / self.pace;
        self.since + Duration::from_secs_f64(ahead)
    }
}

/// What this node may use of the rate at which the others take in clients: all that drain share it.
/// The last known one where the store does not answer.
async fn share(shared: &Shared, known: f64) -> f64 {
    let most = f64::from(shared.settings.drain.max_rate);
    let Ok(nodes) = shared.store.nodes().await else {
        return known.min(most);
    };
    let draining = nodes.iter().filter(|node| node.draining).count().max(1);
    let spare: u32 = nodes
        .iter()
        .filter(|node| !node.draining)
        .fold(0, |sum, node| {
            sum.saturating_add(node.spare_accepts_per_second)
        });
    // Where nobody is left to take them, they wait for the next node.
    let budget = if spare == 0 {
        most
    } else {
        most.min(f64::from(spare))
    };
    budget / draining as f64
}

/// Tells each client of the rest when to leave: in its turn. A later word counts.
fn tell(rest: &[Arc<Attached>], schedule: &Schedule) {
    let now = Instant::now();
    for (at, session) in rest.iter().enumerate() {
        let after = schedule.turn(schedule.from + at).duration_since(now);
        session.handle.post(Input::Drain {
            reconnect_after_ms: millis(after),
        });
    }
}

/// Tells all when to leave, and closes those who did not leave by themselves, each a moment after
/// its turn; at the deadline the rest at once. Other nodes may begin or end to drain meanwhile: the
/// rest is told again then.
async fn close_all(shared: &Shared, leaving: Vec<Arc<Attached>>) {
    let deadline = Instant::now() + shared.settings.drain.duration;
    let left = |now: Instant| deadline.saturating_duration_since(now);
    let first = share(shared, f64::from(shared.settings.drain.max_rate)).await;
    let mut schedule = Schedule::of_rest(0..leaving.len(), left(Instant::now()), first);
    tell(&leaving, &schedule);
    let (mut turned, mut closed) = (0, 0);
    let mut obeying = VecDeque::new();
    let mut look_at = Instant::now() + LOOK;
    while closed < leaving.len() && shared.registry.len() > 0 {
        let now = Instant::now();
        while turned < leaving.len() && schedule.turn(turned) <= now {
            obeying.push_back(schedule.turn(turned) + OBEY);
            turned += 1;
        }
        let late = now >= deadline;
        let due = obeying.iter().take_while(|at| **at <= now).count();
        let until = if late { leaving.len() } else { closed + due };
        obeying.drain(..due);
        for session in leaving.get(closed..until).unwrap_or_default() {
            tracing::trace!(session = %session.session, "drained");
            session.handle.post(Input::Disconnect(CloseReason::Drain));
            let phase = if late {
                DrainPhase::Forced
            } else {
                DrainPhase::Paced
            };
            shared.metrics.node.drain_closed.at(phase).inc();
        }
        let held = i64::try_from(shared.registry.len()).unwrap_or(i64::MAX);
        shared.metrics.node.drain_connections_remaining.set(held);
        closed = until;
        if now >= look_at && turned < leaving.len() {
            look_at = now + LOOK;
            let share = share(shared, schedule.share).await;
            if (share - schedule.share).abs() > 0.5 {
                let rest = turned..leaving.len();
                schedule = Schedule::of_rest(rest, left(Instant::now()), share);
                tell(leaving.get(turned..).unwrap_or_default(), &schedule);
            }
        }
        tokio::time::sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_spread_over_the_time_that_is_left_but_not_above_the_share() {
        let slow = Schedule::of_rest(0..100, Duration::from_secs(10), 500.0);
        assert_eq!(slow.turn(100) - slow.since, Duration::from_secs(10));
        let shared = Schedule::of_rest(0..1000, Duration::from_secs(1), 50.0);
        assert_eq!(shared.turn(1000) - shared.since, Duration::from_secs(20));
        let rest = Schedule::of_rest(500..1000, Duration::from_secs(1), 25.0);
        assert_eq!(rest.turn(500), rest.since);
        assert_eq!(rest.turn(1000) - rest.since, Duration::from_secs(20));
        assert_eq!(rest.turn(10), rest.since, "whose turn it was");
    }
}
