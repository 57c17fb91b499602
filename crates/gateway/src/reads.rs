//! Reads of topic logs, shared by all sessions of the node that wait for the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sparkway_protocol::{MessageId, Partition, TopicName};
use sparkway_store::{Page, SharedStore, StoreError, Want};
use tokio::sync::watch;

type Outcome = Option<Result<Arc<SharedPage>, StoreError>>;

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
/// thousand and want the same entries: one of them reads, the others wait for it.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    under_way: Mutex<HashMap<(TopicName, MessageId), watch::Receiver<Outcome>>>,
}

impl Reads {
    /// The page that is wished for, read once for everybody who asks for the same start at the
    /// same time. A read that began before the call may lack entries appended since, so the page
    /// says up to which id it is known to be whole: merge up to that one, not up to your own.
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
        let key = (wish.want.topic.clone(), wish.want.after);
        let sender = {
            let mut under_way = self
                .under_way
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(receiver) = under_way.get(&key) {
                Err(receiver.clone())
            } else {
                let (sender, receiver) = watch::channel(None);
                under_way.insert(key.clone(), receiver);
                Ok(sender)
            }
        };
        match sender {
            Ok(sender) => {
                let forget = Forget { reads: self, key };
                let result = read(store, partition, wish).await;
                drop(forget);
                sender.send_replace(Some(result.clone()));
                result
            }
            Err(mut receiver) => {
                let outcome = receiver
                    .wait_for(Option::is_some)
                    .await
                    .map(|done| done.clone());
                match outcome {
                    Ok(outcome) => outcome.unwrap_or_else(|| Err(dropped())),
                    Err(_) => read(store, partition, wish).await,
                }
            }
        }
    }
}

/// Takes a read out of the list when it ends, however it ends.
struct Forget<'a> {
    reads: &'a Reads,
    key: (TopicName, MessageId),
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.reads
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
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
