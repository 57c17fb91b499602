//! What the append script is given for a batch, and what it answers.

use std::collections::HashMap;

use redis::{Cmd, Value};
use sparkway_protocol::{Epoch, MessageId, Partition, SessionId, TopicName, UserId};

use super::backend::Backend;
use super::link::Live;
use super::reply::{bytes_of, id_of};
use super::{codec, fault, scripts};
use crate::planted::Defect;
use crate::{Append, Appended, Retention, StoreError, WriteError};

/// Per message of a batch what became of it.
pub(super) type Results = Vec<Result<Appended, WriteError>>;

/// A batch laid out for the script: every topic and every fence once.
pub(super) struct Batch<'a> {
    pub(super) partition: Partition,
    /// Those that are kept for the same time stand beside each other.
    topics: Vec<Kept<'a>>,
    fences: Vec<(SessionId, Epoch)>,
    /// Per message its topic and what stands for its fence in the script.
    places: Vec<(u16, u16)>,
    pub(super) messages: &'a [Append],
}

struct Kept<'a> {
    topic: &'a TopicName,
    retention: Retention,
    /// Its place in the order in which the messages name the topics.
    named: usize,
}

/// Answers of sessions in other partitions: whether each holds.
pub(super) type Elsewhere = HashMap<(SessionId, Epoch), Held>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    No,
    Gone,
}

impl Held {
    /// What stands for a fence in the script that is not to be checked there.
    const fn mark(self) -> u16 {
        match self {
            Self::Yes => 0,
            Self::No => u16::MAX,
            Self::Gone => u16::MAX - 1,
        }
    }
}

/// What one call of the script goes by.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// The older of the two time buckets that it may write to.
    pub(super) base: u64,
    /// The bucket whose expiry was set lately.
    pub(super) expiring: u64,
    /// Whether what another process may have lost is to be a hole now.
    pub(super) settled: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(partition: Partition, messages: &'a [Append], elsewhere: &Elsewhere) -> Self {
        let mut topics: Vec<Kept<'_>> = Vec::new();
        let mut topic_places: HashMap<&TopicName, usize> = HashMap::new();
        let mut fences: Vec<(SessionId, Epoch)> = Vec::new();
        let mut places = Vec::with_capacity(messages.len());
        for message in messages {
            let named = *topic_places.entry(&message.topic).or_insert(topics.len());
            let (topic, retention) = (&message.topic, message.retention);
            match topics.get_mut(named) {
                Some(kept) => kept.retention = longer(kept.retention, retention),
                None => topics.push(Kept {
                    topic,
                    retention,
                    named,
                }),
            }
            let fence = match message.fence {
                None => 0,
                Some(fence) => elsewhere
                    .get(&fence)
                    .map_or_else(|| place_of(&mut fences, fence), |held| held.mark()),
            };
            places.push((named, fence));
        }
        topics.sort_by_key(|kept| (kept.retention.entries, kept.retention.age_ms));
        let mut place_of_named = vec![0; topics.len()];
        for (place, kept) in (1..).zip(&topics) {
            if let Some(found) = place_of_named.get_mut(kept.named) {
                *found = place;
            }
        }
        let place = |named: usize| place_of_named.get(named).copied().unwrap_or_default();
        let places = places
            .into_iter()
            .map(|(named, fence)| (place(named), fence));
        Self {
            partition,
            places: places.collect(),
            topics,
            fences,
            messages,
        }
    }

    pub(super) fn command(&self, backend: &Backend, live: &Live, how: How) -> Cmd {
        let How { base, expiring, .. } = how;
        let (keys, partition) = (&backend.keys, self.partition);
        let mut names = vec![
            keys.clock(partition),
            keys.generation(partition),
            keys.holes(partition),
        ];
        for bucket in [base.wrapping_sub(1), base, base + 1] {
            names.push(keys.digests(partition, bucket));
        }
        for Kept { topic, .. } in &self.topics {
            names.push(keys.log(partition, topic));
            names.push(keys.tip(partition, topic));
        }
        names.extend(
            self.fences
                .iter()
                .map(|(session, _)| keys.session(*session)),
        );
        let mut call = scripts::APPEND.call(&names);
        call.arg(if Defect::NoGeneration.is_planted() {
            "-"
        } else {
            &live.run_id
        })
        .arg(partition.get())
        .arg(backend.floor(partition).get())
        .arg(backend.bucket_ms)
        .arg(base)
        .arg(expiring)
        .arg(backend.publish_word())
        .arg(self.topics.len())
        .arg(self.fences.len())
        .arg(u8::from(how.settled))
        .arg(backend.keys.channel_stem(partition));
        let alike = || {
            self.topics
                .chunk_by(|one, next| one.retention == next.retention)
        };
        call.arg(alike().count());
        for topics in alike() {
            let [Kept { retention, .. }, ..] = topics else {
                continue;
            };
            call.arg(retention.entries.max(1))
                .arg(retention.age_ms.max(1))
                .arg(topics.len());
        }
        for Kept { topic, .. } in &self.topics {
            call.arg(keys.channel(partition, topic));
        }
        for (_, epoch) in &self.fences {
            call.arg(epoch.0);
        }
        let both = |&(topic, fence): &(u16, u16)| [topic.to_be_bytes(), fence.to_be_bytes()];
        call.arg(
            self.places
                .iter()
                .flat_map(both)
                .collect::<Vec<_>>()
                .concat(),
        );
        for message in self.messages {
            call.arg(&message.digest[..])
                .arg(codec::append_meta(message))
                .arg(message.from.as_ref().map_or("", UserId::as_str))
                .arg(&message.payload.bytes[..]);
        }
        call
    }
}

fn longer(one: Retention, other: Retention) -> Retention {
    Retention {
        entries: one.entries.max(other.entries),
        age_ms: one.age_ms.max(other.age_ms),
    }
}

/// The place of a fence among those that the script checks, from 1.
fn place_of(fences: &mut Vec<(SessionId, Epoch)>, fence: (SessionId, Epoch)) -> u16 {
    let found = fences.iter().position(|known| *known == fence);
    let place = found.unwrap_or_else(|| {
        fences.push(fence);
        fences.len() - 1
    });
    u16::try_from(place + 1).unwrap_or(u16::MAX)
}

/// Results of a batch of which every message was stored and none before: ids one behind the other.
pub(super) fn all_stored(first: &Value, count: usize) -> Results {
    let Some(first) = bytes_of(first).and_then(id_of) else {
        return vec![Err(StoreError::Corrupt("append").into()); count];
    };
    let numbers = (0_u64..).map(|step| first.get().saturating_add(MessageId::STEP * step));
    let appended = numbers.take(count).map(|number| {
        let id = MessageId::new(number).ok_or(StoreError::Corrupt("append"))?;
        Ok(Appended {
            id,
            duplicate: false,
        })
    });
    appended.collect()
}

pub(super) fn read_answer(answer: &Value) -> Result<Appended, WriteError> {
    let corrupt = || WriteError::Store(StoreError::Corrupt("append"));
    let text = bytes_of(answer).ok_or_else(corrupt)?;
    let appended = |digits, duplicate| {
        let id: Option<MessageId> = id_of(digits);
        id.map(|id| Appended { id, duplicate }).ok_or_else(corrupt)
    };
    match text.split_first() {
        Some((b'd', digits)) => appended(digits, true),
        Some((b'f', _)) => Err(WriteError::Fenced),
        Some((b'g', _)) => Err(WriteError::Gone),
        Some((b'e', error)) => {
            let error = String::from_utf8_lossy(error);
            let (code, details) = error.split_once(' ').unwrap_or((&error, ""));
            Err(WriteError::Store(fault::of_text(code, details).into()))
        }
        _ => appended(text, false),
    }
}

#[cfg(test)]
mod tests {
    use sparkway_protocol::{Durability, Payload};

    use super::*;

    const ZERO: Partition = Partition::new(0).expect("the first");

    fn message(topic: &str, entries: u32) -> Append {
        Append {
            topic: TopicName::parse(topic).expect("a name"),
            payload: Payload::json(bytes::Bytes::from_static(b"1")),
            from: None,
            origin: None,
            exclude_origin: false,
            digest: [7; 16],
            fence: None,
            trace: None,
            durability: Durability::Stored,
            retention: Retention { entries, age_ms: 1 },
        }
    }

    #[test]
    fn messages_keep_their_topics_where_topics_are_put_together_by_retention() {
        let named = [
            ("a", 9),
            ("b", 1),
            ("a", 9),
            ("c", 9),
            ("d", 1),
            ("b", 20),
            ("d", 1),
        ];
        let messages = named.map(|(topic, entries)| message(topic, entries));
        let batch = Batch::new(ZERO, &messages, &Elsewhere::new());
        let kept = batch
            .topics
            .iter()
            .map(|kept| (kept.topic.as_str(), kept.retention.entries));
        // The longest of what the messages of a topic ask for.
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [("d", 1), ("a", 9), ("c", 9), ("b", 20)]
        );
        for (message, (topic, fence)) in messages.iter().zip(&batch.places) {
            let place = usize::from(*topic) - 1;
            assert_eq!(batch.topics[place].topic, &message.topic);
            assert_eq!(*fence, 0);
        }
    }

    #[test]
    fn ids_of_a_batch_that_was_stored_whole_follow_the_first_one() {
        let ids = |first: &[u8]| {
            let results = all_stored(&Value::BulkString(first.to_vec()), 3);
            let ids = results
                .into_iter()
                .map(|result| result.map(|one| one.id.get()));
            ids.collect::<Result<Vec<_>, _>>()
        };
        assert_eq!(ids(b"4096"), Ok(vec![4096, 4112, 4128]));
        let corrupt = Err(StoreError::Corrupt("append").into());
        assert_eq!(ids(b"x"), corrupt);
        assert_eq!(ids(b"9007199254740991"), corrupt);
    }
}
