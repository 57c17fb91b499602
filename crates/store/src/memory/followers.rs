//! The feeds of one partition: who follows what, who has fallen behind, and one small task per
//! feed that carries out its requests.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use sparkway_protocol::TopicName;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::hasher::Seed;
use super::{Cell, lock};
use crate::feed::{FEED_EVENTS, FeedRequest};
use crate::{Feed, FeedEvent, FeedHandle, Hole};

/// Requests that wait for a feed's task.
const FEED_REQUESTS: usize = 256;
/// Lost intervals that are kept for a feed that has fallen behind (as many as the store keeps).
const OWED_HOLES: usize = 16;

/// The place of a feed in [`Feeds`], used again only after no topic names it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedSlot(usize);

/// The store's ends of all feeds of one partition.
#[derive(Debug)]
pub(super) struct Feeds {
    slots: Vec<Option<FeedEnd>>,
    seed: Seed,
}

/// The store's end of one feed. A feed whose queue was full is lagging: it gets nothing more until
/// its reader has taken everything, then `Restored`, so that the reader repairs from the log.
#[derive(Debug)]
struct FeedEnd {
    events: mpsc::Sender<FeedEvent>,
    fell_behind: Arc<Notify>,
    lagging: bool,
    followed: HashSet<TopicName, Seed>,
    /// Topics followed while lagging, whose `Live` is still to come.
    owed: VecDeque<TopicName>,
    /// Lost intervals still to be told.
    holes: VecDeque<Hole>,
}

impl FeedEnd {
    fn offer(&mut self, event: FeedEvent) {
        if !self.lagging
            && let Err(TrySendError::Full(_)) = self.events.try_send(event)
        {
            self.lagging = true;
            self.fell_behind.notify_one();
        }
    }
}

impl Feeds {
    pub(super) const fn new(seed: Seed) -> Self {
        Self {
            slots: Vec::new(),
            seed,
        }
    }

    fn add(&mut self, events: mpsc::Sender<FeedEvent>, fell_behind: Arc<Notify>) -> FeedSlot {
        let end = FeedEnd {
            events,
            fell_behind,
            lagging: false,
            followed: HashSet::with_hasher(self.seed),
            owed: VecDeque::new(),
            holes: VecDeque::new(),
        };
        if let Some(free) = self.slots.iter().position(Option::is_none)
            && let Some(slot) = self.slots.get_mut(free)
        {
            *slot = Some(end);
            return FeedSlot(free);
        }
        self.slots.push(Some(end));
        FeedSlot(self.slots.len() - 1)
    }

    fn end(&mut self, slot: FeedSlot) -> Option<&mut FeedEnd> {
        self.slots.get_mut(slot.0).and_then(Option::as_mut)
    }

    /// Takes a feed out; answers what it followed, from which the caller unhooks it.
    pub(super) fn remove(&mut self, slot: FeedSlot) -> HashSet<TopicName, Seed> {
        self.slots
            .get_mut(slot.0)
            .and_then(Option::take)
            .map_or_else(|| HashSet::with_hasher(self.seed), |end| end.followed)
    }

    pub(super) fn offer(&mut self, slot: FeedSlot, event: FeedEvent) {
        if let Some(end) = self.end(slot) {
            end.offer(event);
        }
    }

    /// At most once: one that finds the queue full is gone, and nothing has to be repaired.
    pub(super) fn offer_once(&mut self, slot: FeedSlot, event: FeedEvent) {
        if let Some(end) = self.end(slot)
            && !end.lagging
            && end.events.try_send(event).is_err()
        {
            tracing::trace!("feed is full: an announcement was dropped");
        }
    }

    pub(super) fn rewound(&mut self, hole: Hole) {
        for end in self.slots.iter_mut().flatten() {
            end.offer(FeedEvent::Rewound(hole));
            if end.lagging {
                if end.holes.len() == OWED_HOLES {
                    end.holes.pop_front();
                }
                end.holes.push_back(hole);
            }
        }
    }

    /// Notes that the feed follows a topic, or asks for it again.
    pub(super) fn follow(&mut self, slot: FeedSlot, topic: &TopicName) -> Following {
        let Some(end) = self.end(slot) else {
            return Following::Again;
        };
        let is_new = end.followed.insert(topic.clone());
        if is_new || !end.owed.contains(topic) {
            end.owed.push_back(topic.clone());
        }
        if is_new {
            Following::New
        } else {
            Following::Again
        }
    }

    pub(super) fn forget(&mut self, slot: FeedSlot, topic: &TopicName) -> bool {
        self.end(slot).is_some_and(|end| {
            end.owed.retain(|owed| owed != topic);
            end.followed.remove(topic)
        })
    }

    /// The next topic whose `Live` is to be told, unless the feed is lagging.
    pub(super) fn next_owed(&mut self, slot: FeedSlot) -> Option<TopicName> {
        let end = self.end(slot).filter(|end| !end.lagging)?;
        end.owed.pop_front()
    }

    /// Tells that a topic is live; keeps it owed when there is no room.
    pub(super) fn offer_live(&mut self, slot: FeedSlot, live: FeedEvent, topic: TopicName) {
        if let Some(end) = self.end(slot) {
            end.offer(live);
            if end.lagging {
                end.owed.push_front(topic);
            }
        }
    }

    /// Lets entries flow again to a feed whose queue is empty.
    pub(super) fn catch_up(&mut self, slot: FeedSlot, restored: FeedEvent) {
        if let Some(end) = self.end(slot) {
            end.lagging = false;
            while let Some(hole) = end.holes.pop_front() {
                end.offer(FeedEvent::Rewound(hole));
            }
            end.offer(restored);
        }
    }
}

/// Whether a topic was followed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Following {
    New,
    Again,
}

/// Opens a feed and spawns its task, which ends with the receiver of the events.
pub(super) fn open(cell: Arc<Cell>) -> Feed {
    let (handle, requests) = FeedHandle::channel(FEED_REQUESTS);
    let (sender, events) = mpsc::channel(FEED_EVENTS);
    let fell_behind = Arc::new(Notify::new());
    let slot = lock(&cell.logs)
        .feeds
        .add(sender.clone(), Arc::clone(&fell_behind));
    let seat = Seat { cell, slot };
    tokio::spawn(serve(seat, requests, sender, fell_behind));
    Feed { handle, events }
}

/// Unhooks the feed however its task ends.
struct Seat {
    cell: Arc<Cell>,
    slot: FeedSlot,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.cell.logs).close_feed(self.slot);
    }
}

async fn serve(
    seat: Seat,
    mut requests: mpsc::Receiver<FeedRequest>,
    events: mpsc::Sender<FeedEvent>,
    fell_behind: Arc<Notify>,
) {
    let mut is_lagging = false;
    let mut is_asking = true;
    loop {
        tokio::select! {
            biased;
            () = events.closed() => return,
            () = fell_behind.notified(), if !is_lagging => is_lagging = true,
            // All room at once: the reader has taken everything. While a feed is lagging nobody
            // else sends to it, so the room is still there after the permits are given back.
            permits = events.reserve_many(FEED_EVENTS), if is_lagging => {
                if permits.is_err() {
                    return;
                }
                drop(permits);
                is_lagging = false;
                lock(&seat.cell.logs).catch_up(seat.slot);
            }
            request = requests.recv(), if is_asking => match request {
                Some(request) => lock(&seat.cell.logs).carry_out(seat.slot, request),
                None => is_asking = false,
            },
        }
    }
}

/// A feed that is closed already: its reader sees the end at once.
pub(super) fn ended() -> Feed {
    let (handle, _) = FeedHandle::channel(1);
    let (_, events) = mpsc::channel(1);
    Feed { handle, events }
}
