//! How a session gets from where its client stands to live delivery: after a resume, and after
//! its outbox was full.
//!
//! The session's topics are joined first, behind a closed seat (the gate): the ring of each then
//! holds whatever is published from that moment on. What lies before comes from the ring or the
//! log, page by page, as the socket drains, so the memory per session is bounded however far it
//! is behind. When the ring reaches back to the session's position, the rest of it is queued and
//! the seat hooked in, in one step without an await: nothing is missed in between and nothing
//! comes twice.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use sparkway_dialect::{encode, encode_at};
use sparkway_hub::{Coverage, PartitionLog};
use sparkway_metrics::RateScope;
use sparkway_protocol::{Entry, Event, Gap, GapReason, MessageId, Partition, TopicName};
use sparkway_session::Input;
use sparkway_socket::Push;
use sparkway_store::planted::Defect;
use sparkway_store::{Hole, StoreError, Want};
use sparkway_topic::{Merged, Part, Window, merge, missing_before};

use crate::attached::Attached;
use crate::invariant::Invariant;
use crate::reads::Wish;

/// Longest pause between two attempts to read.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A partition in which a session is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) partition: Partition,
    /// Everything up to this id is queued, or is not for the session.
    pub(crate) position: MessageId,
}

/// The next piece of a lane.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) position: MessageId,
    pub(crate) gaps: Vec<Gap>,
    /// Some of it was not in the rings.
    pub(crate) from_log: bool,
}

impl Attached {
    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to feed the session from where its outbox was full.
    pub(crate) fn feed_from(self: &Arc<Self>, positions: &sparkway_hub::Positions) {
        let layout = self.worker.shared.layout.iter();
        let behind = layout.zip(positions);
        let behind = behind.filter(|(_, position)| **position != MessageId::MAX);
        // This node may have seen less than its client has.
        let behind = behind.map(|(partition, &position)| Lane {
            partition,
            position: position.max(self.named(partition)),
        });
        self.lanes().extend(behind);
        self.feed();
    }

    /// Runs the feeding task, unless it runs already.
    fn feed(self: &Arc<Self>) {
        if self.feeding.swap(true, Ordering::Relaxed) {
            return;
        }
        let session = Arc::clone(self);
        self.worker.shared.tasks.spawn(async move {
            while let Some(lane) = session.next_lane() {
                session.run_lane(lane, None).await;
            }
        });
    }

    /// The next partition to feed. In one step with the end of the task, so that none is left.
    fn next_lane(&self) -> Option<Lane> {
        let next = self.lanes().pop().filter(|_| !self.is_over());
        if next.is_none() {
            self.feeding.store(false, Ordering::Relaxed);
        }
        next
    }

    /// Feeds a resumed session: the first pieces were gathered before `resume_ack` was sent.
    /// Answers how many messages were queued.
    pub(crate) async fn replay(self: &Arc<Self>, first: Vec<(Lane, Gathered)>) -> u64 {
        let mut replayed = 0;
        for (lane, gathered) in first {
            replayed += self.run_lane(lane, Some(gathered)).await;
        }
        if !self.is_over() {
            self.handle.post(Input::ReplayDone { replayed });
        }
        replayed
    }

    /// Brings one partition up to date and hooks the seat in. Returns how many were queued.
    async fn run_lane(&self, mut lane: Lane, first: Option<Gathered>) -> u64 {
        let mut sent = 0;
        let mut next = first;
        let mut pause = Duration::from_millis(5);
        while !self.is_over() {
            let gathered = if let Some(gathered) = next.take() {
                gathered
            } else {
                match self.hook(&mut lane, &mut sent) {
                    Hooked::Yes => return sent,
                    Hooked::Full => {
                        self.wait_for_room().await;
                        continue;
                    }
                    Hooked::Behind(until) => self.worker.wait_for(lane.partition, until).await,
                }
                match self.gather(lane).await {
                    Ok(gathered) => gathered,
                    Err(error) => {
                        tracing::debug!(session = %self.session, %error, "replay waits");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                        continue;
                    }
                }
            };
            for gap in gathered.gaps {
                self.tell(&Event::Gap(gap));
            }
            let newest = gathered.entries.last().map(|entry| entry.id);
            self.trace_replay(&gathered.entries);
            sent += self.queue(gathered.entries).await;
            self.time_replay(newest);
            lane.position = lane.position.max(gathered.position);
        }
        sent
    }

    /// Queues entries, waiting for the socket as long as it takes.
    async fn queue(&self, entries: Vec<Arc<Entry>>) -> u64 {
        let mut sent = 0;
        for entry in entries {
            let event = Event::Message(Arc::clone(&entry));
            let Some(frame) = encode(self.seat.format, &event) else {
                continue;
            };
            loop {
                if !self.seat.has_room(1) {
                    self.wait_for_room().await;
                    if self.is_over() {
                        return sent;
                    }
                    continue;
                }
                // Each time anew: the topic may have been left while there was no room.
                if !self.is_for(&entry) {
                    break;
                }
                match self.seat.outbox.push(frame.clone()) {
                    Push::Accepted => {
                        self.seat.handed_out(entry.id);
                        sent += 1;
                        break;
                    }
                    Push::Closed => return sent,
                    Push::Full => self.wait_for_room().await,
                }
            }
        }
        sent
    }

    pub(crate) fn tell(&self, event: &Event) {
        if let Some(frame) = encode_at(
            self.seat.format,
            event,
            self.worker.shared.clock.now().unix_ms,
        ) {
            self.seat.outbox.push_control(frame);
        }
    }

    /// Waits until the outbox has room and the client has acknowledged enough, or the connection
    /// ends.
    pub(crate) async fn wait_for_room(&self) {
        let mut counted = false;
        loop {
            let room = self.handle.room.notified();
            let may_have_more = self.seat.has_room(1);
            let has_room = !self.seat.outbox.is_congested() && may_have_more;
            if has_room || self.is_over() {
                return;
            }
            if !may_have_more && !std::mem::replace(&mut counted, true) {
                let limited = &self.worker.shared.metrics.session.rate_limited;
                limited.at(RateScope::Unacknowledged).inc();
            }
            room.await;
        }
    }

    /// Reads what comes next in a lane: from the rings where they reach back, else from the log.
    ///
    /// # Errors
    /// The store is away; nothing is queued, try again.
    pub(crate) async fn gather(&self, lane: Lane) -> Result<Gathered, StoreError> {
        let shared = &self.worker.shared;
        let Some(lot) = shared.lot(lane.partition) else {
            return Ok(Gathered::default());
        };
        // Before anything is read: everything up to here is in rings or log by now.
        let mut bound = self.worker.hub().position(lane.partition);
        if bound <= lane.position {
            return Ok(Gathered {
                position: lane.position,
                ..Gathered::default()
            });
        }
        let mut parts = Vec::new();
        let mut wants = Vec::new();
        {
            let log = lot.log();
            for (topic, start) in self.topics_of(lane.partition) {
                let after = start.max(lane.position);
                match log.coverage(&topic, after) {
                    Coverage::Whole => parts.push(part_of_ring(
                        &log,
                        (&topic, after, bound),
                        shared.sizes.page,
                    )),
                    Coverage::From(ring_start) => wants.push((topic, after, ring_start)),
                    Coverage::NotLive => wants.push((topic, after, MessageId::ZERO)),
                }
            }
        }
        let limit = (shared.sizes.page / wants.len().max(1)).max(shared.sizes.page_min);
        let reads = wants.iter().map(|(topic, after, _)| {
            let want = Want {
                topic: topic.clone(),
                after: *after,
            };
            lot.reads
                .page(&shared.store, lane.partition, Wish { want, bound, limit })
        });
        let reads = try_join_all(reads).await?;
        let mut gaps = Vec::new();
        for (read, (topic, after, ring_start)) in reads.iter().zip(wants) {
            bound = bound.min(read.bound);
            let page = &read.page;
            let window = Window {
                now_ms: shared.clock.now().unix_ms,
                age_ms: shared.retention(&topic).age_ms,
            };
            let first = page.entries.first().map(AsRef::as_ref);
            gaps.extend(missing_before(&topic, after, first, ring_start, window));
            if let Some(first) = first.filter(|_| !page.more) {
                // The page reaches the ring: the next session that wants it finds it there, but
                // not as if nothing were missing before its first entry.
                lot.log()
                    .backfill(&topic, after.max(first.prev), &page.entries);
            }
            let (entries, more) = (page.entries.clone(), page.more);
            parts.push(Part { entries, more });
        }
        if !gaps.is_empty() {
            blame(&mut gaps, &shared.store.holes(lane.partition).await?);
        }
        let Merged { entries, position } = in_order(parts, bound);
        Ok(Gathered {
            entries,
            position: position.max(lane.position),
            gaps,
            from_log: !reads.is_empty(),
        })
    }

    /// Hooks the seat in, if the rings reach back to the lane's position: queues what they hold
    /// up to this worker's position, which is where live delivery goes on. One step, no await.
    fn hook(&self, lane: &mut Lane, sent: &mut u64) -> Hooked {
        let shared = &self.worker.shared;
        let Some(lot) = shared.lot(lane.partition) else {
            return Hooked::Yes;
        };
        let hub = self.worker.hub();
        let bound = hub.position(lane.partition);
        let entries = {
            let log = lot.log();
            let mut parts = Vec::new();
            for (topic, start) in self.topics_of(lane.partition) {
                let after = start.max(lane.position);
                match log.coverage(&topic, after) {
                    Coverage::Whole if Defect::JoinAfterRead.is_planted() => {}
                    Coverage::Whole => parts.push(Part {
                        entries: log.between(&topic, after, bound),
                        more: false,
                    }),
                    Coverage::From(ring_start) if ring_start > bound => {
                        return Hooked::Behind(ring_start);
                    }
                    Coverage::From(_) | Coverage::NotLive => return Hooked::Behind(bound),
                }
            }
            merge(parts, bound).entries
        };
        for entry in entries {
            let id = entry.id;
            if self.is_for(&entry)
                && let Some(frame) = encode(self.seat.format, &Event::Message(entry))
            {
                if !self.seat.has_room(1) || self.seat.outbox.push(frame) == Push::Full {
                    return Hooked::Full;
                }
                self.seat.handed_out(id);
                *sent += 1;
            }
            lane.position = lane.position.max(id);
        }
        let most = bound.max(self.named(lane.partition));
        shared.holds(Invariant::SeatPosition, lane.position <= most);
        self.seat.hook(lane.partition);
        self.handle.room.notify_waiters();
        Hooked::Yes
    }
}

/// How an attempt to hook a seat in ended.
enum Hooked {
    Yes,
    /// The outbox is full: go on when it has room.
    Full,
    /// The rings do not reach back: read the log, once the worker stands at this id.
    Behind(MessageId),
}

fn part_of_ring(
    log: &PartitionLog,
    (topic, after, bound): (&TopicName, MessageId, MessageId),
    page: usize,
) -> Part {
    let mut entries = log.between(topic, after, bound);
    let more = entries.len() > page;
    entries.truncate(page);
    Part { entries, more }
}

/// The merged parts, where no defect is planted.
fn in_order(parts: Vec<Part>, mut bound: MessageId) -> Merged {
    if Defect::ReadWithoutBound.is_planted() {
        let ends = parts.iter().filter_map(|part| part.entries.last());
        bound = ends.map(|entry| entry.id).fold(bound, MessageId::max);
    }
    let mut merged = merge(parts, bound);
    if Defect::NoMerge.is_planted() {
        let entries = &mut merged.entries;
        entries.sort_by(|one, other| one.topic.cmp(&other.topic));
    }
    merged
}

/// What is missing up to something that the store lost was not trimmed.
fn blame(gaps: &mut [Gap], holes: &[Hole]) {
    for gap in gaps {
        let ends_in = |hole: &Hole| hole.after < gap.before && gap.before <= hole.before;
        if holes.iter().any(ends_in) {
            gap.reason = GapReason::Rewound;
        }
    }
}

/// What a resuming session is told of the intervals that the store may have lost: it may have
/// seen messages in them that are gone, or missed some that were acknowledged.
pub(crate) fn rewound(
    holes: &[Hole],
    position: MessageId,
    topics: &[(TopicName, MessageId)],
) -> Vec<Gap> {
    holes
        .iter()
        .filter(|hole| position < hole.before)
        .flat_map(|hole| {
            topics
                .iter()
                .filter(|(_, start)| *start < hole.before)
                .map(|(topic, _)| Gap {
                    topic: topic.clone(),
                    reason: GapReason::Rewound,
                    after: hole.after,
                    before: hole.before,
                })
        })
        .collect()
}
