//! Who is online, and who is told when that changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sparkway_dialect::chat::{OnlineUser, Told};
use sparkway_gateway::application::{Visitor, lobby};
use sparkway_gateway::settings::PresenceScope;
use sparkway_protocol::{PresenceChange, SessionId, UserId, iso8601};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::users::User;
use crate::{CHANGES, Chat, ChatError};

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

/// Pause before the store is asked again, at first and at the longest.
const REPEAT: Duration = Duration::from_millis(100);
const REPEAT_MAX: Duration = Duration::from_secs(5);

/// What visitors are still to be told.
#[derive(Debug, Default)]
struct Due {
    changes: Vec<PresenceChange>,
    list: List,
    /// So many are online that it is told once per second.
    is_crowd: bool,
}

/// Who is owed the list of those online.
#[derive(Debug)]
enum List {
    /// Those who were told that somebody is gone, unless too many are online: at the most all
    /// visitors of this node.
    These(HashMap<SessionId, Visitor>),
    /// Everybody, however many are online: not all changes were told.
    Everybody,
}

impl Default for List {
    fn default() -> Self {
        Self::These(HashMap::new())
    }
}

impl List {
    fn owe(&mut self, whom: &[Visitor]) {
        if let Self::These(these) = self {
            let owed = whom.iter().map(|one| (one.session(), one.clone()));
            these.extend(owed);
        }
    }

    fn is_nobodys(&self) -> bool {
        matches!(self, Self::These(these) if these.is_empty())
    }

    /// Whoever left is owed nothing, however long it takes until it can be told.
    fn forget_those_gone(&mut self) {
        if let Self::These(these) = self {
            these.retain(|_, visitor| !visitor.is_gone());
        }
    }
}

impl Due {
    fn is_over(&self) -> bool {
        self.changes.is_empty() && self.list.is_nobodys()
    }

    /// The last word about each user is enough when much has come together; where even that is too
    /// much, or changes were lost, the list stands for all of it.
    fn trim(&mut self, has_overrun: bool) {
        if self.is_crowd || self.changes.len() > BATCH {
            keep_last(&mut self.changes);
        }
        if has_overrun || self.changes.len() > CHANGES {
            self.changes.clear();
            self.list = List::Everybody;
        }
        self.list.forget_those_gone();
    }
}

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
        // Whoever comes or goes meanwhile makes the store list others twice.
        users.dedup_by(|one, other| one.id == other.id);
        users.truncate(NAMED);
        Ok(users)
    }

    /// Tells the visitors of this node who came and who went, for as long as the node lives. What
    /// the store does not answer is told once it does; what was too much is made good by the list.
    pub(crate) async fn watch(self: Arc<Self>, mut changes: mpsc::Receiver<PresenceChange>) {
        let mut due = Due::default();
        let mut told = Instant::now()
            .checked_sub(PAUSE)
            .unwrap_or_else(Instant::now);
        let mut repeat = REPEAT;
        loop {
            if due.is_over() && changes.recv_many(&mut due.changes, BATCH).await == 0 {
                return;
            }
            if due.is_crowd {
                tokio::time::sleep_until(told + PAUSE).await;
            }
            while let Ok(change) = changes.try_recv() {
                due.changes.push(change);
            }
            due.trim(self.overrun.swap(false, Ordering::Relaxed));
            told = Instant::now();
            match self.tell_due(&mut due).await {
                Ok(()) => repeat = REPEAT,
                Err(error) => {
                    tracing::warn!(%error, "visitors are told later who came or went");
                    tokio::time::sleep(repeat).await;
                    repeat = (repeat * 2).min(REPEAT_MAX);
                }
            }
        }
    }

    /// Tells what is due; what was told is not due any more, also after an error.
    async fn tell_due(&self, due: &mut Due) -> Result<(), ChatError> {
        let Some(lobby) = lobby() else { return Ok(()) };
        let total = self.store.members(lobby, None, 1).await?.count;
        let was_crowd = due.is_crowd;
        due.is_crowd = total > self.settings.online_users_broadcast_limit;
        if due.is_crowd && !was_crowd {
            keep_last(&mut due.changes);
        }
        while !due.changes.is_empty() {
            self.tell_changes(due).await?;
        }
        match &due.list {
            List::These(_) if due.is_crowd => {}
            List::These(these) => {
                let whom = these.values().cloned().collect();
                self.tell_who_is_online(whom).await?;
            }
            List::Everybody => self.tell_who_is_online(self.lobby.others(None)).await?,
        }
        due.list = List::default();
        Ok(())
    }

    /// Tells some of the changes, each to those who hear of its user. What is told is not due any
    /// more when another one fails: nobody is told twice.
    async fn tell_changes(&self, due: &mut Due) -> Result<(), ChatError> {
        let count = due.changes.len().min(BATCH);
        let next = due.changes.iter().take(count);
        let ids = next.map(|change| change.user.as_str().into());
        let users = self.users.find(ids.collect()).await?;
        let (mut told, mut failed) = (0, None);
        for (change, user) in due.changes.iter().take(count).zip(&users) {
            // For one at a time: all visitors for each of so many would be a lot to hold.
            match self.who_hears_of(&change.user).await {
                Ok(whom) => {
                    self.tell_change(change, user.as_ref(), &whom);
                    if !change.present && !due.is_crowd {
                        due.list.owe(&whom);
                    }
                    told += 1;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        due.changes.drain(..told);
        failed.map_or(Ok(()), Err)
    }

    fn tell_change(&self, change: &PresenceChange, user: Option<&User>, whom: &[Visitor]) {
        let Some(user) = user else { return };
        let (user_id, username) = (&*user.id, &*user.username);
        let told = if change.present {
            Told::UserOnline { user_id, username }
        } else {
            Told::UserOffline { user_id, username }
        };
        self.lobby.tell(whom, &told);
    }

    /// The visitors of this node who are told of a user.
    async fn who_hears_of(&self, user: &UserId) -> Result<Vec<Visitor>, ChatError> {
        match self.settings.presence_scope {
            PresenceScope::All => Ok(self.lobby.others(Some(user))),
            // Nobody here but him: it is not asked who they are.
            PresenceScope::Contacts if self.lobby.others(Some(user)).is_empty() => Ok(Vec::new()),
            PresenceScope::Contacts => {
                let contacts = self.contacts.of(user).await?;
                Ok(self.lobby.visitors_of(&contacts.into_iter().collect()))
            }
        }
    }

    /// Sends the list to these.
    async fn tell_who_is_online(&self, whom: Vec<Visitor>) -> Result<(), ChatError> {
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

#[cfg(test)]
mod tests {
    use sparkway_gateway::settings::Settings;
    use sparkway_store::SharedStore;
    use sparkway_store::memory::{MemorySettings, MemoryStore};

    use super::*;

    fn change(user: &str, present: bool) -> PresenceChange {
        PresenceChange {
            topic: lobby().unwrap(),
            user: UserId::parse(user).unwrap(),
            present,
        }
    }

    #[tokio::test]
    async fn nobody_is_named_twice() {
        let store: SharedStore = Arc::new(MemoryStore::new(MemorySettings::default()));
        let chat = Chat::open(&Settings::default(), &store).await.unwrap();
        for id in ["ada", "bob"] {
            let known = User {
                id: id.into(),
                username: "the same".into(),
                avatar: None,
                password: None,
                created_ms: 1,
            };
            chat.users.note(known).await.unwrap();
        }
        let ids = ["bob", "ada", "bob"].map(|id| UserId::parse(id).unwrap());
        let named = chat.named(ids.to_vec()).await.unwrap();
        let named: Vec<&str> = named.iter().map(|user| &*user.id).collect();
        assert_eq!(named, ["ada", "bob"]);
    }

    #[test]
    fn what_waits_is_bounded_and_what_was_lost_is_made_good_by_the_list() {
        let mut due = Due::default();
        assert!(due.is_over());
        due.changes = vec![change("ada", true), change("ada", false)];
        due.trim(false);
        assert_eq!(due.changes.len(), 2, "few are told one by one");
        for at in 0..BATCH {
            due.changes.push(change("ada", at % 2 == 1));
        }
        due.trim(false);
        assert_eq!(due.changes, [change("ada", true)], "the last word");
        for at in 0..=CHANGES {
            due.changes.push(change(&format!("u{at}"), true));
        }
        due.trim(false);
        assert!(due.changes.is_empty() && matches!(due.list, List::Everybody));
        let mut due = Due {
            changes: vec![change("bob", true)],
            ..Due::default()
        };
        due.trim(true);
        assert!(due.changes.is_empty() && matches!(due.list, List::Everybody));
        due.list.owe(&[]);
        assert!(matches!(due.list, List::Everybody), "it includes all");
    }
}
