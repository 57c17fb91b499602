//! How far conversations have got: one record of marks per direction. Messages are delivered and
//! read in order, so that everything up to a mark is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sparkway_protocol::{MessageId, UserId};
use sparkway_store::record::Range;

use crate::ChatError;
use crate::kept::KeptMessages;
use crate::naming::{direction, topic_of};

/// Records of marks, by direction of a conversation.
const MARKS: &str = "chat-marks";
/// How often a mark is moved that somebody else was faster with.
const ATTEMPTS: u32 = 16;
/// Messages read at once.
pub(crate) const PAGE: usize = 500;
/// Pages of unread messages that one call counts: 50,000 messages.
const READ_PAGES: usize = 100;

/// How far a direction of a conversation has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    pub(crate) delivered: u64,
    pub(crate) read: u64,
    /// Messages up to `read` that no call has answered for yet: whoever moved the mark may have
    /// ended before he could say so.
    #[serde(default)]
    unsaid: u64,
    /// How many the last call answers for, and its name.
    #[serde(default)]
    said: u64,
    #[serde(default)]
    said_by: u64,
}

impl Marks {
    /// With everything up to here delivered, if that is something new.
    pub(crate) fn delivered_to(self, up_to: MessageId) -> Option<Self> {
        (self.delivered < up_to.get()).then_some(Self {
            delivered: up_to.get(),
            ..self
        })
    }
}

impl KeptMessages {
    pub(crate) async fn marks(&self, direction: &str) -> Result<(Marks, u64), ChatError> {
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
    pub(crate) async fn advance(
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

    /// Marks of several directions, in the order asked.
    pub(crate) async fn marks_of(&self, directions: Vec<String>) -> Result<Vec<Marks>, ChatError> {
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

    /// All messages of `sender` are read by `reader`. How many became so since somebody was told.
    pub(crate) async fn read_all(
        &self,
        sender: &UserId,
        reader: &UserId,
        call: u64,
    ) -> Result<u64, ChatError> {
        let direction = direction(sender, reader);
        self.move_read(sender, reader, &direction).await?;
        self.take_unsaid(&direction, call).await
    }

    /// Moves the mark over all that is there, page by page, and counts what it passes in the same
    /// write: nothing is read twice, and no count is lost with whoever is interrupted.
    async fn move_read(
        &self,
        sender: &UserId,
        reader: &UserId,
        direction: &str,
    ) -> Result<(), ChatError> {
        let topic = topic_of(sender, reader)?;
        for _ in 0..READ_PAGES {
            let (marks, _) = self.marks(direction).await?;
            let range = Range {
                topic: topic.clone(),
                after: MessageId::new(marks.read).unwrap_or_default(),
                before: None,
                limit: PAGE,
                reverse: false,
            };
            let page = self.store.history(range).await?;
            let Some(last) = page.entries.last() else {
                return Ok(());
            };
            let read = last.id.get();
            let theirs = page.entries.iter();
            let theirs = theirs.filter(|entry| entry.from.as_ref() == Some(sender));
            let count = theirs.count() as u64;
            // Whoever moves the mark from where it stood counts what lay behind it.
            let moved = |now: Marks| {
                let unsaid = now.unsaid.saturating_add(count);
                (now.read == marks.read).then_some(Marks {
                    read,
                    unsaid,
                    ..now
                })
            };
            if self.advance(direction, moved).await?.is_some() && !page.more {
                return Ok(());
            }
        }
        // So many that nobody needs their number: the rest is read and not counted.
        let read = self.store.tip(topic).await?.get();
        let moved = |now: Marks| (now.read < read).then_some(Marks { read, ..now });
        self.advance(direction, moved).await.map(drop)
    }

    /// The count that nobody has answered for is this call's answer, also when it asks again.
    async fn take_unsaid(&self, direction: &str, call: u64) -> Result<u64, ChatError> {
        let mut answer = 0;
        let taken = |now: Marks| {
            let before = if now.said_by == call { now.said } else { 0 };
            answer = before.saturating_add(now.unsaid);
            (now.unsaid > 0).then_some(Marks {
                unsaid: 0,
                said: answer,
                said_by: call,
                ..now
            })
        };
        self.advance(direction, taken).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sparkway_gateway::settings::ChatSettings;
    use sparkway_store::SharedStore;

    use super::*;
    use crate::faulty::{Fault, Faulty};
    use crate::messages::{MessageStore as _, NewMessage, Status};

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    /// Of a call of its own.
    fn name() -> u64 {
        rand::random::<u64>() | 1
    }

    fn kept() -> (Arc<Faulty>, KeptMessages) {
        let faulty = Arc::new(Faulty::new());
        let store: SharedStore = faulty.clone();
        (faulty, KeptMessages::new(&store, &ChatSettings::default()))
    }

    async fn save(messages: &KeptMessages, sender: &UserId, receiver: &UserId) -> MessageId {
        let message = NewMessage {
            sender: sender.clone(),
            receiver: receiver.clone(),
            content: "x".into(),
            kind: "text".into(),
            client_id: None,
            fence: None,
        };
        messages.save(message).await.unwrap().id
    }

    #[tokio::test]
    async fn what_is_read_is_counted_once_over_many_pages_and_by_two_at_once() {
        let (_, messages) = kept();
        let (ada, bob) = (user("ada"), user("bob"));
        for at in 0..3 * PAGE {
            save(&messages, &ada, &bob).await;
            if at % 2 == 0 {
                save(&messages, &bob, &ada).await;
            }
        }
        let read = || messages.mark_read(ada.clone(), bob.clone(), name());
        let (one, other) = tokio::join!(read(), read());
        assert_eq!(one.unwrap() + other.unwrap(), 3 * PAGE as u64);
        // What he says himself is not looked through again each time.
        for _ in 0..PAGE {
            save(&messages, &bob, &ada).await;
        }
        assert_eq!(read().await.unwrap(), 0);
        let newest = save(&messages, &bob, &ada).await;
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

    #[tokio::test]
    async fn no_count_of_what_is_read_is_lost_wherever_a_write_fails() {
        for fault in [Fault::Before, Fault::After] {
            // Three pages, and the word that somebody answers for them.
            for failing in 0..4 {
                let (faulty, messages) = kept();
                let (ada, bob) = (user("ada"), user("bob"));
                for _ in 0..=2 * PAGE {
                    save(&messages, &ada, &bob).await;
                }
                let read = |call| messages.mark_read(ada.clone(), bob.clone(), call);
                faulty.fail_put(failing, fault);
                let call = name();
                read(call).await.unwrap_err();
                let all = 2 * PAGE as u64 + 1;
                assert_eq!(read(call).await.unwrap(), all, "{fault:?} {failing}");
                assert_eq!(read(call).await.unwrap(), all, "the same call");
                assert_eq!(read(name()).await.unwrap(), 0, "counted once");
                save(&messages, &ada, &bob).await;
                assert_eq!(read(name()).await.unwrap(), 1);
            }
        }
    }

    #[tokio::test]
    async fn what_was_read_before_a_failure_counts_for_the_next_call() {
        for failing in 0..3 {
            let (faulty, messages) = kept();
            let (ada, bob) = (user("ada"), user("bob"));
            for _ in 0..=2 * PAGE {
                save(&messages, &ada, &bob).await;
            }
            let read = || messages.mark_read(ada.clone(), bob.clone(), name());
            faulty.fail_put(failing, Fault::Before);
            read().await.unwrap_err();
            assert_eq!(read().await.unwrap(), 2 * PAGE as u64 + 1, "{failing}");
        }
    }
}
