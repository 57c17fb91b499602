//! From a batch to the outboxes of one worker's connections.

use std::collections::HashMap;
use std::sync::Arc;

use sparkway_dialect::encode;
use sparkway_frame::Framed;
use sparkway_protocol::{
    Entry, Event, Format, Gap, GapReason, MessageId, Partition, Partitions, TopicName,
};

use sparkway_socket::Push;

use crate::batch::{Run, RunFrames};
use crate::{Batch, Positions, Seat};

/// One worker's subscriptions, and how far each partition is applied.
#[derive(Debug)]
pub struct Hub {
    positions: Positions,
    topics: HashMap<TopicName, Places>,
}

/// Where a seat stands in a topic's list; needed to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// A seat in a topic.
#[derive(Debug)]
struct Place {
    seat: Arc<Seat>,
    /// Entries up to this id are not for it.
    after: MessageId,
    echo: bool,
    /// Whether it is told who comes and leaves.
    watches: bool,
}

#[derive(Debug, Default)]
struct Places {
    list: Vec<Option<Place>>,
    free: Vec<usize>,
}

/// What one batch came to.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// Messages put into outboxes.
    pub queued: u64,
    /// Seats that were unhooked because their outbox was full.
    pub unhooked: u64,
    /// Runs handed out, by format.
    pub taken: [u64; Format::COUNT],
    /// Encodings made for them, by format.
    pub fresh: [u64; Format::COUNT],
    /// The seat that was served last: the others have had theirs when it has.
    pub last: Option<Arc<Seat>>,
    /// Announcements dropped because an outbox was full: they are not kept and cannot be repaired.
    pub dropped_ephemeral: u64,
}

impl Delivered {
    fn count(&mut self, format: Format, fresh: bool) {
        let at = format.index();
        if let (Some(taken), Some(made)) = (self.taken.get_mut(at), self.fresh.get_mut(at)) {
            *taken += 1;
            *made += u64::from(fresh);
        }
    }
}

enum Pushed {
    All,
    /// Full after the entry with this id (or before the first one).
    FullAfter(Option<MessageId>),
}

impl Hub {
    /// An empty hub of a worker that starts with every partition at `positions`.
    #[must_use]
    pub fn new(positions: Positions) -> Self {
        Self {
            positions,
            topics: HashMap::new(),
        }
    }

    /// Up to where a partition is applied on this worker.
    #[must_use]
    pub fn position(&self, partition: Partition) -> MessageId {
        self.positions
            .get(partition.index())
            .copied()
            .unwrap_or_default()
    }

    /// Up to where every partition is applied on this worker.
    #[must_use]
    pub const fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Gives a seat a place in a topic, from `after` on. Says whether it is the topic's first one.
    pub fn join(
        &mut self,
        topic: &TopicName,
        seat: &Arc<Seat>,
        after: MessageId,
        echo: bool,
    ) -> (Slot, bool) {
        let first = !self.topics.contains_key(topic);
        let places = self.topics.entry(topic.clone()).or_default();
        let place = Some(Place {
            seat: Arc::clone(seat),
            after,
            echo,
            watches: false,
        });
        if let Some(at) = places.free.pop()
            && let Some(slot) = places.list.get_mut(at)
        {
            *slot = place;
            return (Slot(at), first);
        }
        places.list.push(place);
        (Slot(places.list.len() - 1), first)
    }

    /// Whether a place is told who comes into its topic and who leaves.
    pub fn watch(&mut self, topic: &TopicName, slot: Slot, watches: bool) {
        let places = self.topics.get_mut(topic);
        if let Some(Some(place)) = places.and_then(|places| places.list.get_mut(slot.0)) {
            place.watches = watches;
        }
    }

    /// Takes a place away. Says whether the topic has none left on this worker.
    pub fn leave(&mut self, topic: &TopicName, slot: Slot) -> bool {
        let Some(places) = self.topics.get_mut(topic) else {
            return false;
        };
        if let Some(place) = places.list.get_mut(slot.0)
            && place.take().is_some()
        {
            places.free.push(slot.0);
        }
        let empty = places.free.len() == places.list.len();
        if empty {
            self.topics.remove(topic);
        }
        empty
    }

    /// How many seats a topic has on this worker.
    #[must_use]
    pub fn seats(&self, topic: &TopicName) -> usize {
        self.topics
            .get(topic)
            .map_or(0, |places| places.list.len() - places.free.len())
    }

    /// Hands a batch to every seat that wants it.
    pub fn apply(&mut self, batch: &Batch) -> Delivered {
        let mut delivered = Delivered::default();
        for run in batch.runs() {
            self.apply_run(batch.partition(), run, &mut delivered);
        }
        self.reached(batch.partition(), batch.position());
        delivered
    }

    /// Hands one run of a batch to every seat that wants it, and adds to what the others came to.
    /// After the last one, [`Hub::reached`] says how far the batch goes.
    pub fn apply_run(&mut self, partition: Partition, run: &Run, delivered: &mut Delivered) {
        if let Some(places) = self.topics.get(run.topic()) {
            places.hand_out(partition, run, &self.positions, delivered);
        }
        if let Some(last) = run.entries().last() {
            self.reached(partition, last.id);
        }
    }

    /// Tells the seats of a topic that something is gone.
    pub fn gap(&self, gap: &Gap) {
        if let Some(places) = self.topics.get(&gap.topic) {
            places.tell(gap);
        }
    }

    /// Tells all seats of a partition that the store lost what lay between two ids.
    pub fn rewound(
        &self,
        partition: Partition,
        layout: Partitions,
        after: MessageId,
        before: MessageId,
    ) {
        let topics = self.topics.iter();
        let mut topics: Vec<_> = topics
            .filter(|(topic, _)| layout.of(topic.as_str()) == partition)
            .collect();
        // In one order always, so that a simulation can be repeated.
        topics.sort_unstable_by_key(|(topic, _)| *topic);
        for (topic, places) in topics {
            let reason = GapReason::Rewound;
            places.tell(&Gap {
                topic: topic.clone(),
                reason,
                after,
                before,
            });
        }
    }

    /// Everything of the partition up to this id is applied.
    pub fn reached(&mut self, partition: Partition, id: MessageId) {
        if let Some(position) = self.positions.get_mut(partition.index()) {
            *position = (*position).max(id);
        }
    }
}

impl Places {
    fn hand_out(
        &self,
        partition: Partition,
        run: &Run,
        positions: &Positions,
        delivered: &mut Delivered,
    ) {
        let mut served = None;
        for place in self.list.iter().flatten() {
            if !place.seat.is_hooked(partition) || run.is_presence() && !place.watches {
                continue;
            }
            served = Some(&place.seat);
            let (frames, fresh) = run.frames(place.seat.format);
            delivered.count(place.seat.format, fresh);
            let Some(frames) = frames else { continue };
            if run.is_presence() {
                place.offer(frames, delivered);
            } else if run.ephemeral().is_some() {
                place.announce(run, frames, delivered);
            } else if let Pushed::FullAfter(last) = place.push(run, frames, delivered) {
                delivered.unhooked += 1;
                let mut positions = *positions;
                if let (Some(position), Some(last)) = (positions.get_mut(partition.index()), last) {
                    *position = last;
                }
                place.seat.unhook(&positions);
            }
        }
        if served.is_some() {
            delivered.last = served.cloned();
        }
    }

    fn tell(&self, gap: &Gap) {
        let event = Event::Gap(gap.clone());
        for place in self.list.iter().flatten() {
            if let Some(frame) = encode(place.seat.format, &event) {
                place.seat.outbox.push_control(frame);
            }
        }
    }
}

impl Place {
    fn push(&self, run: &Run, frames: &RunFrames, delivered: &mut Delivered) -> Pushed {
        let entries = run.entries();
        let (each, joined) = frames.of(self.seat.deflates);
        let whole = entries.first().is_some_and(|first| first.id > self.after)
            && entries
                .iter()
                .all(|entry| entry.is_for(self.seat.session, self.echo))
            && self.seat.has_room(entries.len());
        if whole {
            if self.seat.outbox.push(joined.clone()) != Push::Full {
                delivered.queued += frames.told;
                self.handed_out(entries.iter().zip(each));
                return Pushed::All;
            }
            return Pushed::FullAfter(None);
        }
        let mut last = None;
        for (entry, frame) in entries.iter().zip(each) {
            if let Some(frame) = frame
                && entry.id > self.after
                && entry.is_for(self.seat.session, self.echo)
            {
                if !self.seat.has_room(1) || self.seat.outbox.push(frame.clone()) == Push::Full {
                    return Pushed::FullAfter(last);
                }
                self.seat.handed_out(entry.id);
                delivered.queued += 1;
            }
            last = Some(entry.id);
        }
        Pushed::All
    }

    fn handed_out<'a>(&self, each: impl Iterator<Item = (&'a Arc<Entry>, &'a Option<Framed>)>) {
        if self.seat.is_counted() {
            for (entry, _) in each.filter(|(_, frame)| frame.is_some()) {
                self.seat.handed_out(entry.id);
            }
        }
    }

    fn announce(&self, run: &Run, frames: &RunFrames, delivered: &mut Delivered) {
        let excluded = run.ephemeral().is_some_and(|message| {
            message.origin == Some(self.seat.session) && (message.exclude_origin || !self.echo)
        });
        if !excluded {
            self.offer(frames, delivered);
        }
    }

    /// What is not kept: dropped where there is no room.
    fn offer(&self, frames: &RunFrames, delivered: &mut Delivered) {
        match self
            .seat
            .outbox
            .push(frames.of(self.seat.deflates).1.clone())
        {
            Push::Accepted => delivered.queued += 1,
            Push::Full => delivered.dropped_ephemeral += 1,
            Push::Closed => {}
        }
    }
}
