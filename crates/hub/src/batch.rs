//! What one wake-up of a partition's reader brings, encoded at most once per format.

use std::sync::{Arc, OnceLock};

use sparkway_dialect::encode;
use sparkway_frame::Framed;
use sparkway_protocol::{
    Entry, Ephemeral, Event, Format, MessageId, Partition, PresenceChange, TopicName,
};

/// Entries and announcements of one partition, in order, shared by all workers of the node.
#[derive(Debug)]
pub struct Batch {
    partition: Partition,
    position: MessageId,
    runs: Vec<Run>,
}

/// Neighbouring entries of one topic, one announcement, or who came and left.
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
    Presence(Vec<Arc<PresenceChange>>),
}

/// A run in one format.
#[derive(Debug)]
pub struct RunFrames {
    /// One frame per entry; `None` for an entry that the format does not tell.
    pub each: Vec<Option<Framed>>,
    /// Entries that it tells.
    pub told: u64,
    /// All of them in one piece of memory: one slice per connection instead of many.
    pub joined: Framed,
    /// Made by the first connection that wants it.
    deflated: OnceLock<Deflated>,
}

/// A run in one format, deflated: the same bytes for every connection that agreed to it.
#[derive(Debug)]
struct Deflated {
    each: Vec<Option<Framed>>,
    joined: Framed,
}

impl RunFrames {
    /// One frame per entry, and all in one piece.
    pub fn of(&self, deflated: bool) -> (&[Option<Framed>], &Framed) {
        if !deflated {
            return (&self.each, &self.joined);
        }
        let deflated = self.deflated.get_or_init(|| {
            let each: Vec<Option<Framed>> = self
                .each
                .iter()
                .map(|frame| frame.as_ref().map(Framed::deflated))
                .collect();
            let told: Vec<Framed> = each.iter().flatten().cloned().collect();
            let joined = Framed::join(&told);
            Deflated { each, joined }
        });
        (&deflated.each, &deflated.joined)
    }
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

    /// The entries; empty for everything that is not kept.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        match &self.content {
            Content::Entries(entries) => entries,
            Content::Ephemeral(_) | Content::Presence(_) => &[],
        }
    }

    /// The announcement, if the run is one.
    #[must_use]
    pub const fn ephemeral(&self) -> Option<&Arc<Ephemeral>> {
        match &self.content {
            Content::Ephemeral(message) => Some(message),
            Content::Entries(_) | Content::Presence(_) => None,
        }
    }

    /// Whether the run says who came and left.
    #[must_use]
    pub const fn is_presence(&self) -> bool {
        matches!(self.content, Content::Presence(_))
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
        let each: Vec<Option<Framed>> = match &self.content {
            Content::Entries(entries) => entries
                .iter()
                .map(|entry| encode(format, &Event::Message(Arc::clone(entry))))
                .collect(),
            Content::Ephemeral(message) => {
                vec![encode(format, &Event::Ephemeral(Arc::clone(message)))]
            }
            Content::Presence(changes) => changes
                .iter()
                .map(|change| encode(format, &Event::Presence(Arc::clone(change))))
                .collect(),
        };
        let told: Vec<Framed> = each.iter().flatten().cloned().collect();
        if told.is_empty() {
            return None;
        }
        Some(RunFrames {
            joined: Framed::join(&told),
            told: told.len() as u64,
            each,
            deflated: OnceLock::new(),
        })
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

    /// Adds who came into a topic and who left it.
    pub fn presence(&mut self, topic: TopicName, changes: Vec<Arc<PresenceChange>>) {
        self.runs.push(Run::new(topic, Content::Presence(changes)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sparkway_protocol::Payload;

    fn entry(number: u64, json: &'static str) -> Arc<Entry> {
        Arc::new(Entry {
            id: MessageId::new(number * MessageId::STEP).unwrap(),
            prev: MessageId::ZERO,
            topic: TopicName::parse("conversation:1").unwrap(),
            from: None,
            origin: None,
            exclude_origin: false,
            trace: None,
            payload: Payload::json(Bytes::from_static(json.as_bytes())),
        })
    }

    #[test]
    fn an_entry_that_a_format_does_not_tell_does_not_silence_its_neighbours() {
        let message = r#"{"type":"message","messageId":"m","content":"x"}"#;
        let response = r#"{"type":"response","messageId":"m","content":"y"}"#;
        let mut builder = BatchBuilder::new(Partition::default(), MessageId::ZERO);
        builder.entry(entry(1, message));
        builder.entry(entry(2, response));
        let batch = builder.take();
        let [run] = batch.runs() else {
            panic!("one run");
        };
        let (frames, _) = run.frames(Format::Conversation);
        let frames = frames.unwrap();
        assert!(frames.each[0].is_none() && frames.each[1].is_some());
        assert_eq!((frames.told, frames.joined.frames().count()), (1, 1));
        let (frames, _) = run.frames(Format::Topics);
        assert_eq!(frames.unwrap().told, 2);
    }

    #[test]
    fn a_run_of_which_a_format_tells_nothing_has_no_frames() {
        let mut builder = BatchBuilder::new(Partition::default(), MessageId::ZERO);
        builder.entry(entry(
            1,
            r#"{"type":"message","messageId":"m","content":"x"}"#,
        ));
        let batch = builder.take();
        let [run] = batch.runs() else {
            panic!("one run");
        };
        assert!(run.frames(Format::Conversation).0.is_none());
    }
}
