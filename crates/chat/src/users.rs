//! Who may chat: users with a name, perhaps a picture, perhaps a password.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sparkway_store::{BoxFuture, SharedStore};

use crate::ChatError;

/// Records of users, by id.
const USERS: &str = "chat-users";
/// Records of names in lower case: the user who has it.
const NAMES: &str = "chat-names";
/// How often a write is tried that somebody else was faster with.
const ATTEMPTS: u32 = 8;

/// A user as he is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// His id: `sub` of his tokens.
    pub id: Box<str>,
    /// How he is called.
    pub username: Box<str>,
    /// Where his picture is, if anywhere.
    pub avatar: Option<Box<str>>,
    /// The hash of his password; none for a user whom only tokens know.
    pub password: Option<Box<str>>,
    /// Unix milliseconds at which he was first seen.
    pub created_ms: u64,
}

/// A page of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    /// Users, in no order that means anything.
    pub users: Vec<User>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Where users are kept. All writes are safe to repeat.
pub trait UserStore: std::fmt::Debug + Send + Sync {
    /// Adds a user; `false` when somebody else has his name.
    ///
    /// # Errors
    /// [`ChatError`]: he may or may not have been added; repeat it with the same id.
    fn add(&self, user: User) -> BoxFuture<'_, Result<bool, ChatError>>;

    /// Writes what a token says of a user, whatever name others have.
    ///
    /// # Errors
    /// [`ChatError`]: repeat it.
    fn note(&self, user: User) -> BoxFuture<'_, Result<(), ChatError>>;

    /// Users by their ids, in the order asked.
    ///
    /// # Errors
    /// [`ChatError`]: retry.
    fn find(&self, ids: Vec<Box<str>>) -> BoxFuture<'_, Result<Vec<Option<User>>, ChatError>>;

    /// The user with this name, in whatever case it is written.
    ///
    /// # Errors
    /// [`ChatError`]: retry.
    fn find_by_name(&self, name: &str) -> BoxFuture<'_, Result<Option<User>, ChatError>>;

    /// A page of at most `limit` users.
    ///
    /// # Errors
    /// [`ChatError`]: `after` is no end of a page, or retry.
    fn list(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<UserPage, ChatError>>;
}

/// Users as records of the gateway's store, in whatever backend that is.
#[derive(Debug)]
pub(crate) struct KeptUsers {
    store: SharedStore,
}

impl KeptUsers {
    pub(crate) fn new(store: &SharedStore) -> Self {
        Self {
            store: Arc::clone(store),
        }
    }

    async fn one(&self, id: Box<str>) -> Result<Option<User>, ChatError> {
        Ok(self.find(vec![id]).await?.pop().flatten())
    }

    /// Who has a name, and the version of that record (0 for none).
    async fn holder(&self, name: &str) -> Result<(Option<Holder>, u64), ChatError> {
        let found = self.store.records(NAMES, vec![folded(name)]).await?;
        let Some(record) = found.into_iter().next().flatten() else {
            return Ok((None, 0));
        };
        let holder = serde_json::from_slice(&record.value);
        let holder = holder.map_err(|_| ChatError::Corrupt("a name"))?;
        Ok((Some(holder), record.version))
    }

    /// The user who has a name. Whoever registered him may have been killed before he was written:
    /// the name says all of him, so that it is done now.
    async fn complete(&self, holder: Holder) -> Result<User, ChatError> {
        let id = holder.user.id.clone();
        if let Some(user) = self.one(id.clone()).await? {
            return Ok(user);
        }
        self.store
            .put_record(USERS, id.into(), written(&holder.user), 0)
            .await?;
        Ok(holder.user)
    }
}

/// Who has a name, as the record of the name says it: he is a user from the moment at which that
/// is written.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    user: User,
}

fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn read(value: &[u8]) -> Result<User, ChatError> {
    serde_json::from_slice(value).map_err(|_| ChatError::Corrupt("a user"))
}

fn written(user: &User) -> Bytes {
    // Texts and numbers cannot fail to be written.
    serde_json::to_vec(user).unwrap_or_default().into()
}

impl UserStore for KeptUsers {
    fn add(&self, user: User) -> BoxFuture<'_, Result<bool, ChatError>> {
        Box::pin(async move {
            let name = folded(&user.username);
            let (mut holder, version) = self.holder(&name).await?;
            if holder.is_none() {
                // First his name, with all that he is: one write makes him a user, and what is
                // left to write can be made good by anybody.
                let own = Holder { user: user.clone() };
                let value = serde_json::to_vec(&own).unwrap_or_default().into();
                let put = self.store.put_record(NAMES, name.clone(), value, version);
                holder = if put.await? {
                    Some(own)
                } else {
                    self.holder(&name).await?.0
                };
            }
            let holder = holder.ok_or(ChatError::Busy)?;
            let is_his = holder.user.id == user.id;
            self.complete(holder).await?;
            Ok(is_his)
        })
    }

    fn note(&self, user: User) -> BoxFuture<'_, Result<(), ChatError>> {
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                let found = self.store.records(USERS, vec![user.id.to_string()]).await?;
                let known = found.into_iter().next().flatten();
                let version = known.as_ref().map_or(0, |record| record.version);
                let mut new = user.clone();
                let known = known.map(|record| read(&record.value)).transpose()?;
                if let Some(known) = known {
                    if known.username == user.username && known.avatar == user.avatar {
                        return Ok(());
                    }
                    new.password = known.password;
                    new.created_ms = known.created_ms;
                }
                let put = self
                    .store
                    .put_record(USERS, user.id.to_string(), written(&new), version);
                if put.await? {
                    return Ok(());
                }
            }
            Err(ChatError::Busy)
        })
    }

    fn find(&self, ids: Vec<Box<str>>) -> BoxFuture<'_, Result<Vec<Option<User>>, ChatError>> {
        Box::pin(async move {
            let ids = ids.into_iter().map(String::from).collect();
            let found = self.store.records(USERS, ids).await?;
            let users = found.into_iter();
            users
                .map(|found| found.map(|record| read(&record.value)).transpose())
                .collect()
        })
    }

    fn find_by_name(&self, name: &str) -> BoxFuture<'_, Result<Option<User>, ChatError>> {
        let name = name.to_owned();
        Box::pin(async move {
            match self.holder(&name).await? {
                (Some(holder), _) => self.complete(holder).await.map(Some),
                (None, _) => Ok(None),
            }
        })
    }

    fn list(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<UserPage, ChatError>> {
        Box::pin(async move {
            let page = self.store.record_page(USERS, after, limit).await?;
            let users = page.items.iter().map(|(_, record)| read(&record.value));
            Ok(UserPage {
                users: users.collect::<Result<_, _>>()?,
                next: page.next,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use sparkway_store::memory::{MemorySettings, MemoryStore};

    use super::*;

    fn user(id: &str, username: &str) -> User {
        User {
            id: id.into(),
            username: username.into(),
            avatar: None,
            password: Some("hash".into()),
            created_ms: 1,
        }
    }

    fn users() -> KeptUsers {
        let store: SharedStore = Arc::new(MemoryStore::new(MemorySettings::default()));
        KeptUsers::new(&store)
    }

    #[tokio::test]
    async fn a_registration_that_was_cut_off_is_complete_for_whoever_asks_next() {
        let users = users();
        let ada = user("1", "Ada");
        // The first write of the registration; its node is killed before the second.
        let value = serde_json::to_vec(&Holder { user: ada.clone() }).unwrap();
        let put = users.store.put_record(NAMES, "ada".into(), value.into(), 0);
        assert!(put.await.unwrap());
        assert_eq!(users.find(vec!["1".into()]).await.unwrap(), [None]);
        // Who repeats it is told that the name is taken, and can log in.
        assert!(!users.add(user("2", "ada")).await.unwrap());
        assert_eq!(users.find_by_name("ADA").await.unwrap(), Some(ada.clone()));
        let found = users.find(vec!["1".into(), "2".into()]).await.unwrap();
        assert_eq!(found, [Some(ada), None], "no user without a name");
        assert_eq!(users.list(None, 10).await.unwrap().users.len(), 1);
    }

    #[tokio::test]
    async fn a_login_alone_completes_a_registration() {
        let users = users();
        let ada = user("1", "Ada");
        let value = serde_json::to_vec(&Holder { user: ada.clone() }).unwrap();
        let put = users.store.put_record(NAMES, "ada".into(), value.into(), 0);
        assert!(put.await.unwrap());
        assert_eq!(users.find_by_name("ada").await.unwrap(), Some(ada.clone()));
        assert_eq!(users.find(vec!["1".into()]).await.unwrap(), [Some(ada)]);
    }

    #[tokio::test]
    async fn adding_is_safe_to_repeat_and_a_name_has_one_user() {
        let users = users();
        for _ in 0..2 {
            assert!(users.add(user("1", "Ada")).await.unwrap());
            assert!(!users.add(user("2", "aDA")).await.unwrap());
        }
        let all = (0..8).map(|at| users.add(user(&format!("r{at}"), "Bob")));
        let all = futures_util::future::join_all(all).await;
        let added = all.into_iter().filter(|added| added.as_ref() == Ok(&true));
        assert_eq!(added.count(), 1);
        assert_eq!(users.list(None, 10).await.unwrap().users.len(), 2);
    }
}
