//! Messages that are in the log of their conversation and in no inbox: whoever stored one may have
//! been killed before he handed it over, or the store was away for too long.
//!
//! The log is what counts. A receiver's conversations are looked through when he connects and every
//! few minutes while he stays, and one of them whenever something newer of it is delivered. What is
//! found is put into his inbox, behind what is there already, under the id that it has.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sparkway_dialect::chat;
use sparkway_gateway::application::{Visitor, inbox};
use sparkway_protocol::{MessageId, TopicName, UserId};
use sparkway_store::record::Range;

use crate::messages::{Sought, Undelivered};
use crate::{Chat, ChatError};

/// Entries of an inbox read at once.
const PAGE: usize = 200;
/// How far the clocks behind two logs may be apart, in milliseconds.
const SKEW_MS: u64 = 60_000;
/// How often it is looked for what a user who stays connected has missed, at the least; up to half
/// as much longer, so that those who came together do not look together.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// How long one look may take. Where a store is so slow or so full that it takes longer, others get
/// their turn, and the next look goes on.
const LOOK: Duration = Duration::from_mins(1);
/// The first pause after a look that failed; it doubles up to the other.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Chat {
    /// Looks for what a visitor should have been sent, beside everything else.
    pub(crate) fn look_for_missed(self: &Arc<Self>, visitor: &Visitor) {
        let Some(host) = self.host.get().filter(|_| self.settings.deliver_pending) else {
            return;
        };
        let (chat, visitor) = (Arc::clone(self), visitor.clone());
        host.spawn_while_serving(async move {
            let mut pause = PAUSE;
            while !visitor.is_gone() {
                let Ok(turn) = chat.looks.acquire().await else {
                    return;
                };
                let error = match chat.hand_over_missed(visitor.user()).await {
                    Ok(_) => return,
                    // Looked for again with everybody else's.
                    Err(error @ ChatError::Late) => {
                        tracing::warn!(%error, "it was not looked for all missed messages");
                        return;
                    }
                    Err(error) => error,
                };
                drop(turn);
                if pause == PAUSE {
                    tracing::warn!(%error, "it was not looked for missed messages yet");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        });
    }

    /// Looks for what the users who are connected to this node have missed, again and again, for as
    /// long as the node serves. One after the other: nobody waits for it but whoever misses something.
    pub(crate) async fn look_after_all(self: Arc<Self>) {
        loop {
            // So that nodes that began together do not look together.
            let jitter = 1.0 + rand::random::<f64>() / 2.0;
            tokio::time::sleep(LOOK_EVERY.mul_f64(jitter)).await;
            let visitors = self.lobby.others(None);
            let users = visitors.iter().map(|visitor| visitor.user().clone());
            self.look_after(users.collect()).await;
        }
    }

    /// Looks once for each of these users; where that fails, the next round looks again. How many
    /// messages they had missed.
    async fn look_after(&self, users: BTreeSet<UserId>) -> usize {
        let (mut count, mut pause) = (0, PAUSE);
        for user in users {
            match self.hand_over_missed(&user).await {
                Ok(missed) => {
                    count += missed;
                    pause = PAUSE;
                }
                Err(error) => {
                    tracing::warn!(%error, "it was not looked for missed messages");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        count
    }

    /// Puts into a user's inbox what his conversations hold for him and it does not. How many that
    /// was.
    ///
    /// # Errors
    /// [`ChatError::Late`]: what was found is in the inbox; the rest is left to the next look.
    pub(crate) async fn hand_over_missed(&self, user: &UserId) -> Result<usize, ChatError> {
        let look = async {
            let contacts = self.contacts.of(user).await?;
            let sought = contacts.into_iter().map(|sender| Sought {
                sender,
                after: None,
                before: None,
            });
            self.hand_over_sought(user, sought.collect(), &HashSet::new())
                .await
        };
        within(LOOK, look).await
    }

    /// The same for these senders, of whom everything before these ids is about to count as
    /// delivered.
    ///
    /// # Errors
    /// As above; nothing may count as delivered then.
    pub(crate) async fn hand_over_missed_before(
        &self,
        user: &UserId,
        newest: &HashMap<UserId, MessageId>,
        delivered: &HashSet<MessageId>,
    ) -> Result<usize, ChatError> {
        if !self.settings.deliver_pending {
            return Ok(0);
        }
        let sought = newest.iter().map(|(sender, newest)| Sought {
            sender: sender.clone(),
            after: None,
            before: Some(*newest),
        });
        let look = self.hand_over_sought(user, sought.collect(), delivered);
        within(LOOK, look).await
    }

    /// Some at a time, until all are looked through.
    async fn hand_over_sought(
        &self,
        user: &UserId,
        mut sought: Vec<Sought>,
        delivered: &HashSet<MessageId>,
    ) -> Result<usize, ChatError> {
        let mut count = 0;
        while !sought.is_empty() {
            let found = self.messages.undelivered(user.clone(), sought).await?;
            let mut messages = found.messages;
            messages.retain(|message| !delivered.contains(&message.id));
            count += self.hand_over_those_missing(user, messages).await?;
            sought = found.rest;
        }
        Ok(count)
    }

    async fn hand_over_those_missing(
        &self,
        user: &UserId,
        found: Vec<Undelivered>,
    ) -> Result<usize, ChatError> {
        let topic = inbox(user).ok_or(ChatError::Corrupt("a user's id"))?;
        let mut missing = self.not_in(&topic, found).await?;
        missing.sort_unstable_by_key(|message| message.id.unix_ms());
        let mut count = 0;
        for Undelivered { id, sender } in missing {
            let found = self.messages.find(sender.clone(), user.clone(), id);
            let Some(message) = found.await? else {
                continue;
            };
            let sender = sender.as_str();
            let known = self.users.find(vec![sender.into()]).await?;
            let known = known.into_iter().next().flatten();
            let username = known.map_or_else(|| sender.into(), |user| user.username);
            self.deliver(&message, &username).await?;
            count += 1;
            tracing::info!(message = %message.id, "a message that was missed is delivered");
        }
        Ok(count)
    }

    /// Those of the messages that an inbox does not hold, as far as that can be told: what may have
    /// been trimmed there is not delivered again.
    async fn not_in(
        &self,
        topic: &TopicName,
        messages: Vec<Undelivered>,
    ) -> Result<Vec<Undelivered>, ChatError> {
        let Some(oldest_ms) = messages.iter().map(|message| message.id.unix_ms()).min() else {
            return Ok(Vec::new());
        };
        let partition = self.store.partitions().of(topic.as_str());
        let start = MessageId::at(oldest_ms.saturating_sub(SKEW_MS), partition);
        let mut missing: HashMap<MessageId, Undelivered> = messages
            .into_iter()
            .map(|message| (message.id, message))
            .collect();
        let mut after = start;
        loop {
            let range = Range {
                topic: topic.clone(),
                after,
                before: None,
                limit: PAGE,
                reverse: false,
            };
            let page = self.store.history(range).await?;
            if after == start {
                // What stood before the first, or was the last, may be there no more.
                let (before, kept_ms) = match page.entries.first() {
                    Some(first) => (first.prev, first.id.unix_ms()),
                    None => (self.store.tip(topic.clone()).await?, u64::MAX),
                };
                if before > start {
                    let until_ms = kept_ms.saturating_add(SKEW_MS);
                    missing.retain(|id, _| id.unix_ms() > until_ms);
                }
            }
            for entry in &page.entries {
                let delivered = chat::delivered(&entry.payload);
                let id = delivered.and_then(|held| MessageId::parse(&held.message_id));
                if let Some(id) = id {
                    missing.remove(&id);
                }
                after = entry.id;
            }
            if !page.more || missing.is_empty() {
                return Ok(missing.into_values().collect());
            }
        }
    }
}

/// What does not end in time is dropped where it stands.
async fn within<T>(
    limit: Duration,
    look: impl Future<Output = Result<T, ChatError>>,
) -> Result<T, ChatError> {
    let ended = tokio::time::timeout(limit, look).await;
    ended.unwrap_or(Err(ChatError::Late))
}

#[cfg(test)]
mod tests {
    use sparkway_gateway::settings::{ChatUsers, Settings};
    use sparkway_store::SharedStore;
    use sparkway_store::memory::{MemorySettings, MemoryStore};

    use super::*;
    use crate::calls::Draft;
    use crate::faulty::Faulty;
    use crate::messages::Message;
    use crate::users::User;

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    async fn chat_over(store: &SharedStore) -> Arc<Chat> {
        let mut settings = Settings::default();
        settings.chat.users = ChatUsers::Claims;
        let chat = Chat::open(&settings, store).await.unwrap();
        for id in ["ada", "bob", "cleo"] {
            let known = User {
                id: id.into(),
                username: format!("{id}'s name").into(),
                avatar: None,
                password: None,
                created_ms: 1,
            };
            chat.users.note(known).await.unwrap();
        }
        chat
    }

    fn store() -> SharedStore {
        Arc::new(MemoryStore::new(MemorySettings::default()))
    }

    /// The first of the two writes.
    async fn stored(chat: &Chat, from: &str, to: &str, content: &str) -> Message {
        let draft = Draft {
            receiver: to.into(),
            content: content.into(),
            kind: "text".into(),
            client_id: None,
        };
        chat.save(&user(from), draft, None).await.unwrap()
    }

    /// Both.
    async fn sent(chat: &Arc<Chat>, from: &str, to: &str, content: &str) -> Message {
        let message = stored(chat, from, to, content).await;
        chat.hand_over(message.clone(), from).await;
        message
    }

    async fn inbox_of(chat: &Chat, id: &str) -> (Vec<String>, MessageId) {
        let range = Range {
            topic: inbox(&user(id)).unwrap(),
            after: MessageId::ZERO,
            before: None,
            limit: 1000,
            reverse: false,
        };
        let page = chat.store.history(range).await.unwrap();
        let held = page.entries.iter();
        let held = held.filter_map(|entry| chat::delivered(&entry.payload));
        let newest = page.entries.last().map(|entry| entry.id);
        let ids = held.map(|message| message.message_id).collect();
        (ids, newest.unwrap_or_default())
    }

    #[tokio::test]
    async fn a_message_whose_sender_died_between_both_writes_comes_when_its_receiver_does() {
        let store = store();
        let first = sent(&chat_over(&store).await, "ada", "bob", "first").await;
        // The node of the sender is killed here; the one of the receiver never heard of it.
        let lost = stored(&*chat_over(&store).await, "cleo", "bob", "lost").await;
        let also = stored(&*chat_over(&store).await, "ada", "bob", "also").await;
        let chat = chat_over(&store).await;
        assert_eq!(inbox_of(&chat, "bob").await.0, [first.id.to_string()]);
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 2);
        let (mut held, _) = inbox_of(&chat, "bob").await;
        held.sort_unstable();
        let mut all = [&first, &lost, &also].map(|message| message.id.to_string());
        all.sort_unstable();
        assert_eq!(held, all);
        // Once, on whatever node he comes.
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 0);
        let other = chat_over(&store).await;
        assert_eq!(other.hand_over_missed(&user("bob")).await.unwrap(), 0);
        assert_eq!(other.hand_over_missed(&user("ada")).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_missed_message_comes_when_a_newer_one_of_its_conversation_is_delivered() {
        let store = store();
        let lost = stored(&*chat_over(&store).await, "ada", "bob", "lost").await;
        let chat = chat_over(&store).await;
        let newer = sent(&chat, "ada", "bob", "newer").await;
        let (held, written) = inbox_of(&chat, "bob").await;
        assert_eq!(held, [newer.id.to_string()]);
        chat.mark_inbox(&user("bob"), written).await.unwrap();
        let (held, written) = inbox_of(&chat, "bob").await;
        assert_eq!(held, [newer.id.to_string(), lost.id.to_string()]);
        chat.mark_inbox(&user("bob"), written).await.unwrap();
        assert_eq!(inbox_of(&chat, "bob").await.0, held, "once");
    }

    #[tokio::test]
    async fn a_missed_message_comes_to_a_receiver_who_stays_connected() {
        let store = store();
        let lost = stored(&*chat_over(&store).await, "ada", "bob", "lost").await;
        let chat = chat_over(&store).await;
        let users = || BTreeSet::from([user("bob"), user("cleo")]);
        assert_eq!(chat.look_after(users()).await, 1);
        assert_eq!(inbox_of(&chat, "bob").await.0, [lost.id.to_string()]);
        assert_eq!(chat.look_after(users()).await, 0, "once");
    }

    #[tokio::test]
    async fn a_missed_message_is_not_marked_as_delivered_however_full_the_inbox_is() {
        let store = store();
        let lost = stored(&*chat_over(&store).await, "ada", "bob", "lost").await;
        let chat = chat_over(&store).await;
        for at in 0..101 * PAGE {
            sent(&chat, "cleo", "bob", &at.to_string()).await;
        }
        // All but the last one is marked; with that one, everything of its sender before it is.
        let bobs = inbox(&user("bob")).unwrap();
        let written = chat.store.tip(bobs.clone()).await.unwrap();
        chat.set_delivered(&user("bob"), written).await.unwrap();
        sent(&chat, "ada", "bob", "newer").await;
        let newest = chat.store.tip(bobs.clone()).await.unwrap();
        chat.mark_inbox(&user("bob"), newest).await.unwrap();
        let range = Range {
            topic: bobs,
            after: MessageId::ZERO,
            before: None,
            limit: 1,
            reverse: true,
        };
        let page = chat.store.history(range).await.unwrap();
        let held = chat::delivered(&page.entries[0].payload).unwrap();
        assert_eq!(held.message_id, lost.id.to_string());
    }

    #[tokio::test]
    async fn what_was_delivered_read_or_sent_by_himself_is_not_missed() {
        let store = store();
        let chat = chat_over(&store).await;
        sent(&chat, "ada", "bob", "delivered").await;
        let (_, written) = inbox_of(&chat, "bob").await;
        chat.mark_inbox(&user("bob"), written).await.unwrap();
        sent(&chat, "bob", "ada", "his own").await;
        sent(&chat, "ada", "bob", "waits").await;
        let read = chat.messages.mark_read(user("ada"), user("bob"), 1);
        assert_eq!(read.await.unwrap(), 2);
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_message_waits_behind_those_of_its_receiver_and_its_sender_does_not() {
        let store = store();
        let chat = chat_over(&store).await;
        let first = stored(&chat, "ada", "bob", "first").await;
        chat.deliveries.push(first.clone(), "ada");
        let second = sent(&chat, "ada", "bob", "second").await;
        assert!(
            inbox_of(&chat, "bob").await.0.is_empty(),
            "behind the first"
        );
        sent(&chat, "ada", "cleo", "others do not wait").await;
        assert_eq!(inbox_of(&chat, "cleo").await.0.len(), 1);
        chat.work_off(&user("bob")).await;
        let both = [first, second].map(|message| message.id.to_string());
        assert_eq!(inbox_of(&chat, "bob").await.0, both);
        assert!(!chat.deliveries.is_waiting(&user("bob")));
    }

    #[tokio::test]
    async fn what_an_inbox_has_trimmed_is_not_delivered_again() {
        let store = store();
        let mut settings = Settings::default();
        settings.chat.users = ChatUsers::Claims;
        settings.chat.history_entries = Some(3);
        drop(chat_over(&store).await);
        let chat = Chat::open(&settings, &store).await.unwrap();
        for at in 0..3 {
            sent(&chat, "ada", "bob", &at.to_string()).await;
            sent(&chat, "cleo", "bob", &at.to_string()).await;
        }
        let before = inbox_of(&chat, "bob").await;
        assert_eq!(before.0.len(), 3);
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 0);
        assert_eq!(inbox_of(&chat, "bob").await, before);
    }

    #[tokio::test]
    async fn a_long_monologue_is_not_read_again_at_each_connect() {
        let store = store();
        let chat = chat_over(&store).await;
        sent(&chat, "ada", "bob", "hello").await;
        let (_, written) = inbox_of(&chat, "bob").await;
        chat.mark_inbox(&user("bob"), written).await.unwrap();
        for at in 0..1100 {
            stored(&chat, "bob", "ada", &at.to_string()).await;
        }
        let lost = stored(&chat, "ada", "bob", "lost").await;
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 1);
        let (held, _) = inbox_of(&chat, "bob").await;
        assert_eq!(held.last(), Some(&lost.id.to_string()));
    }

    #[tokio::test]
    async fn what_is_missed_behind_very_many_that_wait_is_found() {
        let store = store();
        let chat = chat_over(&store).await;
        for at in 0..10_050 {
            sent(&chat, "ada", "bob", &at.to_string()).await;
        }
        let lost = stored(&chat, "ada", "bob", "lost").await;
        assert_eq!(chat.hand_over_missed(&user("bob")).await.unwrap(), 1);
        let range = Range {
            topic: inbox(&user("bob")).unwrap(),
            after: MessageId::ZERO,
            before: None,
            limit: 1,
            reverse: true,
        };
        let newest = chat.store.history(range).await.unwrap();
        let held = chat::delivered(&newest.entries[0].payload).unwrap();
        assert_eq!(held.message_id, lost.id.to_string());
    }

    #[tokio::test]
    async fn marking_an_inbox_reads_its_conversations_once() {
        let faulty = Arc::new(Faulty::new());
        let store: SharedStore = faulty.clone();
        let chat = chat_over(&store).await;
        let count = 20 * PAGE;
        for at in 0..count {
            sent(&chat, "ada", "bob", &at.to_string()).await;
        }
        let written = chat.store.tip(inbox(&user("bob")).unwrap()).await.unwrap();
        faulty.take_entries_read();
        chat.mark_inbox(&user("bob"), written).await.unwrap();
        let read = faulty.take_entries_read();
        // The inbox, the conversation, and a little beyond the end of each page of the inbox.
        assert!(read < 3 * count, "{read} entries were read for {count}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_takes_too_long_ends_and_marks_nothing() {
        let faulty = Arc::new(Faulty::new());
        let store: SharedStore = faulty.clone();
        let chat = chat_over(&store).await;
        stored(&chat, "ada", "bob", "lost").await;
        for at in 0..100 * PAGE {
            sent(&chat, "cleo", "bob", &at.to_string()).await;
        }
        faulty.slow_down(Duration::from_secs(1));
        let began = tokio::time::Instant::now();
        let looked = chat.hand_over_missed(&user("bob")).await;
        assert_eq!(looked, Err(ChatError::Late));
        assert_eq!(began.elapsed(), LOOK);
    }
}
