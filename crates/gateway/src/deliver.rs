//! A batch on its way to one worker's connections, and what is counted of it and of the feed.

use std::sync::{Arc, MutexGuard};
use std::time::{Instant, SystemTime};

use sparkway_hub::{Batch, Delivered, Hub};
use sparkway_metrics::{BusResult, Delivery, DeliverySource, EncodeResult, SlowAction};
use sparkway_protocol::{Entry, Format, MessageId, Partition};
use sparkway_topic::Verdict;

use crate::attached::Attached;
use crate::shared::Shared;
use crate::worker::Worker;

impl Worker {
    pub(crate) fn deliver(
        &self,
        mut hub: MutexGuard<'_, Hub>,
        batch: &Arc<Batch>,
        source: DeliverySource,
    ) -> u64 {
        let began = Instant::now();
        let mut delivered = Delivered::default();
        let slots = &self.shared.metrics.namespaces;
        for run in batch.runs() {
            let before = (delivered.queued, delivered.dropped_ephemeral);
            hub.apply_run(batch.partition(), run, &mut delivered);
            let queued = delivered.queued - before.0;
            let dropped = delivered.dropped_ephemeral - before.1;
            if queued + dropped > 0 {
                let slot = slots.slot(run.topic().namespace());
                let deliveries = self.shared.metrics.hub.deliveries.of(slot);
                deliveries.at(Delivery::Queued).inc_by(queued);
                deliveries.at(Delivery::DroppedSlow).inc_by(dropped);
            }
        }
        hub.reached(batch.partition(), batch.position());
        drop(hub);
        self.count(batch, &delivered, began);
        self.time(batch, &delivered, source);
        if let Some(tracing) = &self.shared.tracing
            && delivered.queued > 0
        {
            let entries = batch
                .runs()
                .iter()
                .flat_map(sparkway_hub::batch::Run::entries);
            let source = match source {
                DeliverySource::Live => "live",
                DeliverySource::Repair => "repair",
                DeliverySource::Replay => "replay",
            };
            let began = SystemTime::now() - began.elapsed();
            tracing.delivered(entries, (began, source), delivered.queued);
        }
        delivered.queued
    }

    fn count(&self, batch: &Batch, delivered: &Delivered, began: Instant) {
        if batch.runs().is_empty() {
            return;
        }
        let metrics = &self.shared.metrics.hub;
        metrics
            .slow_consumer_events
            .at(SlowAction::Coalesced)
            .inc_by(delivered.unhooked);
        metrics
            .slow_consumer_events
            .at(SlowAction::Dropped)
            .inc_by(delivered.dropped_ephemeral);
        for (format, (&taken, &fresh)) in Format::ALL
            .into_iter()
            .zip(delivered.taken.iter().zip(&delivered.fresh))
        {
            if taken > 0 {
                let encodes = &metrics.encodes;
                encodes.at((format, EncodeResult::Fresh)).inc_by(fresh);
                let shared = taken.saturating_sub(fresh);
                encodes.at((format, EncodeResult::Shared)).inc_by(shared);
            }
        }
        metrics.fanout_size.observe(delivered.queued as f64);
        metrics
            .fanout_duration
            .observe(began.elapsed().as_secs_f64());
    }

    /// Measures until the connection that was served last has its share in the kernel: one
    /// measurement per batch, and not one per message and connection.
    fn time(&self, batch: &Batch, delivered: &Delivered, source: DeliverySource) {
        let entries = batch
            .runs()
            .iter()
            .flat_map(sparkway_hub::batch::Run::entries);
        if let (Some(last), Some(seat)) = (entries.last(), &delivered.last) {
            let latency = self.shared.metrics.hub.delivery_latency.at(source).clone();
            let (clock, published_ms) = (self.shared.clock, last.id.unix_ms());
            seat.outbox.when_written(move || {
                let age_ms = clock.unix_ms().saturating_sub(published_ms);
                latency.observe(age_ms as f64 / 1000.0);
            });
        }
    }
}

impl Shared {
    /// An entry came through the feed of a partition.
    pub(crate) fn count_heard(
        &self,
        partition: Partition,
        entry: &Entry,
        verdict: Option<Verdict>,
    ) {
        let metrics = &self.metrics.store;
        let label = match verdict {
            Some(Verdict::InOrder | Verdict::Rewound) => BusResult::Delivered,
            Some(Verdict::Duplicate) => BusResult::Duplicate,
            Some(Verdict::Hole { .. }) => BusResult::Gap,
            None => BusResult::NoSubscriber,
        };
        let shard = partition.index();
        metrics.bus_messages.of(shard).at(label).inc();
        let lag_ms = self.clock.unix_ms().saturating_sub(entry.id.unix_ms());
        metrics.bus_lag.of(shard).observe(lag_ms as f64 / 1000.0);
    }
}

impl Attached {
    /// Names in its traces what is about to be replayed.
    pub(crate) fn trace_replay(&self, entries: &[Arc<Entry>]) {
        if let Some(tracing) = &self.worker.shared.tracing {
            let mine = entries.iter().filter(|entry| self.is_for(entry));
            tracing.delivered(mine, (SystemTime::now(), "replay"), 1);
        }
    }

    /// Measures until the last message of a page is in the kernel.
    pub(crate) fn time_replay(&self, newest: Option<MessageId>) {
        let Some(newest) = newest else { return };
        let shared = &self.worker.shared;
        let latency = &shared.metrics.hub.delivery_latency;
        let (latency, clock) = (latency.at(DeliverySource::Replay).clone(), shared.clock);
        self.seat.outbox.when_written(move || {
            let age_ms = clock.unix_ms().saturating_sub(newest.unix_ms());
            latency.observe(age_ms as f64 / 1000.0);
        });
    }

    /// Whether the session is to receive an entry.
    pub(crate) fn is_for(&self, entry: &Entry) -> bool {
        self.subs()
            .iter()
            .find(|sub| sub.topic == entry.topic)
            .is_some_and(|sub| entry.id > sub.start && entry.is_for(self.session, sub.echo))
    }
}
