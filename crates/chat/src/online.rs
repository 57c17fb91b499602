//! Who is online, and who is told when that changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sparkway_dialect::chat::{OnlineUser, Told};
use sparkway_gateway::application::{Visitor, lobby};
use sparkway_gateway::settings::PresenceScope;
use sparkway_protocol::{PresenceChange, UserId, iso8601};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Chat, ChatError};

/// Changes taken at once.
const BATCH: usize = 256;
/// Users read at once.
const PAGE: usize = 500;
/// Users among whom the first by name are looked for, at the most.
const LOOKED_AT: usize = 10_000;
/// Users named in one list (S4-45).
const NAMED: usize = 1000;
/// How often changes are told while very many are online (S4-53).
const PAUSE: Duration = Duration::from_secs(1);

/// Who is online, as a client is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Online {
    pub(crate) users: Vec<OnlineUser>,
    pub(crate) total: u64,
}

impl Chat {
    /// Who is online, as far as this visitor may know.
    pub(crate) async fn online_for(&self, visitor: &Visitor) -> Result<Online, ChatError> {
        match self.settings.presence_scope {
            PresenceScope::All => self.online().await,
            PresenceScope::Contacts => self.online_contacts(visitor.user()).await,
        }
    }

    async fn online(&self) -> Result<Online, ChatError> {
        let (mut ids, mut after, mut total) = (Vec::new(), None, 0);
        let Some(lobby) = lobby() else {
            return Ok(Online::default());
        };
        loop {
            let page = self.store.members(lobby.clone(), after, PAGE).await?;
            ids.extend(page.users);
            total = page.count.max(total);
            after = page.next;
            if after.is_none() || ids.len() >= LOOKED_AT {
                break;
            }
        }
        let users = self.named(ids).await?;
        Ok(Online { users, total })
    }

    async fn online_contacts(&self, user: &UserId) -> Result<Online, ChatError> {
        let Some(lobby) = lobby() else {
            return Ok(Online::default());
        };
        let mut ids = self.contacts.of(user).await?;
        ids.push(user.clone());
        let standings = self.store.standings(lobby, ids.clone()).await?;
        let present = ids.into_iter().zip(standings);
        let present: Vec<UserId> = present
            .filter(|(_, standing)| standing.present)
            .map(|(id, _)| id)
            .collect();
        let total = present.len() as u64;
        let users = self.named(present).await?;
        Ok(Online { users, total })
    }

    /// The first of these users by name.
    async fn named(&self, ids: Vec<UserId>) -> Result<Vec<OnlineUser>, ChatError> {
        let mut users = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(PAGE) {
            let ids = chunk.iter().map(|id| id.as_str().into()).collect();
            let found = self.users.find(ids).await?;
            users.extend(found.into_iter().flatten().map(|user| OnlineUser {
                id: user.id,
                username: user.username,
                avatar: user.avatar,
            }));
        }
        users.sort_by(|one, other| (&one.username, &one.id).cmp(&(&other.username, &other.id)));
        users.truncate(NAMED);
        Ok(users)
    }

    /// Tells the visitors of this node who came and who went, for as long as the node lives.
    pub(crate) async fn watch(self: Arc<Self>, mut changes: mpsc::Receiver<PresenceChange>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut told = Instant::now()
            .checked_sub(PAUSE)
            .unwrap_or_else(Instant::now);
        while changes.recv_many(&mut batch, BATCH).await > 0 {
            let total = self.total().await;
            let is_crowd = total > self.settings.online_users_broadcast_limit;
            if is_crowd {
                tokio::time::sleep_until(told + PAUSE).await;
                while let Ok(change) = changes.try_recv() {
                    batch.push(change);
                }
                keep_last(&mut batch);
            }
            told = Instant::now();
            if let Err(error) = self.tell_changes(&batch, is_crowd).await {
                tracing::warn!(%error, "visitors were not told who came or went");
            }
            batch.clear();
        }
    }

    async fn total(&self) -> u64 {
        let Some(lobby) = lobby() else { return 0 };
        let page = self.store.members(lobby, None, 1).await;
        page.map_or(0, |page| page.count)
    }

    async fn tell_changes(
        &self,
        changes: &[PresenceChange],
        is_crowd: bool,
    ) -> Result<(), ChatError> {
        let ids = changes.iter().map(|change| change.user.as_str().into());
        let users = self.users.find(ids.collect()).await?;
        for (change, user) in changes.iter().zip(&users) {
            let Some(user) = user else { continue };
            let (user_id, username) = (&*user.id, &*user.username);
            let told = if change.present {
                Told::UserOnline { user_id, username }
            } else {
                Told::UserOffline { user_id, username }
            };
            let whom = self.who_hears_of(&change.user).await?;
            self.lobby.tell(&whom, &told);
        }
        let gone = changes.iter().find(|change| !change.present);
        if let Some(gone) = gone.filter(|_| !is_crowd) {
            self.tell_who_is_online(&gone.user).await?;
        }
        Ok(())
    }

    /// The visitors of this node who are told of a user.
    async fn who_hears_of(&self, user: &UserId) -> Result<Vec<Visitor>, ChatError> {
        let mut whom = self.lobby.others(Some(user));
        if self.settings.presence_scope == PresenceScope::Contacts && !whom.is_empty() {
            let contacts = self.contacts.of(user).await?;
            whom.retain(|visitor| contacts.contains(visitor.user()));
        }
        Ok(whom)
    }

    async fn tell_who_is_online(&self, gone: &UserId) -> Result<(), ChatError> {
        let whom = self.who_hears_of(gone).await?;
        let timestamp = iso8601(self.unix_ms());
        if self.settings.presence_scope == PresenceScope::Contacts {
            for visitor in whom {
                let online = self.online_contacts(visitor.user()).await?;
                self.lobby.tell(&[visitor], &online.told(&timestamp));
            }
            return Ok(());
        }
        if !whom.is_empty() {
            let online = self.online().await?;
            self.lobby.tell(&whom, &online.told(&timestamp));
        }
        Ok(())
    }
}

impl Online {
    pub(crate) fn told<'a>(&'a self, timestamp: &'a str) -> Told<'a> {
        Told::OnlineUsers {
            users: &self.users,
            total_online: self.total,
            timestamp,
        }
    }
}

/// Only the last word about each user, in the order of the first.
fn keep_last(changes: &mut Vec<PresenceChange>) {
    let last: HashMap<UserId, bool> = changes
        .iter()
        .map(|change| (change.user.clone(), change.present))
        .collect();
    let mut seen = std::collections::HashSet::new();
    changes.retain_mut(|change| {
        change.present = last.get(&change.user).copied().unwrap_or(change.present);
        seen.insert(change.user.clone())
    });
}
