//! What waits for a user, and what of it is delivered.
//!
//! A message for a user is an entry of his inbox topic `$user:ID`, as the frame that he will read.
//! A record says up to where the inbox was written to a connection of his: what lies behind is
//! delivered when he connects, and everything that passes it is marked, once, and its sender told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sparkway_dialect::chat::{self, Told};
use sparkway_gateway::application::{Visitor, inbox};
use sparkway_protocol::{Durability, MessageId, TopicName, UserId, iso8601};
use sparkway_store::Append;
use sparkway_store::record::Range;

use crate::deliveries::Queued;
use crate::kept::{append, retention};
use crate::messages::Message;
use crate::naming::digest_of;
use crate::{Chat, ChatError};

/// Records of how far inboxes are delivered, by user.
const INBOXES: &str = "chat-inboxes";
/// Entries read at once.
const PAGE: usize = 200;
/// How often a write is tried that somebody else was faster with.
const ATTEMPTS: u32 = 16;
/// How long whoever sends a message waits until it is in the inbox of its receiver. Beyond, it gets
/// there without him.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often an inbox is tried while the store is away: for about a minute.
const DELIVERIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

impl Chat {
    /// Puts a stored message into its receiver's inbox, once however often it is asked.
    pub(crate) async fn deliver(&self, message: &Message, username: &str) -> Result<(), ChatError> {
        let topic = inbox(&message.receiver).ok_or(ChatError::Corrupt("a user's id"))?;
        let id = message.id.to_string();
        let told = Told::NewMessage {
            message_id: &id,
            sender_id: message.sender.as_str(),
            sender_username: username,
            content: &message.content,
            message_type: &message.kind,
            created_at: &iso8601(message.id.unix_ms()),
        };
        let entry = Append {
            topic,
            payload: told.to_payload(),
            from: Some(message.sender.clone()),
            origin: None,
            exclude_origin: false,
            digest: digest_of(&["deliver", message.receiver.as_str(), &id]),
            fence: None,
            durability: Durability::Stored,
            retention: retention(&self.settings),
            trace: None,
        };
        append(&self.store, entry).await.map(drop)
    }

    /// Sees to it that a stored message gets into its receiver's inbox, and does not wait long.
    pub(crate) async fn hand_over(self: &Arc<Self>, message: Message, username: &str) {
        if !self.deliveries.is_waiting(&message.receiver) {
            let delivered = tokio::time::timeout(AT_ONCE, self.deliver(&message, username));
            match delivered.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::debug!(%error, "delivery is repeated"),
                Err(_) => tracing::debug!("delivery takes longer"),
            }
        }
        let receiver = message.receiver.clone();
        let id = message.id;
        match self.deliveries.push(message, username) {
            Queued::First => {
                let chat = Arc::clone(self);
                if let Some(host) = self.host.get() {
                    host.spawn(async move { chat.work_off(&receiver).await });
                }
            }
            Queued::Behind => {}
            Queued::Full => tracing::error!(message = %id, "a message waits in no inbox"),
        }
    }

    /// Delivers what waits for a receiver, in order.
    pub(crate) async fn work_off(&self, receiver: &UserId) {
        let (mut pause, mut left) = (PAUSE, DELIVERIES);
        while let Some((message, username)) = self.deliveries.front(receiver) {
            match self.deliver(&message, &username).await {
                Ok(()) => {
                    (pause, left) = (PAUSE, DELIVERIES);
                    if !self.deliveries.pop(receiver) {
                        return;
                    }
                    continue;
                }
                Err(error) if left == 0 => {
                    let messages = self.deliveries.give_up(receiver);
                    tracing::error!(messages, %error, "messages wait in no inbox");
                    return;
                }
                Err(error) => tracing::debug!(%error, "delivery is repeated"),
            }
            left -= 1;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Up to where a user's inbox is delivered, and the version of that record.
    async fn delivered_to(&self, user: &UserId) -> Result<(MessageId, u64), ChatError> {
        let found = self.store.records(INBOXES, vec![user.to_string()]).await?;
        let Some(record) = found.into_iter().next().flatten() else {
            return Ok((MessageId::ZERO, 0));
        };
        let id = str::from_utf8(&record.value)
            .ok()
            .and_then(MessageId::parse);
        let id = id.ok_or(ChatError::Corrupt("an inbox"))?;
        Ok((id, record.version))
    }

    pub(crate) async fn set_delivered(
        &self,
        user: &UserId,
        up_to: MessageId,
    ) -> Result<(), ChatError> {
        for _ in 0..ATTEMPTS {
            let (known, version) = self.delivered_to(user).await?;
            if known >= up_to {
                return Ok(());
            }
            let value = Bytes::from(up_to.to_string());
            let put = self
                .store
                .put_record(INBOXES, user.to_string(), value, version);
            if put.await? {
                return Ok(());
            }
        }
        Err(ChatError::Busy)
    }

    /// From where a user who comes is given what is in his inbox.
    pub(crate) async fn inbox_start(&self, user: &UserId) -> Result<MessageId, ChatError> {
        if self.settings.deliver_pending {
            return Ok(self.delivered_to(user).await?.0);
        }
        let topic = inbox(user).ok_or(ChatError::Corrupt("a user's id"))?;
        let newest = self.store.tip(topic).await?;
        self.set_delivered(user, newest).await?;
        Ok(newest)
    }

    /// Everything of a visitor's inbox up to this entry is on its way to him: marks it, and tells
    /// the senders.
    pub(crate) async fn mark_written(
        &self,
        visitor: &Visitor,
        up_to: MessageId,
    ) -> Result<(), ChatError> {
        self.mark_inbox(visitor.user(), up_to).await
    }

    /// The same for whoever it is.
    pub(crate) async fn mark_inbox(
        &self,
        receiver: &UserId,
        up_to: MessageId,
    ) -> Result<(), ChatError> {
        let Some(topic) = inbox(receiver) else {
            return Ok(());
        };
        let (mut after, _) = self.delivered_to(receiver).await?;
        while after < up_to {
            let (last, more) = self.mark_page(receiver, &topic, after, up_to).await?;
            self.set_delivered(receiver, last.unwrap_or(up_to)).await?;
            match last {
                Some(last) if more => after = last,
                Some(_) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A client that receives the inbox only from some entry on has everything up to another one.
    /// Marks it, unless something is undelivered before the first: marks stand for all before them.
    pub(crate) async fn mark_acknowledged(
        &self,
        visitor: &Visitor,
        from: MessageId,
        up_to: MessageId,
    ) -> Result<(), ChatError> {
        let Some(topic) = inbox(visitor.user()) else {
            return Ok(());
        };
        let (known, _) = self.delivered_to(visitor.user()).await?;
        if known < from {
            let missed = Range {
                topic,
                after: known,
                before: MessageId::new(from.get() + 1),
                limit: 1,
                reverse: false,
            };
            if !self.store.history(missed).await?.entries.is_empty() {
                return Ok(());
            }
        }
        self.mark_written(visitor, up_to).await
    }

    async fn mark_page(
        &self,
        receiver: &UserId,
        topic: &TopicName,
        after: MessageId,
        up_to: MessageId,
    ) -> Result<(Option<MessageId>, bool), ChatError> {
        let range = Range {
            topic: topic.clone(),
            after,
            before: MessageId::new(up_to.get() + 1),
            limit: PAGE,
            reverse: false,
        };
        let page = self.store.history(range).await?;
        let delivered = page.entries.iter();
        let delivered: Vec<_> = delivered
            .filter_map(|entry| chat::delivered(&entry.payload))
            .filter_map(|message| {
                let sender = UserId::parse(&message.sender_id).ok()?;
                Some((sender, MessageId::parse(&message.message_id)?))
            })
            .collect();
        let mut newest: HashMap<UserId, MessageId> = HashMap::new();
        for (sender, id) in &delivered {
            let known = newest.entry(sender.clone()).or_insert(*id);
            *known = (*known).max(*id);
        }
        // Before the marks pass it: they stand for everything before them.
        let ids: HashSet<MessageId> = delivered.iter().map(|(_, id)| *id).collect();
        self.hand_over_missed_before(receiver, &newest, &ids)
            .await?;
        for (sender, id) in newest {
            let marked = self.messages.mark_delivered(sender, receiver.clone(), id);
            marked.await?;
        }
        let delivered_at = iso8601(self.unix_ms());
        for (sender, id) in delivered {
            let told = Told::MessageDelivered {
                message_id: &id.to_string(),
                delivered_at: &delivered_at,
            };
            self.tell(&sender, &told).await;
        }
        Ok((page.entries.last().map(|entry| entry.id), page.more))
    }
}
