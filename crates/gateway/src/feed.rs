//! The heart of a node: one reader per partition hands entries on, strictly in id order over all
//! topics, and repairs what is missing before it goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sparkway_hub::BatchBuilder;
use sparkway_metrics::{BusResult, RepairResult};
use sparkway_protocol::{Entry, MessageId, Partition, TopicName};
use sparkway_store::feed::FeedRequest;
use sparkway_store::{Feed, FeedEvent, Hole, Page, Want};
use sparkway_topic::{Part, Verdict, Window, merge, missing_before};

use crate::clock::unix_ms;
use crate::shared::{Lot, Shared};
use crate::worker::FanOut;

/// Events taken per wake-up: what comes together goes out together.
const EVENTS_PER_TURN: usize = 256;
/// Entries read per topic and page of a repair.
const REPAIR_PAGE: usize = 256;
/// The same after the store did not answer in time.
const REPAIR_PAGE_MIN: usize = 4;
/// Topics read in one call of a repair.
const REPAIR_TOPICS: usize = 64;
/// Longest pause between two attempts to read the log.
const REPAIR_PAUSE: Duration = Duration::from_millis(250);
/// How long a topic without subscribers stays live, for those who come back.
const LINGER_MS: u64 = 30_000;
/// How often topics without subscribers are looked for.
const LINGER_TICK: Duration = Duration::from_secs(5);

/// Reads the feed of one partition for as long as the node lives. Its end is the node's end: the
/// clients of a deaf node must resume elsewhere.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    partition: Partition,
    batch: BatchBuilder,
}

impl Reader {
    pub(crate) fn new(shared: &Arc<Shared>, partition: Partition, position: MessageId) -> Self {
        Self {
            shared: Arc::clone(shared),
            partition,
            batch: BatchBuilder::new(partition, position),
        }
    }

    /// # Cancel safety
    /// Not safe to resume: a reader is dropped only with its node.
    pub(crate) async fn run(mut self, mut feed: Feed) {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        let mut linger = tokio::time::interval(LINGER_TICK);
        linger.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Order: entries first; topics are let go only when nothing else is to be done.
            tokio::select! {
                biased;
                count = feed.events.recv_many(&mut events, EVENTS_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                    for event in events.drain(..) {
                        self.take(event).await;
                    }
                    self.flush().await;
                }
                _ = linger.tick() => self.forget_idle(),
            }
        }
    }

    fn lot(&self) -> Option<&Lot> {
        self.shared.lot(self.partition)
    }

    async fn take(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Entry(entry) => self.entry(entry).await,
            FeedEvent::Ephemeral(message) => self.batch.ephemeral(message),
            FeedEvent::Live { topic, tip, since } => self.live(&topic, tip, since).await,
            FeedEvent::Restored { clock } => self.restored(clock).await,
            FeedEvent::Rewound(hole) => self.rewound(hole).await,
        }
    }

    async fn entry(&mut self, entry: Arc<Entry>) {
        let verdict = self.lot().and_then(|lot| lot.log().judge(&entry));
        self.count(&entry, verdict);
        match verdict {
            Some(Verdict::InOrder | Verdict::Rewound) => self.hand_on(entry),
            Some(Verdict::Hole { after }) => self.repair(entry, after).await,
            Some(Verdict::Duplicate) | None => {}
        }
    }

    fn count(&self, entry: &Entry, verdict: Option<Verdict>) {
        let metrics = &self.shared.metrics.store;
        let label = match verdict {
            Some(Verdict::InOrder | Verdict::Rewound) => BusResult::Delivered,
            Some(Verdict::Duplicate) => BusResult::Duplicate,
            Some(Verdict::Hole { .. }) => BusResult::Gap,
            None => BusResult::NoSubscriber,
        };
        metrics.bus_messages.at(label).inc();
        let lag_ms = unix_ms().saturating_sub(entry.id.unix_ms());
        metrics.bus_lag.observe(lag_ms as f64 / 1000.0);
    }

    fn hand_on(&mut self, entry: Arc<Entry>) {
        if let Some(lot) = self.lot() {
            lot.log().push(Arc::clone(&entry));
        }
        self.batch.entry(entry);
    }

    /// The topic is live: what came while it was being followed goes through every worker like
    /// any other entry, so that a worker's position says the same of all topics.
    async fn live(&mut self, topic: &TopicName, tip: MessageId, since: Vec<Arc<Entry>>) {
        // Live already, by an earlier answer: what came while it was not followed is in the log.
        let last = self.lot().and_then(|lot| lot.log().last(topic));
        if let Some(last) = last.filter(|last| *last < tip) {
            self.catch_up(vec![(topic.clone(), last)], tip).await;
        }
        if let Some(lot) = self.lot() {
            lot.log().live(topic, tip);
        }
        self.batch.reached(tip);
        for entry in since {
            self.entry(entry).await;
        }
        self.flush_always().await;
        if let Some(lot) = self.lot() {
            lot.changed.notify_waiters();
        }
    }

    /// An entry came whose predecessor did not: nothing more is handed on until the log has been
    /// read, so that no session sees a later entry of the topic before an earlier one.
    async fn repair(&mut self, entry: Arc<Entry>, after: MessageId) {
        tracing::warn!(
            partition = self.partition.get(),
            "hole in the feed, reading the log"
        );
        self.flush().await;
        let began = Instant::now();
        let metrics = self.shared.metrics.topic.clone();
        metrics.gaps_open.inc();
        let topic = entry.topic.clone();
        self.catch_up(vec![(topic, after)], entry.id).await;
        metrics.gaps_open.dec();
        metrics.gap_repairs.at(RepairResult::Ok).inc();
        metrics
            .gap_repair_duration
            .observe(began.elapsed().as_secs_f64());
        let verdict = self.lot().and_then(|lot| lot.log().judge(&entry));
        if !matches!(verdict, Some(Verdict::Duplicate) | None) {
            self.hand_on(entry);
        }
    }

    async fn restored(&mut self, clock: MessageId) {
        self.flush().await;
        let topics = self
            .lot()
            .map(|lot| lot.log().live_topics())
            .unwrap_or_default();
        self.catch_up(topics, clock).await;
        self.batch.reached(clock);
        if let Some(lot) = self.lot() {
            lot.log().reached(clock);
        }
        self.flush_always().await;
    }

    /// Reads all topics from their last ids up to `bound`, merges them, hands them on.
    async fn catch_up(&mut self, topics: Vec<(TopicName, MessageId)>, bound: MessageId) {
        let mut cursors = topics;
        while !cursors.is_empty() {
            let mut parts = Vec::with_capacity(cursors.len());
            let mut more = Vec::new();
            for chunk in cursors.chunks(REPAIR_TOPICS) {
                let wants: Vec<Want> = chunk
                    .iter()
                    .map(|(topic, after)| Want {
                        topic: topic.clone(),
                        after: *after,
                    })
                    .collect();
                for (page, (topic, after)) in self.read(wants).await.into_iter().zip(chunk) {
                    self.tell_gap(topic, *after, &page).await;
                    if page.more {
                        more.push(topic.clone());
                    }
                    parts.push(Part {
                        entries: page.entries,
                        more: page.more,
                    });
                }
            }
            let merged = merge(parts, bound);
            for entry in merged.entries {
                self.hand_on(entry);
            }
            self.flush().await;
            if merged.position >= bound {
                return;
            }
            cursors = cursors
                .into_iter()
                .map(|(topic, after)| (topic, after.max(merged.position)))
                .collect();
        }
    }

    /// Reads until the store answers: nothing may be handed on before.
    async fn read(&self, wants: Vec<Want>) -> Vec<Page> {
        let mut pause = Duration::from_millis(10);
        let mut limit = REPAIR_PAGE;
        loop {
            match self
                .shared
                .store
                .read(self.partition, wants.clone(), limit)
                .await
            {
                Ok(pages) => return pages,
                Err(error) => {
                    tracing::warn!(partition = self.partition.get(), %error, "repair waits");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REPAIR_PAUSE);
                    // What was too much for one answer must not be asked for ever.
                    limit = (limit / 2).max(REPAIR_PAGE_MIN);
                }
            }
        }
    }

    /// What the log no longer has is told to everybody who should have received it.
    async fn tell_gap(&self, topic: &TopicName, after: MessageId, page: &Page) {
        let first = page.entries.first().map(AsRef::as_ref);
        let age_ms = self.shared.retention(topic).age_ms;
        let window = Window {
            now_ms: unix_ms(),
            age_ms,
        };
        if let Some(gap) = missing_before(topic, after, first, after, window) {
            self.shared
                .metrics
                .topic
                .gap_repairs
                .at(RepairResult::Trimmed)
                .inc();
            self.send(&FanOut::Gap(gap)).await;
        }
    }

    async fn rewound(&mut self, hole: Hole) {
        self.flush().await;
        self.send(&FanOut::Rewound(self.partition, hole)).await;
    }

    async fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.flush_always().await;
        }
    }

    async fn flush_always(&mut self) {
        let batch = self.batch.take();
        self.send(&FanOut::Batch(batch)).await;
    }

    /// To every worker. Waits for a worker that is behind: its sessions must see everything, and
    /// the feed's own bound tells the store.
    async fn send(&self, item: &FanOut) {
        for inlet in &self.shared.inlets {
            inlet.send(item.clone()).await;
        }
    }

    /// Lets go of topics that nobody has wanted for a while. The reader does not wait for the feed
    /// to take the request: the feed may be waiting for the reader.
    fn forget_idle(&self) {
        let Some(lot) = self.lot() else { return };
        let idle = lot
            .log()
            .begin_forgetting(self.shared.clock.mono_ms(), LINGER_MS);
        if idle.is_empty() {
            return;
        }
        let (shared, partition) = (Arc::clone(&self.shared), self.partition);
        self.shared.tasks.spawn(async move {
            let Some(lot) = shared.lot(partition) else {
                return;
            };
            // A request that cannot be made any more means that the feed has ended.
            lot.feed.request(FeedRequest::Forget(idle.clone())).await;
            let wanted = lot.log().let_go(idle);
            if !wanted.is_empty() {
                lot.feed.request(FeedRequest::Follow(wanted)).await;
            }
        });
    }
}
