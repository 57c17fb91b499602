//! Who may chat: users with a name, perhaps a picture, perhaps a password.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sparkway_store::{BoxFuture, SharedStore};

use crate::ChatError;

/// Records of users, by id.
const USERS: &str = "chat-users";
/// Records of names in lower case: the id of the user who has it.
const NAMES: &str = "chat-names";
/// How often a write is tried that somebody else was faster with.
const ATTEMPTS: u32 = 8;
/// The record of somebody who is no user after all.
const NOBODY: &[u8] = b"null";

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

    /// The id behind a name, and the version of that record (0 for none).
    async fn owner(&self, name: &str) -> Result<(Option<Box<str>>, u64), ChatError> {
        let found = self.store.records(NAMES, vec![folded(name)]).await?;
        let Some(record) = found.into_iter().next().flatten() else {
            return Ok((None, 0));
        };
        let id = str::from_utf8(&record.value).map_err(|_| ChatError::Corrupt("a name"))?;
        Ok((Some(id.into()), record.version))
    }
}

fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn read(value: &[u8]) -> Result<Option<User>, ChatError> {
    serde_json::from_slice(value).map_err(|_| ChatError::Corrupt("a user"))
}

fn written(user: &User) -> Bytes {
    // Texts and numbers cannot fail to be written.
    serde_json::to_vec(user).unwrap_or_default().into()
}

impl UserStore for KeptUsers {
    fn add(&self, user: User) -> BoxFuture<'_, Result<bool, ChatError>> {
        Box::pin(async move {
            if let (Some(owner), _) = self.owner(&user.username).await?
                && owner != user.id
                && self.one(owner).await?.is_some()
            {
                return Ok(false);
            }
            // First the user, then his name: who has a name exists.
            let put = self
                .store
                .put_record(USERS, user.id.to_string(), written(&user), 0);
            if !put.await? {
                return Ok(false);
            }
            for _ in 0..ATTEMPTS {
                let (owner, version) = self.owner(&user.username).await?;
                match owner {
                    Some(owner) if owner == user.id => return Ok(true),
                    Some(owner) if self.one(owner.clone()).await?.is_some() => {
                        // Somebody took the name meanwhile: there is no such user.
                        let none = Bytes::from_static(NOBODY);
                        let put = self.store.put_record(USERS, user.id.to_string(), none, 1);
                        put.await?;
                        return Ok(false);
                    }
                    // Nobody, or a name left behind.
                    Some(_) | None => {}
                }
                let id = Bytes::copy_from_slice(user.id.as_bytes());
                let name = folded(&user.username);
                if self.store.put_record(NAMES, name, id, version).await? {
                    return Ok(true);
                }
            }
            Err(ChatError::Busy)
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
                if let Some(known) = known.flatten() {
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
                .map(|found| found.map_or(Ok(None), |record| read(&record.value)))
                .collect()
        })
    }

    fn find_by_name(&self, name: &str) -> BoxFuture<'_, Result<Option<User>, ChatError>> {
        let name = name.to_owned();
        Box::pin(async move {
            match self.owner(&name).await? {
                (Some(id), _) => self.one(id).await,
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
                users: users
                    .filter_map(Result::transpose)
                    .collect::<Result<_, _>>()?,
                next: page.next,
            })
        })
    }
}
