//! The messages of conversations that are not marked as delivered.

use std::collections::BTreeMap;

use sparkway_protocol::{MessageId, Partition, UserId};
use sparkway_store::{Page, Want};

use crate::ChatError;
use crate::kept::KeptMessages;
use crate::messages::{Found, MessageStore as _, Sought, Undelivered};
use crate::naming::{direction, topic_of};

/// Messages of a conversation read at once while it is looked for undelivered ones, and how many
/// conversations: as much as may be in memory for one look.
const PAGE: usize = 50;
const CONVERSATIONS: usize = 16;
/// Conversations whose marks are read at once.
const MARKS: usize = 500;
/// Messages found by one search: it ends with the page that brings so many.
const MOST: usize = 10_000;

/// A conversation that is being looked through.
#[derive(Debug)]
struct Looked {
    sought: Sought,
    want: Want,
    /// It has an undelivered message before where it is now.
    has_some: bool,
}

impl Looked {
    fn rest(self) -> Sought {
        Sought {
            // Where there is none, the mark was moved up to here.
            after: self.has_some.then_some(self.want.after),
            ..self.sought
        }
    }

    /// Takes what a page holds. Up to where that was, if there may be more behind it.
    fn take(&mut self, page: &Page, found: &mut Vec<Undelivered>) -> Option<MessageId> {
        let before = self.sought.before;
        for entry in &page.entries {
            if before.is_some_and(|before| entry.id >= before) {
                return None;
            }
            if entry.from.as_ref() == Some(&self.sought.sender) {
                let (id, sender) = (entry.id, self.sought.sender.clone());
                found.push(Undelivered { id, sender });
                self.has_some = true;
            }
        }
        let last = page.entries.last().filter(|_| page.more)?;
        Some(last.id)
    }
}

impl KeptMessages {
    /// Looks for undelivered messages to `receiver`, until it has found as many as it may hold.
    pub(crate) async fn search(
        &self,
        receiver: &UserId,
        sought: Vec<Sought>,
    ) -> Result<Found, ChatError> {
        let mut found = Found::default();
        for (partition, mut looked) in self.by_partition(receiver, sought).await? {
            while !looked.is_empty() {
                if found.messages.len() >= MOST {
                    found.rest.extend(looked.into_iter().map(Looked::rest));
                    break;
                }
                let later = looked.split_off(looked.len().min(CONVERSATIONS));
                self.search_in(receiver, partition, looked, &mut found)
                    .await?;
                looked = later;
            }
        }
        Ok(found)
    }

    async fn by_partition(
        &self,
        receiver: &UserId,
        sought: Vec<Sought>,
    ) -> Result<BTreeMap<Partition, Vec<Looked>>, ChatError> {
        let mut all: BTreeMap<Partition, Vec<Looked>> = BTreeMap::new();
        for sought in sought.chunks(MARKS) {
            let directions = sought.iter().map(|one| direction(&one.sender, receiver));
            let marks = self.marks_of(directions.collect()).await?;
            for (sought, marks) in sought.iter().zip(marks) {
                let topic = topic_of(&sought.sender, receiver)?;
                let marked = MessageId::new(marks.delivered).unwrap_or_default();
                let looked = Looked {
                    want: Want {
                        after: sought.after.map_or(marked, |after| after.max(marked)),
                        topic: topic.clone(),
                    },
                    has_some: sought.after.is_some_and(|after| after > marked),
                    sought: sought.clone(),
                };
                let partition = self.store.partitions().of(topic.as_str());
                all.entry(partition).or_default().push(looked);
            }
        }
        Ok(all)
    }

    /// The same in some conversations of one partition. What is read without finding one is not
    /// read the next time.
    async fn search_in(
        &self,
        receiver: &UserId,
        partition: Partition,
        mut looked: Vec<Looked>,
        found: &mut Found,
    ) -> Result<(), ChatError> {
        while !looked.is_empty() {
            if found.messages.len() >= MOST {
                found.rest.extend(looked.into_iter().map(Looked::rest));
                return Ok(());
            }
            let wants = looked.iter().map(|one| one.want.clone()).collect();
            let pages = self.store.read(partition, wants, PAGE).await?;
            let mut more = Vec::new();
            for (mut one, page) in looked.into_iter().zip(pages) {
                let Some(last) = one.take(&page, &mut found.messages) else {
                    continue;
                };
                if !one.has_some {
                    let sender = one.sought.sender.clone();
                    self.mark_delivered(sender, receiver.clone(), last).await?;
                }
                one.want.after = last;
                more.push(one);
            }
            looked = more;
        }
        Ok(())
    }
}
