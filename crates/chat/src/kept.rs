//! Messages in the gateway's own logs and records.
//!
//! A conversation of two users is the topic log `$dm:HASH`. What of it is delivered and read is in
//! its marks.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sparkway_gateway::settings::ChatSettings;
use sparkway_protocol::{Durability, MessageId, Payload, TopicName, UserId};
use sparkway_store::record::Range;
use sparkway_store::{Append, BoxFuture, Retention, SharedStore, StoreError, WriteError};

use crate::ChatError;
use crate::marks::Marks;
use crate::messages::{Found, Message, MessageStore, NewMessage, Sought, Status};
use crate::naming::{digest_of, direction, topic_of};

/// A message as its entry holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    sender_id: Box<str>,
    receiver_id: Box<str>,
    content: Box<str>,
    message_type: Box<str>,
}

/// Messages in the gateway's own logs and records, in whatever backend those are.
#[derive(Debug)]
pub(crate) struct KeptMessages {
    pub(crate) store: SharedStore,
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
            let moved = |marks: Marks| marks.delivered_to(up_to);
            self.advance(&direction(&sender, &receiver), moved).await?;
            Ok(())
        })
    }

    fn undelivered(
        &self,
        receiver: UserId,
        sought: Vec<Sought>,
    ) -> BoxFuture<'_, Result<Found, ChatError>> {
        Box::pin(async move { self.search(&receiver, sought).await })
    }

    fn find(
        &self,
        one: UserId,
        other: UserId,
        id: MessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, ChatError>> {
        Box::pin(async move { self.entry(topic_of(&one, &other)?, id).await })
    }

    fn mark_read(
        &self,
        sender: UserId,
        reader: UserId,
        call: u64,
    ) -> BoxFuture<'_, Result<u64, ChatError>> {
        Box::pin(async move { self.read_all(&sender, &reader, call).await })
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
