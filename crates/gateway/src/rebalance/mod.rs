//! Evens connections out over the nodes of a cluster, behind a balancer that does not.
//!
//! Only clients of the native dialect are sent away or sent on: they come back at once, on any
//! node, and miss nothing; for the others a lost connection is one of few attempts.

mod rule;
#[cfg(test)]
mod simulation;
mod takers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::seq::IteratorRandom as _;
use sparkway_protocol::{CloseReason, Format};
use sparkway_session::Input;

use crate::attached::Attached;
use crate::connection::Connection;
use crate::drain::{OBEY, Phase};
use crate::shared::Shared;
use rule::Loads;
use takers::Takers;

/// Between two decisions.
const STEP: Duration = Duration::from_secs(1);
/// Every so many steps the leases are read: they are renewed as often.
const LEASES: u64 = 5;
/// How far the age of a connection may be from the configured one, on either side.
const AGE_JITTER: f64 = 0.2;

/// Evens out for as long as the node serves.
pub(crate) async fn run(shared: Arc<Shared>) {
    let settings = shared.settings.rebalance.clone();
    if !settings.enabled {
        return;
    }
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut others, mut leased): (Vec<u64>, _) = (Vec::new(), u64::MAX);
    let (mut steps, mut owed, mut over) = (0_u64, 0.0, false);
    let (mut takers, mut gone) = (Takers::new(), 0_u64);
    while *shared.phase.borrow() == Phase::Serving {
        ticks.tick().await;
        if steps.is_multiple_of(LEASES)
            && let Ok(nodes) = shared.store.nodes().await
        {
            let (own, rest): (Vec<_>, Vec<_>) =
                nodes.iter().partition(|node| node.node == shared.id);
            let serving = rest.iter().filter(|node| !node.draining);
            let counts: Vec<_> = serving
                .map(|node| (node.node.clone(), node.connections))
                .collect();
            let judged = (std::mem::take(&mut gone), settings.threshold);
            let (count, left_out) = takers.look(&counts, shared.connections(), judged);
            others = count;
            for node in left_out {
                tracing::warn!(%node, "left out of the balance: nobody comes to it");
            }
            // While a crowd arrives the others' counts are behind: this node's as far behind.
            leased = own.first().map_or(u64::MAX, |node| node.connections);
        }
        steps += 1;
        let loads = Loads {
            own: shared.connections().min(leased),
            others: &others,
        };
        over = rule::is_over(loads, &settings, over);
        if !over {
            shared.refuse_newcomers(0.0);
            owed = 0.0;
            continue;
        }
        shared.refuse_newcomers(rule::refused_share(loads, &settings));
        owed += rule::quota(loads, &settings, STEP.as_secs_f64());
        let mut most = 0;
        while owed >= 1.0 {
            owed -= 1.0;
            most += 1;
        }
        let leaving = natives(&shared, most);
        let shed = &shared.metrics.node.rebalance_shed;
        shed.inc_by(leaving.len() as u64);
        gone += leaving.len() as u64;
        for session in leaving {
            send_away(&shared, session);
        }
    }
    shared.refuse_newcomers(0.0);
}

/// Some sessions of the native dialect, at most `most` of them.
fn natives(shared: &Shared, most: usize) -> Vec<Arc<Attached>> {
    if most == 0 {
        return Vec::new();
    }
    let sessions = shared.registry.all();
    let native = sessions
        .into_iter()
        .filter(|session| is_native(session.seat.format));
    native.choose_multiple(&mut rand::rng(), most)
}

/// Asks a client to come back elsewhere, and closes its connection when it has not left by itself.
fn send_away(shared: &Arc<Shared>, session: Arc<Attached>) {
    session.handle.post(Input::Drain {
        reconnect_after_ms: 0,
    });
    shared.tasks.spawn(async move {
        tokio::time::sleep(OBEY).await;
        session.handle.post(Input::Disconnect(CloseReason::Drain));
    });
}

/// Whether a client comes back by itself, at once, and misses nothing.
const fn is_native(format: Format) -> bool {
    matches!(format, Format::SparkJson | Format::SparkMsgPack)
}

impl Shared {
    fn refuse_newcomers(&self, share: f64) {
        let refused = &self.refused_newcomers;
        refused.store(share.to_bits(), Ordering::Relaxed);
    }

    /// Whether this newcomer is to try another node. `native`: it said that it speaks the native
    /// dialect.
    pub(crate) fn sends_on(&self, native: bool) -> bool {
        let refused = f64::from_bits(self.refused_newcomers.load(Ordering::Relaxed));
        let sent_on = native && rand::random::<f64>() < refused;
        if sent_on {
            self.sent_on.fetch_add(1, Ordering::Relaxed);
        }
        sent_on
    }

    /// Whether a request that was answered with 503 was one of those; each is asked for once.
    pub(crate) fn was_sent_on(&self) -> bool {
        let sent = &self.sent_on;
        let one_less = |count: u64| count.checked_sub(1);
        sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}

impl Connection {
    /// How long this connection may last, in monotonic milliseconds of the node; none for clients
    /// that would miss something.
    pub(crate) fn last_ms(shared: &Shared, format: Format) -> Option<u64> {
        let age = shared.settings.rebalance.max_connection_age?;
        let jitter = 1.0 - AGE_JITTER + 2.0 * AGE_JITTER * rand::random::<f64>();
        let last = crate::clock::millis(age.mul_f64(jitter));
        is_native(format).then(|| shared.clock.mono_ms().saturating_add(last))
    }

    /// Sends a client away that has been here for long enough.
    pub(crate) fn look_at_age(&mut self) {
        let now_ms = self.worker.shared.clock.mono_ms();
        if self.last_ms.is_some_and(|last_ms| now_ms >= last_ms)
            && let Some(attached) = self.in_use()
        {
            self.last_ms = None;
            let shared = Arc::clone(&self.worker.shared);
            shared.metrics.node.rebalance_shed.inc();
            send_away(&shared, attached);
        }
    }
}
