//! The heart of a node: one reader per partition hands entries on, strictly in id order over all
//! topics, and repairs what is missing before it goes on.

mod repairing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sparkway_hub::BatchBuilder;
use sparkway_metrics::RepairResult;
use sparkway_protocol::{Entry, Ephemeral, MessageId, Partition, TopicName};
use sparkway_store::feed::FeedRequest;
use sparkway_store::planted::Defect;
use sparkway_store::{Feed, FeedEvent, Hole};
use sparkway_topic::{PresenceDiff, Verdict};

use crate::looks::Looks;
use crate::shared::{Lot, Shared};
use crate::trace::{Begun, SpanKind};
use crate::worker::{FanOut, Worker};

/// Longest pause between two attempts to read the log.
const REPAIR_PAUSE: Duration = Duration::from_millis(250);

/// How many holes are remembered: as many as the store does.
const HOLES: usize = 16;

/// How often it is told who came and left, and about how many users of one topic: a crowd that
/// comes back is told as 1,000 users per second.
const PRESENCE_TURN: Duration = Duration::from_millis(100);
const PRESENCE_PER_TURN: usize = 100;

/// Reads the feed of one partition for as long as the node lives. Its end is the node's end: the
/// clients of a deaf node must resume elsewhere.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    partition: Partition,
    batch: BatchBuilder,
    /// The worker of the reader's own thread, and which one it is.
    own: Option<(usize, Arc<Worker>)>,
    /// Deliveries of the last batch on this thread.
    width: u64,
    /// The defect [`Defect::RepairGoesOn`]: what is to be read when other things have gone on.
    put_off: Option<MessageId>,
    /// Who came and left, and is still to be told.
    presence: PresenceDiff,
    /// What is handed on was read from the log.
    repairing: bool,
    /// What was told to be lost, the last of it.
    told: VecDeque<Hole>,
}

impl Reader {
    pub(crate) fn new(shared: &Arc<Shared>, partition: Partition, position: MessageId) -> Self {
        Self {
            shared: Arc::clone(shared),
            partition,
            batch: BatchBuilder::new(partition, position),
            own: None,
            width: 0,
            put_off: None,
            presence: PresenceDiff::default(),
            repairing: false,
            told: VecDeque::new(),
        }
    }

    /// Hands everything to the worker of the thread it runs on without a detour: the answer to a
    /// publish and the message itself then leave in one write.
    pub(crate) fn beside(mut self, at: usize, worker: &Arc<Worker>) -> Self {
        self.own = Some((at, Arc::clone(worker)));
        self
    }

    /// # Cancel safety
    /// Not safe to resume: a reader is dropped only with its node.
    pub(crate) async fn run(mut self, mut feed: Feed) {
        let sizes = self.shared.sizes;
        let mut events = Vec::with_capacity(sizes.feed_turn);
        let mut linger = tokio::time::interval(Duration::from_millis(sizes.linger_tick_ms));
        linger.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turns = tokio::time::interval(PRESENCE_TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Order: presence has few turns, which entries must not take; topics are let go only
            // when nothing else is to be done.
            tokio::select! {
                biased;
                _ = turns.tick(), if !self.presence.is_empty() => self.tell_presence().await,
                count = feed.events.recv_many(&mut events, sizes.feed_turn) => {
                    if count == 0 {
                        return;
                    }
                    let clock = self.put_off.take();
                    for event in events.drain(..) {
                        self.take(event).await;
                    }
                    self.gather(&mut feed, sizes.feed_turn).await;
                    self.flush().await;
                    if let Some(clock) = clock {
                        self.restored(clock).await;
                    }
                }
                _ = linger.tick() => self.forget_idle(),
            }
        }
    }

    /// Before many connections are written to: takes what other connections are about to publish,
    /// so that it leaves in the same writes. No timer: when nothing more comes, nothing is delayed
    /// by more than two looks at the sockets.
    async fn gather(&mut self, feed: &mut Feed, most: usize) {
        let mut looks = Looks::new(self.width, most);
        while looks.go_on() {
            tokio::task::yield_now().await;
            while let Ok(event) = feed.events.try_recv() {
                self.take(event).await;
                if !looks.found() {
                    return;
                }
            }
        }
    }

    fn lot(&self) -> Option<&Lot> {
        self.shared.lot(self.partition)
    }

    async fn take(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Entry(_) if Defect::NoBackLink.shows(50) => {}
            FeedEvent::Entry(entry) => self.entry(entry).await,
            FeedEvent::Ephemeral(message) if self.is_canary(&message) => {}
            FeedEvent::Ephemeral(message) => {
                self.shared.taps.ephemeral(&message);
                self.batch.ephemeral(message);
            }
            FeedEvent::Presence(change) if change.topic.is_reserved() => {
                if let Some(application) = &self.shared.sites.chat {
                    application.changed(&change);
                }
            }
            FeedEvent::Presence(change) => {
                if !self.presence.note(change) {
                    self.shared.metrics.presence.untold.inc();
                }
            }
            FeedEvent::Live { topic, tip, since } => self.live(&topic, tip, since).await,
            FeedEvent::Restored { clock } if Defect::RepairGoesOn.is_planted() => {
                self.put_off = Some(clock);
            }
            FeedEvent::Restored { clock } => self.restored(clock).await,
            FeedEvent::Rewound(hole) => self.rewound(hole).await,
        }
    }

    async fn entry(&mut self, entry: Arc<Entry>) {
        let verdict = self.lot().and_then(|lot| lot.log().judge(&entry));
        self.shared.count_heard(self.partition, &entry, verdict);
        match verdict {
            Some(Verdict::InOrder | Verdict::Rewound) => self.hand_on(entry),
            Some(Verdict::Hole { .. }) if Defect::ignores_holes() => self.hand_on(entry),
            Some(Verdict::Hole { after }) => self.repair(entry, after).await,
            Some(Verdict::Duplicate) | None => {}
        }
    }

    fn is_canary(&self, message: &Ephemeral) -> bool {
        let canary = self.lot().and_then(|lot| lot.canary.get());
        canary.is_some_and(|canary| canary.hears(message, self.shared.clock.mono_ms()))
    }

    fn hand_on(&mut self, entry: Arc<Entry>) {
        self.keep(&entry);
        self.shared.taps.entry(&entry);
        self.batch.entry(entry);
    }

    /// For those who resume.
    fn keep(&self, entry: &Arc<Entry>) {
        if let Some(lot) = self.lot() {
            let mut log = lot.log();
            self.shared.check_entry(log.last(&entry.topic), entry);
            log.push(Arc::clone(entry));
        }
    }

    /// The topic is live: what came while it was being followed goes through every worker like
    /// any other entry, so that a worker's position says the same of all topics.
    async fn live(&mut self, topic: &TopicName, tip: MessageId, since: Vec<Arc<Entry>>) {
        // Live already, by an earlier answer: what came while it was not followed is in the log.
        let last = self.lot().and_then(|lot| lot.log().last(topic));
        if let Some(last) = last.filter(|last| *last < tip) {
            self.catch_up(vec![(topic.clone(), last)], tip, MessageId::ZERO)
                .await;
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
        let span = Begun::new("gap repair", SpanKind::Internal, None);
        let metrics = self.shared.metrics.topic.clone();
        metrics.gaps_open.inc();
        let topic = entry.topic.clone();
        self.repairing = true;
        self.catch_up(vec![(topic, after)], entry.id, MessageId::ZERO)
            .await;
        self.repairing = false;
        metrics.gaps_open.dec();
        metrics.gap_repairs.at(RepairResult::Ok).inc();
        metrics
            .gap_repair_duration
            .observe(began.elapsed().as_secs_f64());
        if let Some(tracing) = &self.shared.tracing {
            tracing.repaired(span, after, &entry);
        }
        match self.lot().and_then(|lot| lot.log().judge(&entry)) {
            Some(Verdict::InOrder | Verdict::Rewound) => self.hand_on(entry),
            // A hole still: the store lost it with what came before. Who follows the topic is told
            // `rewound`; handed on, it would pass for a continuation.
            Some(Verdict::Hole { .. } | Verdict::Duplicate) | None => {}
        }
    }

    async fn restored(&mut self, clock: MessageId) {
        self.flush().await;
        let topics = self
            .lot()
            .map(|lot| lot.log().live_topics())
            .unwrap_or_default();
        if !Defect::NoRepair.is_planted() {
            let past = self.batch.position();
            self.catch_up(topics, clock, past).await;
        }
        self.batch.reached(clock);
        if let Some(lot) = self.lot() {
            lot.log().reached(clock);
        }
        self.flush_always().await;
        // The server may be another one, that knows no more of the last claims.
        let (shared, partition) = (Arc::clone(&self.shared), self.partition);
        let check = async move { shared.check_ownership(Some(partition)).await };
        self.shared.tasks.spawn(check);
    }

    async fn tell_presence(&mut self) {
        for (topic, changes) in self.presence.take(PRESENCE_PER_TURN) {
            self.batch.presence(topic, changes);
        }
        self.flush().await;
    }

    async fn rewound(&mut self, hole: Hole) {
        self.flush().await;
        match self.told.back_mut() {
            // It grew.
            Some(last) if last.after == hole.after => *last = hole,
            _ => {
                if self.told.len() == HOLES {
                    self.told.pop_front();
                }
                self.told.push_back(hole);
            }
        }
        self.send(&FanOut::Rewound(self.partition, hole)).await;
    }

    async fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.flush_always().await;
        }
    }

    async fn flush_always(&mut self) {
        let batch = self.batch.take();
        let item = if self.repairing {
            FanOut::Repaired(batch)
        } else {
            FanOut::Batch(batch)
        };
        self.send(&item).await;
    }

    /// To every worker. Waits for a worker that is behind: its sessions must see everything, and
    /// the feed's own bound tells the store.
    async fn send(&mut self, item: &FanOut) {
        for (at, inlet) in self.shared.inlets.iter().enumerate() {
            match &self.own {
                Some((own, worker)) if *own == at => self.width = worker.take(item),
                Some(_) | None => inlet.send(item.clone()).await,
            }
        }
    }

    /// Lets go of topics that nobody has wanted for a while. The reader does not wait for the feed
    /// to take the request: the feed may be waiting for the reader.
    fn forget_idle(&self) {
        let Some(lot) = self.lot() else { return };
        let idle = lot
            .log()
            .begin_forgetting(self.shared.clock.mono_ms(), self.shared.sizes.linger_ms);
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
