//! Who has a conversation with whom: where presence is told to contacts alone, and where receivers
//! look for what they missed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sparkway_protocol::UserId;
use sparkway_store::SharedStore;

use crate::ChatError;
use crate::naming::conversation;

/// Records of contacts, by user.
const CONTACTS: &str = "chat-contacts";
/// How often a write is tried that somebody else was faster with.
const ATTEMPTS: u32 = 16;
/// Contacts of one user, at the most: later ones are not told of him.
const MOST: usize = 5000;
/// Pairs that this node need not note again, and for how long: a store may have lost them.
const NOTED: usize = 100_000;
const NOTED_FOR: Duration = Duration::from_mins(10);

/// Who has a conversation with whom.
#[derive(Debug)]
pub(crate) struct Contacts {
    store: SharedStore,
    noted: Mutex<Noted>,
}

/// Pairs that were noted a moment ago.
#[derive(Debug)]
struct Noted {
    since: Instant,
    pairs: HashSet<String>,
}

impl Contacts {
    pub(crate) fn new(store: &SharedStore) -> Self {
        Self {
            store: Arc::clone(store),
            noted: Mutex::new(Noted {
                since: Instant::now(),
                pairs: HashSet::new(),
            }),
        }
    }

    async fn read(&self, user: &UserId) -> Result<(Vec<Box<str>>, u64), ChatError> {
        let found = self.store.records(CONTACTS, vec![user.to_string()]).await?;
        match found.into_iter().next().flatten() {
            None => Ok((Vec::new(), 0)),
            Some(record) => serde_json::from_slice(&record.value)
                .map(|ids| (ids, record.version))
                .map_err(|_| ChatError::Corrupt("contacts")),
        }
    }

    /// The contacts of a user.
    pub(crate) async fn of(&self, user: &UserId) -> Result<Vec<UserId>, ChatError> {
        let (ids, _) = self.read(user).await?;
        Ok(ids.iter().filter_map(|id| UserId::parse(id).ok()).collect())
    }

    /// A user writes to another one. The receiver's side first, and whatever becomes of the
    /// sender's: without it he does not find what he missed.
    pub(crate) async fn note(&self, sender: &UserId, receiver: &UserId) -> Result<(), ChatError> {
        let pair = conversation(sender, receiver);
        if self.noted().pairs.contains(&pair) {
            return Ok(());
        }
        let noted = self.add(receiver, sender).await;
        self.add(sender, receiver).await?;
        noted?;
        self.noted().pairs.insert(pair);
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.since.elapsed() > NOTED_FOR || noted.pairs.len() >= NOTED {
            noted.since = Instant::now();
            noted.pairs.clear();
        }
        noted
    }

    async fn add(&self, of: &UserId, new: &UserId) -> Result<(), ChatError> {
        for _ in 0..ATTEMPTS {
            let (mut ids, version) = self.read(of).await?;
            if ids.iter().any(|id| **id == *new.as_str()) || ids.len() >= MOST {
                return Ok(());
            }
            ids.push(new.as_str().into());
            let value = Bytes::from(serde_json::to_vec(&ids).unwrap_or_default());
            let put = self
                .store
                .put_record(CONTACTS, of.to_string(), value, version);
            if put.await? {
                return Ok(());
            }
        }
        Err(ChatError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty::Faulty;

    #[tokio::test]
    async fn a_side_that_cannot_be_noted_does_not_keep_the_other_from_it() {
        let (ada, bob) = (UserId::parse("ada").unwrap(), UserId::parse("bob").unwrap());
        for (contended, other, known) in [(&ada, &bob, &ada), (&bob, &ada, &bob)] {
            let faulty = Arc::new(Faulty::new());
            let store: SharedStore = faulty.clone();
            let contacts = Contacts::new(&store);
            faulty.contend(contended.as_str());
            assert_eq!(contacts.note(&ada, &bob).await, Err(ChatError::Busy));
            assert_eq!(
                contacts.of(other).await.unwrap(),
                std::slice::from_ref(known)
            );
            // Noted by halves is not noted: the next message tries again.
            assert_eq!(contacts.note(&ada, &bob).await, Err(ChatError::Busy));
        }
    }
}
