//! Tells the application what happened: from the outbox of the store, in order, at least once.
//!
//! One node at a time delivers the events of a partition. While it cannot, it tries again, more
//! and more seldom; what is older than `hooks.events_retry` becomes a dead letter.

use std::sync::Arc;
use std::time::Duration;

use sparkway_hooks::{Backends, Hook, Present, Request, ask};
use sparkway_protocol::Partition;
use sparkway_store::{Happened, KeptEvent, Matters, StoreError, TakenEvents};

use crate::clock::millis;
use crate::shared::Shared;

/// Most events of one batch.
const BATCH: usize = 100;
/// How often events are looked for: what comes in between is told together.
const LOOK: Duration = Duration::from_millis(200);
/// How much longer than one attempt no other node delivers those that this one has taken: for the
/// store to be told what became of it. In the pause after a failure another node may take over, and
/// after a node that was killed one does so this soon.
const HOLD_BEYOND: Duration = Duration::from_secs(5);
/// Between two attempts, at the longest.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Shared {
    /// Whether the application wants to be told what happens.
    pub(crate) fn tells(&self) -> bool {
        self.hook(Hook::Events).is_some() && !self.settings.hooks.events.is_empty()
    }

    /// What it wants to be told about.
    pub(crate) fn matters(&self) -> Matters {
        let kinds = self.settings.hooks.events.iter();
        Matters::of(kinds.filter_map(|kind| Happened::parse(kind)))
    }
}

/// Delivers the events of a partition for as long as the node lives.
pub(crate) async fn deliver(shared: Arc<Shared>, partition: Partition) {
    let mut pause = LOOK;
    loop {
        tokio::time::sleep(pause).await;
        let Some(backends) = shared.hook(Hook::Events) else {
            return;
        };
        pause = match Box::pin(deliver_some(&shared, backends, partition)).await {
            Ok(Some(0)) => LOOK,
            // A backlog is worked off as fast as the application takes it.
            Ok(Some(_)) => Duration::ZERO,
            Ok(None) => pause
                .saturating_mul(2)
                .clamp(Duration::from_secs(1), PAUSE_MAX),
            Err(error) => {
                tracing::debug!(%error, "events not read or not settled");
                LOOK.saturating_mul(5)
            }
        };
    }
}

/// How many are left, once the application was reached or there was nothing to tell; `None` where
/// it was not.
async fn deliver_some(
    shared: &Shared,
    backends: &Backends,
    partition: Partition,
) -> Result<Option<u64>, StoreError> {
    let store = &shared.store;
    let hold = backends.events_timeout().saturating_add(HOLD_BEYOND);
    let taken = store.take_events(partition, shared.id.clone(), millis(hold), BATCH);
    let TakenEvents { events, waiting } = taken.await?;
    if events.is_empty() {
        return Ok(Some(0));
    }
    let length = i64::try_from(waiting).unwrap_or(i64::MAX);
    shared.metrics.backend.hook_queue_length.set(length);
    let wanted = |event: &&KeptEvent| {
        let mut kinds = shared.settings.hooks.events.iter();
        kinds.any(|kind| **kind == *event.kind.as_str())
    };
    let to_tell: Vec<&KeptEvent> = events.iter().filter(wanted).collect();
    let ids = |events: &[&KeptEvent]| events.iter().map(|event| event.id.clone()).collect();
    let all: Vec<&KeptEvent> = events.iter().collect();
    if to_tell.is_empty() || tell(shared, backends, partition, &to_tell).await {
        store.settle_events(partition, ids(&all), false).await?;
        let left = waiting.saturating_sub(events.len() as u64);
        let length = i64::try_from(left).unwrap_or(i64::MAX);
        shared.metrics.backend.hook_queue_length.set(length);
        return Ok(Some(left));
    }
    let oldest_ms = shared
        .clock
        .unix_ms()
        .saturating_sub(millis(shared.settings.hooks.events_retry));
    let given_up: Vec<&KeptEvent> = all
        .into_iter()
        .filter(|event| event.at_ms < oldest_ms)
        .collect();
    if !given_up.is_empty() {
        tracing::warn!(events = given_up.len(), "events are given up");
        store.settle_events(partition, ids(&given_up), true).await?;
        let dropped = &shared.metrics.backend.hook_events_dropped;
        dropped.inc_by(given_up.len() as u64);
    }
    Ok(None)
}

/// Tells a batch; says whether it arrived.
async fn tell(
    shared: &Shared,
    backends: &Backends,
    partition: Partition,
    events: &[&KeptEvent],
) -> bool {
    let named = |event: &KeptEvent| format!("evt_{}_{}", partition.get(), event.id);
    let now = shared.clock.now();
    let batch = ask::Batch {
        hook: "events",
        time_ms: now.unix_ms,
        node: shared.id.as_str(),
        events: events
            .iter()
            .map(|event| ask::Event {
                id: named(event),
                kind: event.kind.as_str(),
                time_ms: event.at_ms,
                session: event.session.as_deref(),
                topic: event.topic.as_deref(),
                user: event.user.as_deref(),
            })
            .collect(),
    };
    let ends = events.first().zip(events.last());
    let id = ends.map_or_else(String::new, |(first, last)| {
        format!("{}_{}", named(first), last.id)
    });
    let request = Request {
        hook: Hook::Events,
        id: &id,
        body: batch.to_body(),
        timeout: backends.events_timeout(),
        now: Present {
            mono_ms: now.mono_ms,
            unix_ms: now.unix_ms,
        },
    };
    let told = Box::pin(backends.tell(request)).await;
    if let Err(error) = &told {
        tracing::debug!(%error, events = events.len(), "events not delivered");
    }
    told.is_ok()
}
