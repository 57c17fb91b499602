//! Messages in the gateway's own logs and records.
//!
//! A conversation of two users is the topic log `$dm:HASH`. What of it is delivered and read is
//! one mark per direction: messages are delivered and read in order, so that everything up to the
//! mark is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sparkway_gateway::settings::ChatSettings;
use sparkway_protocol::{Durability, MessageId, Partition, Payload, TopicName, UserId};
use sparkway_store::record::Range;
use sparkway_store::{Append, BoxFuture, Retention, SharedStore, StoreError, Want, WriteError};

use crate::ChatError;
use crate::messages::{Message, MessageStore, NewMessage, Status, Undelivered};
use crate::naming::{digest_of, direction, topic_of};

/// Records of marks, by direction of a conversation.
const MARKS: &str = "chat-marks";
/// How often a mark is moved that somebody else was faster with.
const ATTEMPTS: u32 = 16;
/// Messages read at once.
const PAGE: usize = 500;
/// Pages of unread messages that one call counts: 50,000 messages.
const READ_PAGES: usize = 100;
/// Messages of a conversation read at once while it is looked for undelivered ones, and how many
/// conversations: as much as may be in memory for one look.
const UNDELIVERED_PAGE: usize = 50;
const CONVERSATIONS: usize = 16;
/// Pages of one conversation that are looked through for undelivered messages.
const UNDELIVERED_PAGES: usize = 200;

/// A message as its entry holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    sender_id: Box<str>,
    receiver_id: Box<str>,
    content: Box<str>,
    message_type: Box<str>,
}

/// How far a direction of a conversation has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marks {
    delivered: u64,
    read: u64,
}

/// Messages in the gateway's own logs and records, in whatever backend those are.
#[derive(Debug)]
pub(crate) struct KeptMessages {
    store: SharedStore,
    retention: Retention,
}

/// Stores an entry; asks once more where the store may have it already.
pub(crate) async fn append(store: &SharedStore, append: Append) -> Result<MessageId, ChatError> {
    let partition = store.partitions().of(append.topic.as_str());
    let mut stored = store.append(partition, vec![append.clone()]).await;
    if stored.is_err() {
        stored = store.append(partition, vec![append]).await;
    }
    let missing = || {
        Err(WriteError::Store(StoreError::Corrupt(
            "no answer to an append",
        )))
    };
    let stored = stored?.into_iter().next().unwrap_or_else(missing)?;
    Ok(stored.id)
}

impl KeptMessages {
    pub(crate) fn new(store: &SharedStore, settings: &ChatSettings) -> Self {
        Self {
            store: Arc::clone(store),
            retention: retention(settings),
        }
    }

    async fn marks(&self, direction: &str) -> Result<(Marks, u64), ChatError> {
        let found = self
            .store
            .records(MARKS, vec![direction.to_owned()])
            .await?;
        match found.into_iter().next().flatten() {
            None => Ok((Marks::default(), 0)),
            Some(record) => serde_json::from_slice(&record.value)
                .map(|marks| (marks, record.version))
                .map_err(|_| ChatError::Corrupt("a mark")),
        }
    }

    /// Moves marks forward; `None` when there is nothing to move. Answers where they stood.
    async fn advance(
        &self,
        direction: &str,
        mut moved: impl FnMut(Marks) -> Option<Marks>,
    ) -> Result<Option<Marks>, ChatError> {
        for _ in 0..ATTEMPTS {
            let (marks, version) = self.marks(direction).await?;
            let Some(new) = moved(marks) else {
                return Ok(None);
            };
            let value = Bytes::from(serde_json::to_vec(&new).unwrap_or_default());
            let put = self
                .store
                .put_record(MARKS, direction.to_owned(), value, version);
            if put.await? {
                return Ok(Some(marks));
            }
        }
        Err(ChatError::Busy)
    }

    async fn entry(&self, topic: TopicName, id: MessageId) -> Result<Option<Message>, ChatError> {
        let before = MessageId::new(id.get() + 1);
        let range = Range {
            topic,
            after: MessageId::ZERO,
            before,
            limit: 1,
            reverse: true,
        };
        let page = self.store.history(range).await?;
        let found = page.entries.first().filter(|entry| entry.id == id);
        found
            .map(|entry| read(entry.id, &entry.payload))
            .transpose()
    }

    /// Marks of several directions, in the order asked.
    async fn marks_of(&self, directions: Vec<String>) -> Result<Vec<Marks>, ChatError> {
        let found = self.store.records(MARKS, directions).await?;
        let marks = found.into_iter().map(|found| match found {
            None => Ok(Marks::default()),
            Some(record) => {
                let marks = serde_json::from_slice(&record.value);
                marks.map_err(|_| ChatError::Corrupt("a mark"))
            }
        });
        marks.collect()
    }

    /// The undelivered messages of one partition's conversations. What is read without finding one
    /// is not read the next time.
    async fn undelivered_in(
        &self,
        receiver: &UserId,
        partition: Partition,
        mut wanted: Vec<(UserId, Want)>,
    ) -> Result<Vec<Undelivered>, ChatError> {
        let mut found = Vec::new();
        let mut with_some = BTreeSet::new();
        for _ in 0..UNDELIVERED_PAGES {
            let wants = wanted.iter().map(|(_, want)| want.clone()).collect();
            let pages = self.store.read(partition, wants, UNDELIVERED_PAGE).await?;
            let mut more = Vec::new();
            for ((sender, want), page) in wanted.into_iter().zip(pages) {
                let theirs = page.entries.iter();
                let theirs = theirs.filter(|entry| entry.from.as_ref() == Some(&sender));
                for entry in theirs {
                    let (id, sender) = (entry.id, sender.clone());
                    with_some.insert(sender.clone());
                    found.push(Undelivered { id, sender });
                }
                let Some(last) = page.entries.last().filter(|_| page.more) else {
                    continue;
                };
                let after = last.id;
                if !with_some.contains(&sender) {
                    let marked = self.mark_delivered(sender.clone(), receiver.clone(), after);
                    marked.await?;
                }
                let topic = want.topic;
                more.push((sender, Want { topic, after }));
            }
            if more.is_empty() {
                return Ok(found);
            }
            wanted = more;
        }
        Ok(found)
    }
}

/// How much of a log is kept: everything, unless the operator says otherwise.
pub(crate) fn retention(settings: &ChatSettings) -> Retention {
    const ALL: Duration = Duration::from_hours(24 * 3650);
    let age = settings.history_age.unwrap_or(ALL);
    Retention {
        entries: settings.history_entries.unwrap_or(u32::MAX),
        age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    }
}

fn read(id: MessageId, payload: &Payload) -> Result<Message, ChatError> {
    let corrupt = || ChatError::Corrupt("a message");
    let kept: Kept = serde_json::from_slice(&payload.bytes).map_err(|_| corrupt())?;
    Ok(Message {
        id,
        sender: UserId::parse(&kept.sender_id).map_err(|_| corrupt())?,
        receiver: UserId::parse(&kept.receiver_id).map_err(|_| corrupt())?,
        content: kept.content,
        kind: kept.message_type,
        status: Status::Sent,
    })
}

impl MessageStore for KeptMessages {
    fn save(&self, message: NewMessage) -> BoxFuture<'_, Result<Message, ChatError>> {
        Box::pin(async move {
            let topic = topic_of(&message.sender, &message.receiver)?;
            let kept = Kept {
                sender_id: message.sender.as_str().into(),
                receiver_id: message.receiver.as_str().into(),
                content: message.content.clone(),
                message_type: message.kind.clone(),
            };
            let named = message.client_id.as_deref();
            let digest = named.map_or_else(rand::random, |name| {
                digest_of(&["chat", message.sender.as_str(), topic.as_str(), name])
            });
            let json = serde_json::to_vec(&kept).unwrap_or_default();
            let entry = Append {
                topic: topic.clone(),
                payload: Payload::json(json.into()),
                from: Some(message.sender.clone()),
                origin: message.fence.map(|(session, _)| session),
                exclude_origin: false,
                digest,
                fence: message.fence,
                durability: Durability::Stored,
                retention: self.retention,
                trace: None,
            };
            let id = append(&self.store, entry).await?;
            if named.is_some()
                && let Some(first) = self.entry(topic, id).await?
            {
                // What was stored first is the message, whatever a repeat says.
                return Ok(first);
            }
            Ok(Message {
                id,
                sender: message.sender,
                receiver: message.receiver,
                content: message.content,
                kind: message.kind,
                status: Status::Sent,
            })
        })
    }

    fn mark_delivered(
        &self,
        sender: UserId,
        receiver: UserId,
        up_to: MessageId,
    ) -> BoxFuture<'_, Result<(), ChatError>> {
        Box::pin(async move {
            let moved = |marks: Marks| {
                (marks.delivered < up_to.get()).then_some(Marks {
                    delivered: up_to.get(),
                    ..marks
                })
            };
            self.advance(&direction(&sender, &receiver), moved).await?;
            Ok(())
        })
    }

    fn undelivered(
        &self,
        receiver: UserId,
        senders: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<Undelivered>, ChatError>> {
        Box::pin(async move {
            let mut wanted: BTreeMap<Partition, Vec<(UserId, Want)>> = BTreeMap::new();
            for senders in senders.chunks(PAGE) {
                let directions = senders.iter().map(|sender| direction(sender, &receiver));
                let marks = self.marks_of(directions.collect()).await?;
                for (sender, marks) in senders.iter().zip(marks) {
                    let topic = topic_of(sender, &receiver)?;
                    let partition = self.store.partitions().of(topic.as_str());
                    let after = MessageId::new(marks.delivered).unwrap_or_default();
                    let wanted = wanted.entry(partition).or_default();
                    wanted.push((sender.clone(), Want { topic, after }));
                }
            }
            let mut found = Vec::new();
            for (partition, mut wanted) in wanted {
                while !wanted.is_empty() {
                    let rest = wanted.split_off(wanted.len().min(CONVERSATIONS));
                    let theirs = self.undelivered_in(&receiver, partition, wanted);
                    found.extend(theirs.await?);
                    wanted = rest;
                }
            }
            Ok(found)
        })
    }

    fn find(
        &self,
        one: UserId,
        other: UserId,
        id: MessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, ChatError>> {
        Box::pin(async move { self.entry(topic_of(&one, &other)?, id).await })
    }

    fn mark_read(&self, sender: UserId, reader: UserId) -> BoxFuture<'_, Result<u64, ChatError>> {
        Box::pin(async move {
            let topic = topic_of(&sender, &reader)?;
            let direction = direction(&sender, &reader);
            let mut count = 0;
            for _ in 0..READ_PAGES {
                let (marks, _) = self.marks(&direction).await?;
                let range = Range {
                    topic: topic.clone(),
                    after: MessageId::new(marks.read).unwrap_or_default(),
                    before: None,
                    limit: PAGE,
                    reverse: false,
                };
                let page = self.store.history(range).await?;
                let Some(last) = page.entries.last() else {
                    return Ok(count);
                };
                // Page by page, so that nothing is read twice; whoever moves the mark from where
                // it stood counts what lay behind it.
                let read = last.id.get();
                let moved = |now: Marks| (now.read == marks.read).then_some(Marks { read, ..now });
                if self.advance(&direction, moved).await?.is_some() {
                    let theirs = page.entries.iter();
                    let theirs = theirs.filter(|entry| entry.from.as_ref() == Some(&sender));
                    count += theirs.count() as u64;
                    if !page.more {
                        return Ok(count);
                    }
                }
            }
            // So many that nobody needs their number: the rest is read and not counted.
            let read = self.store.tip(topic).await?.get();
            let moved = |now: Marks| (now.read < read).then_some(Marks { read, ..now });
            self.advance(&direction, moved).await?;
            Ok(count)
        })
    }

    fn history(
        &self,
        one: UserId,
        other: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Message>, ChatError>> {
        Box::pin(async move {
            let range = Range {
                topic: topic_of(&one, &other)?,
                after: MessageId::ZERO,
                before,
                limit,
                reverse: true,
            };
            let page = self.store.history(range).await?;
            let (of_one, _) = self.marks(&direction(&one, &other)).await?;
            let (of_other, _) = self.marks(&direction(&other, &one)).await?;
            let entries = page.entries.iter();
            entries
                .map(|entry| {
                    let mut message = read(entry.id, &entry.payload)?;
                    let marks = if message.sender == one {
                        of_one
                    } else {
                        of_other
                    };
                    message.status = match message.id.get() {
                        id if id <= marks.read => Status::Read,
                        id if id <= marks.delivered => Status::Delivered,
                        _ => Status::Sent,
                    };
                    Ok(message)
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use sparkway_store::memory::{MemorySettings, MemoryStore};

    use super::*;

    #[tokio::test]
    async fn what_is_read_is_counted_once_over_many_pages_and_by_two_at_once() {
        let store: SharedStore = Arc::new(MemoryStore::new(MemorySettings::default()));
        let messages = KeptMessages::new(&store, &ChatSettings::default());
        let (ada, bob) = (UserId::parse("ada").unwrap(), UserId::parse("bob").unwrap());
        let save = async |sender: &UserId, receiver: &UserId| {
            let message = NewMessage {
                sender: sender.clone(),
                receiver: receiver.clone(),
                content: "x".into(),
                kind: "text".into(),
                client_id: None,
                fence: None,
            };
            messages.save(message).await.unwrap()
        };
        for at in 0..3 * PAGE {
            save(&ada, &bob).await;
            if at % 2 == 0 {
                save(&bob, &ada).await;
            }
        }
        let read = || messages.mark_read(ada.clone(), bob.clone());
        let (one, other) = tokio::join!(read(), read());
        assert_eq!(one.unwrap() + other.unwrap(), 3 * PAGE as u64);
        // What he says himself is not looked through again each time.
        for _ in 0..PAGE {
            save(&bob, &ada).await;
        }
        assert_eq!(read().await.unwrap(), 0);
        let newest = save(&bob, &ada).await.id;
        assert_eq!(read().await.unwrap(), 0);
        let (marks, _) = messages.marks(&direction(&ada, &bob)).await.unwrap();
        assert_eq!(marks.read, newest.get());
        let newest = messages.history(ada, bob, None, 2 * PAGE).await.unwrap();
        let theirs = newest
            .iter()
            .filter(|message| message.sender.as_str() == "ada");
        assert!(theirs.clone().count() > 0);
        assert!(
            theirs
                .into_iter()
                .all(|message| message.status == Status::Read)
        );
    }
}
