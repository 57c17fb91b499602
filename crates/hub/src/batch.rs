//! What one wake-up of a partition's reader brings, encoded at most once per format.

use std::sync::{Arc, OnceLock};

use sparkway_dialect::encode;
use sparkway_frame::Framed;
use sparkway_protocol::{Entry, Ephemeral, Event, Format, MessageId, Partition, TopicName};

/// Entries and announcements of one partition, in order, shared by all workers of the node.
#[derive(Debug)]
pub struct Batch {
    partition: Partition,
    position: MessageId,
    runs: Vec<Run>,
}

/// Neighbouring entries of one topic, or one announcement.
#[derive(Debug)]
pub struct Run {
    topic: TopicName,
    content: Content,
    frames: [OnceLock<Option<RunFrames>>; Format::COUNT],
}

#[derive(Debug)]
enum Content {
    Entries(Vec<Arc<Entry>>),
    Ephemeral(Arc<Ephemeral>),
}

/// A run in one format.
#[derive(Debug)]
pub struct RunFrames {
    /// One frame per entry.
    pub each: Vec<Framed>,
    /// All of them in one piece of memory: one slice per connection instead of many.
    pub joined: Framed,
}

impl Batch {
    /// The partition that all of it belongs to.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// After this batch, everything up to this id is applied.
    #[must_use]
    pub const fn position(&self) -> MessageId {
        self.position
    }

    /// What is in it, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
}

impl Run {
    /// The topic of all entries of the run.
    #[must_use]
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The entries; empty for an announcement.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        match &self.content {
            Content::Entries(entries) => entries,
            Content::Ephemeral(_) => &[],
        }
    }

    /// The announcement, if the run is one.
    #[must_use]
    pub const fn ephemeral(&self) -> Option<&Arc<Ephemeral>> {
        match &self.content {
            Content::Ephemeral(message) => Some(message),
            Content::Entries(_) => None,
        }
    }

    /// The run in a format, encoded by whoever asks first; `None` where the format has no form
    /// for it. The flag says whether this call did the work.
    pub fn frames(&self, format: Format) -> (Option<&RunFrames>, bool) {
        let Some(cell) = self.frames.get(format.index()) else {
            return (None, false);
        };
        let mut fresh = false;
        let frames = cell.get_or_init(|| {
            fresh = true;
            self.encode(format)
        });
        (frames.as_ref(), fresh)
    }

    fn encode(&self, format: Format) -> Option<RunFrames> {
        let each: Vec<Framed> = match &self.content {
            Content::Entries(entries) => entries
                .iter()
                .map(|entry| encode(format, &Event::Message(Arc::clone(entry))))
                .collect::<Option<_>>()?,
            Content::Ephemeral(message) => {
                vec![encode(format, &Event::Ephemeral(Arc::clone(message)))?]
            }
        };
        let joined = match each.as_slice() {
            [only] => only.clone(),
            several => Framed::join(several),
        };
        Some(RunFrames { each, joined })
    }
}

/// Collects a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    partition: Partition,
    position: MessageId,
    runs: Vec<Run>,
}

/// Longest run in entries: bounds what one push adds to an outbox.
const RUN_ENTRIES: usize = 64;

/// Longest run in payload bytes: as above.
const RUN_BYTES: usize = 32 * 1024;

impl BatchBuilder {
    /// Nothing yet; the reader stands at `position`.
    #[must_use]
    pub const fn new(partition: Partition, position: MessageId) -> Self {
        Self {
            partition,
            position,
            runs: Vec::new(),
        }
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds the next entry of the partition.
    pub fn entry(&mut self, entry: Arc<Entry>) {
        self.position = self.position.max(entry.id);
        if let Some(Run {
            topic,
            content: Content::Entries(entries),
            ..
        }) = self.runs.last_mut()
            && *topic == entry.topic
            && entries.len() < RUN_ENTRIES
            && entries
                .iter()
                .map(|entry| entry.payload.bytes.len())
                .sum::<usize>()
                + entry.payload.bytes.len()
                <= RUN_BYTES
        {
            entries.push(entry);
            return;
        }
        let topic = entry.topic.clone();
        self.runs
            .push(Run::new(topic, Content::Entries(vec![entry])));
    }

    /// Adds an announcement.
    pub fn ephemeral(&mut self, message: Arc<Ephemeral>) {
        let topic = message.topic.clone();
        self.runs.push(Run::new(topic, Content::Ephemeral(message)));
    }

    /// Says that everything up to `position` is in this batch or was before it.
    pub fn reached(&mut self, position: MessageId) {
        self.position = self.position.max(position);
    }

    /// Where the batch so far reaches.
    #[must_use]
    pub const fn position(&self) -> MessageId {
        self.position
    }

    /// Gives the batch out and begins the next one at its end.
    pub fn take(&mut self) -> Arc<Batch> {
        Arc::new(Batch {
            partition: self.partition,
            position: self.position,
            runs: std::mem::take(&mut self.runs),
        })
    }
}

impl Run {
    fn new(topic: TopicName, content: Content) -> Self {
        Self {
            topic,
            content,
            frames: [const { OnceLock::new() }; Format::COUNT],
        }
    }
}
