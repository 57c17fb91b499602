//! Reads of topic logs, shared by all sessions of the node that wait for the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sparkway_protocol::{MessageId, Partition, TopicName};
use sparkway_store::{Page, SharedStore, StoreError, Want};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// A page, and what is known of it.
#[derive(Debug)]
pub(crate) struct SharedPage {
    pub(crate) page: Page,
    /// Everything up to this id was in the log when the read began.
    pub(crate) bound: MessageId,
}

/// What a session wants to read.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) want: Want,
    /// Everything up to this id is in the log already.
    pub(crate) bound: MessageId,
    /// Entries at the most.
    pub(crate) limit: usize,
}

/// Reads of one partition that are under way. After a node's death its sessions come back by the
/// thousand and want nearly the same entries: one of them reads, the others wait for it.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    under_way: Mutex<HashMap<TopicName, Vec<UnderWay>>>,
}

/// A read of a topic from `after` on.
#[derive(Debug)]
struct UnderWay {
    after: MessageId,
    reading: Arc<Reading>,
}

/// A read that others wait for.
#[derive(Debug, Default)]
struct Reading {
    /// Empty at the end when it was dropped.
    outcome: OnceLock<Result<Arc<SharedPage>, StoreError>>,
    /// Told at the end: wakes those who wait in the order in which they came, always.
    over: Arc<Notify>,
}

/// A read that is waited for, and the word of its end.
type Awaited = (Arc<Reading>, OwnedNotified);

impl Reads {
    /// The page that is wished for, read once for everybody who asks for the same start or a later
    /// one at the same time. A read that began before the call may lack entries appended since, so
    /// the page says up to which id it is known to be whole: merge up to that one, not up to your
    /// own.
    ///
    /// # Errors
    /// As the store's read.
    ///
    /// # Cancel safety
    /// Dropped by the one who reads, the others read for themselves.
    pub(crate) async fn page(
        &self,
        store: &SharedStore,
        partition: Partition,
        wish: Wish,
    ) -> Result<Arc<SharedPage>, StoreError> {
        self.share(wish, |wish| read(store, partition, wish)).await
    }

    async fn share<F>(
        &self,
        wish: Wish,
        read: impl Fn(Wish) -> F,
    ) -> Result<Arc<SharedPage>, StoreError>
    where
        F: Future<Output = Result<Arc<SharedPage>, StoreError>>,
    {
        let Want { topic, after } = wish.want.clone();
        match self.find_or_begin(&topic, after) {
            Ok(reading) => {
                // Also when it is dropped on the way.
                let _end = Ending {
                    reads: self,
                    topic,
                    after,
                    reading: Arc::clone(&reading),
                };
                let result = read(wish).await;
                // Nobody else fills it.
                drop(reading.outcome.set(result.clone()));
                result
            }
            Err((reading, over)) => {
                over.await;
                match reading.outcome.get() {
                    Some(Ok(shared)) => match behind(shared, after) {
                        Some(page) => Ok(page),
                        None => read(wish).await,
                    },
                    Some(Err(error)) => Err(error.clone()),
                    // Dropped by the one who read.
                    None => read(wish).await,
                }
            }
        }
    }

    /// A read that is under way and begins where it is wished or before, or the start of one.
    fn find_or_begin(&self, topic: &TopicName, after: MessageId) -> Result<Arc<Reading>, Awaited> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let reads = under_way.entry(topic.clone()).or_default();
        // The nearest one: its page reaches furthest.
        let known = reads
            .iter()
            .filter(|read| read.after <= after)
            .max_by_key(|read| read.after);
        if let Some(known) = known {
            // Within the lock: what ends later tells this waiter too.
            let over = Arc::clone(&known.reading.over).notified_owned();
            return Err((Arc::clone(&known.reading), over));
        }
        let reading = Arc::<Reading>::default();
        reads.push(UnderWay {
            after,
            reading: Arc::clone(&reading),
        });
        Ok(reading)
    }
}

/// What a page holds after an id; nothing when it may end before that.
fn behind(shared: &Arc<SharedPage>, after: MessageId) -> Option<Arc<SharedPage>> {
    let entries = &shared.page.entries;
    let skipped = entries.partition_point(|entry| entry.id <= after);
    if skipped == 0 {
        return Some(Arc::clone(shared));
    }
    if skipped == entries.len() && shared.page.more {
        return None;
    }
    let page = Page {
        topic: shared.page.topic.clone(),
        entries: entries.iter().skip(skipped).cloned().collect(),
        more: shared.page.more,
    };
    let bound = shared.bound;
    Some(Arc::new(SharedPage { page, bound }))
}

/// Takes a read out of the list when it ends, however it ends, and tells those who wait.
struct Ending<'a> {
    reads: &'a Reads,
    topic: TopicName,
    after: MessageId,
    reading: Arc<Reading>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut under_way = self
            .reads
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reads) = under_way.get_mut(&self.topic) {
            reads.retain(|read| read.after != self.after);
            if reads.is_empty() {
                under_way.remove(&self.topic);
            }
        }
        drop(under_way);
        self.reading.over.notify_waiters();
    }
}

async fn read(
    store: &SharedStore,
    partition: Partition,
    wish: Wish,
) -> Result<Arc<SharedPage>, StoreError> {
    let Wish { want, bound, limit } = wish;
    let pages = store.read(partition, vec![want], limit).await?;
    let page = pages.into_iter().next().ok_or_else(dropped)?;
    Ok(Arc::new(SharedPage { page, bound }))
}

const fn dropped() -> StoreError {
    StoreError::Corrupt("a page is missing")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use futures_util::future::join_all;
    use sparkway_protocol::{Entry, Payload};

    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId::new(number * MessageId::STEP).unwrap()
    }

    fn wish(after: u64) -> Wish {
        Wish {
            want: Want {
                topic: TopicName::parse("a").unwrap(),
                after: id(after),
            },
            bound: id(100),
            limit: 10,
        }
    }

    /// The entries 1 to 20, ten to a page.
    fn page(wish: &Wish) -> Arc<SharedPage> {
        let first = wish.want.after.get() / MessageId::STEP + 1;
        let entry = |number: u64| {
            Arc::new(Entry {
                id: id(number),
                prev: id(number - 1),
                topic: wish.want.topic.clone(),
                from: None,
                origin: None,
                exclude_origin: false,
                payload: Payload::json(Bytes::from_static(b"1")),
                trace: None,
            })
        };
        let page = Page {
            topic: wish.want.topic.clone(),
            entries: (first..=20).take(wish.limit).map(entry).collect(),
            more: first + 10 <= 20,
        };
        let bound = wish.bound;
        Arc::new(SharedPage { page, bound })
    }

    async fn numbers(reads: &Reads, after: u64, count: &AtomicU32, gate: &Notify) -> Vec<u64> {
        let read = |wish: Wish| async move {
            count.fetch_add(1, Ordering::Relaxed);
            gate.notified().await;
            Ok(page(&wish))
        };
        let shared = reads.share(wish(after), read).await.unwrap();
        let entries = shared.page.entries.iter();
        entries
            .map(|entry| entry.id.get() / MessageId::STEP)
            .collect()
    }

    #[tokio::test]
    async fn sessions_that_wait_for_one_topic_share_one_read() {
        let (reads, count, gate) = (Reads::default(), AtomicU32::new(0), Notify::new());
        let all = join_all([12, 15, 12, 20].map(|after| numbers(&reads, after, &count, &gate)));
        let (pages, ()) = tokio::join!(all, async {
            tokio::task::yield_now().await;
            gate.notify_one();
        });
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let from = |first: u64| (first..=20).collect::<Vec<_>>();
        assert_eq!(pages, [from(13), from(16), from(13), Vec::new()]);
        assert!(reads.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_page_that_ends_before_what_is_wanted_is_not_taken_for_the_end() {
        let (reads, count, gate) = (Reads::default(), AtomicU32::new(0), Notify::new());
        let all = join_all([2, 17].map(|after| numbers(&reads, after, &count, &gate)));
        let (pages, ()) = tokio::join!(all, async {
            tokio::task::yield_now().await;
            gate.notify_one();
            tokio::task::yield_now().await;
            gate.notify_one();
        });
        assert_eq!(count.load(Ordering::Relaxed), 2);
        assert_eq!(pages, [(3..=12).collect::<Vec<_>>(), vec![18, 19, 20]]);
    }

    #[tokio::test]
    async fn an_older_start_is_read_for_itself() {
        let (reads, count, gate) = (Reads::default(), AtomicU32::new(0), Notify::new());
        let all = join_all([15, 12].map(|after| numbers(&reads, after, &count, &gate)));
        let (_, ()) = tokio::join!(all, async {
            tokio::task::yield_now().await;
            gate.notify_one();
            tokio::task::yield_now().await;
            gate.notify_one();
        });
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }
}
