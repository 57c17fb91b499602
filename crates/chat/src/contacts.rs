//! Who has a conversation with whom: kept only where presence is told to contacts alone.

use std::sync::Arc;

use bytes::Bytes;
use sparkway_protocol::UserId;
use sparkway_store::SharedStore;

use crate::ChatError;

/// Records of contacts, by user.
const CONTACTS: &str = "chat-contacts";
/// How often a write is tried that somebody else was faster with.
const ATTEMPTS: u32 = 16;
/// Contacts of one user, at the most: later ones are not told of him.
const MOST: usize = 5000;

/// Who has a conversation with whom.
#[derive(Debug)]
pub(crate) struct Contacts {
    store: SharedStore,
}

impl Contacts {
    pub(crate) fn new(store: &SharedStore) -> Self {
        Self {
            store: Arc::clone(store),
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

    /// Two users have a conversation.
    pub(crate) async fn note(&self, one: &UserId, other: &UserId) -> Result<(), ChatError> {
        self.add(one, other).await?;
        self.add(other, one).await
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
