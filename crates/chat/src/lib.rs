//! Chat: an application of the gateway with users, direct messages, typing and presence, as
//! source 4 has it.
//!
//! *In*: calls of clients of the chat dialect ([`Application`]), and requests under `/api`
//! ([`ChatSite`]). *Out*: frames to connections of this node, entries of inbox topics for users on
//! any node, and the logs of conversations.
//!
//! *Guarantees*: a message is stored before anybody is told; its sender hears `message_sent`
//! before `message_delivered`; what is sent to a user who is away waits in his inbox; one
//! connection per user in the cluster, decided by the store; a user goes offline once, whoever
//! finds his node dead.
//!
//! *Never*: sessions, fan-out, leases, sockets: those are the gateway's. Everything kept goes
//! through its store: logs for conversations and inboxes, records for users and marks, members of
//! `$chat` for who is online. So it runs on whatever backend the gateway runs on.
//!
//! *Next*: the binary, which adds it to a node whose routes have a chat.

mod calls;
mod contacts;
mod deliveries;
mod error;
#[cfg(test)]
mod faulty;
mod inbox;
mod kept;
mod lobby;
mod marks;
mod messages;
mod missed;
mod naming;
mod online;
mod password;
mod rest;
mod tokens;
mod typing;
mod undelivered;
mod users;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sparkway_auth::{Admission, KeyError};
use sparkway_dialect::chat::{self, Told};
use sparkway_gateway::application::{self, Application, Host, Visitor};
use sparkway_gateway::settings::{ChatSettings, ChatUsers, Settings};
use sparkway_protocol::{CloseReason, MessageId, Payload, PresenceChange, UserId, iso8601};
use sparkway_store::{BoxFuture, SharedStore, StoreError};
use tokio::sync::{Semaphore, mpsc};

pub use error::ChatError;
pub use messages::{Found, Message, MessageStore, NewMessage, Sought, Status, Undelivered};
pub use rest::ChatSite;
pub use users::{User, UserPage, UserStore};

use contacts::Contacts;
use deliveries::Deliveries;
use lobby::Lobby;
use password::Passwords;
use rest::Attempts;
use tokens::Tokens;
use typing::Typing;

/// Changes of presence that wait to be told; when there are more, everybody is sent the list.
const CHANGES: usize = 8192;
/// Visitors for whom it is looked at once what they missed.
const LOOKS: usize = 64;

/// Why the chat does not start.
#[derive(Debug, thiserror::Error)]
pub enum ChatStartError {
    /// The store does not answer: try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key for tokens cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The chat of one node.
#[derive(Debug)]
pub struct Chat {
    settings: ChatSettings,
    store: SharedStore,
    users: Arc<dyn UserStore>,
    messages: Arc<dyn MessageStore>,
    contacts: Contacts,
    passwords: Passwords,
    tokens: Tokens,
    lobby: Lobby,
    typing: Typing,
    deliveries: Deliveries,
    looks: Semaphore,
    attempts: Attempts,
    host: OnceLock<Host>,
    changed: mpsc::Sender<PresenceChange>,
    /// A change found no room.
    overrun: AtomicBool,
    changes: Mutex<Option<mpsc::Receiver<PresenceChange>>>,
}

impl Chat {
    /// A chat over a store, with users and messages kept there.
    ///
    /// # Errors
    /// [`ChatStartError`]: nothing has begun.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open(
        settings: &Settings,
        store: &SharedStore,
    ) -> Result<Arc<Self>, ChatStartError> {
        let users = Arc::new(users::KeptUsers::new(store));
        let messages = Arc::new(kept::KeptMessages::new(store, &settings.chat));
        Self::with(settings, store, users, messages).await
    }

    /// A chat with users and messages that somebody else keeps.
    ///
    /// # Errors
    /// [`ChatStartError`]: nothing has begun.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn with(
        settings: &Settings,
        store: &SharedStore,
        users: Arc<dyn UserStore>,
        messages: Arc<dyn MessageStore>,
    ) -> Result<Arc<Self>, ChatStartError> {
        let key = store.cluster_key().await?;
        let tokens = Tokens::new(&settings.auth, settings.chat.token_lifetime, &key)?;
        let (changed, receiver) = mpsc::channel(CHANGES);
        Ok(Arc::new(Self {
            settings: settings.chat.clone(),
            store: Arc::clone(store),
            users,
            messages,
            contacts: Contacts::new(store),
            passwords: Passwords::new(),
            tokens,
            lobby: Lobby::default(),
            typing: Typing::default(),
            deliveries: Deliveries::default(),
            looks: Semaphore::new(LOOKS),
            attempts: Attempts::new(settings),
            host: OnceLock::new(),
            changed,
            overrun: AtomicBool::new(false),
            changes: Mutex::new(Some(receiver)),
        }))
    }

    fn unix_ms(&self) -> u64 {
        self.host.get().map_or(0, Host::unix_ms)
    }

    /// Tells a user, wherever he is connected, something that is not kept.
    async fn tell(&self, user: &UserId, told: &Told<'_>) {
        let Some(host) = self.host.get() else { return };
        if let Err(error) = host.tell(user, told.to_payload()).await {
            tracing::debug!(%error, "a user was not told");
        }
    }

    /// The user whom a token names, if it is genuine and he exists.
    async fn identify(&self, token: &str) -> Result<(Admission, User), CloseReason> {
        let host = self.host.get().ok_or(CloseReason::NotAdmitted)?;
        let admission = self
            .tokens
            .check(host, token)
            .ok_or(CloseReason::Unauthorized)?;
        let user = admission.user().cloned().ok_or(CloseReason::Unauthorized)?;
        application::inbox(&user).ok_or(CloseReason::UnknownUser)?;
        let failed = |error: ChatError| {
            tracing::warn!(%error, "a user was not looked up");
            CloseReason::NotAdmitted
        };
        if self.settings.users == ChatUsers::Claims {
            let noted = claimed(&admission, &user, host.unix_ms());
            self.users.note(noted.clone()).await.map_err(failed)?;
            return Ok((admission, noted));
        }
        let found = self.users.find(vec![user.as_str().into()]).await;
        let found = found.map_err(failed)?.pop().flatten();
        Ok((admission, found.ok_or(CloseReason::UnknownUser)?))
    }

    async fn greet(self: &Arc<Self>, visitor: &Visitor) -> Result<MessageId, ChatError> {
        let user = visitor.user();
        let found = self.users.find(vec![user.as_str().into()]).await?;
        let found = found.into_iter().next().flatten();
        let username = found.map_or_else(|| user.as_str().into(), |user| user.username);
        self.lobby.enter(visitor, &username);
        let online = self.online_for(visitor).await?;
        let from = self.inbox_start(user).await?;
        let timestamp = iso8601(self.unix_ms());
        let established = Told::ConnectionEstablished {
            user_id: user.as_str(),
            username: &username,
        };
        self.lobby
            .open(visitor, &[established, online.told(&timestamp)]);
        self.look_for_missed(visitor);
        Ok(from)
    }
}

/// A user as his token describes him.
fn claimed(admission: &Admission, user: &UserId, now_ms: u64) -> User {
    let profile = match admission {
        Admission::Identified(identity) => identity.profile.clone(),
        Admission::Anonymous(_) => sparkway_auth::Profile::default(),
    };
    User {
        id: user.as_str().into(),
        username: profile.name.unwrap_or_else(|| user.as_str().into()),
        avatar: profile.avatar,
        password: None,
        created_ms: now_ms,
    }
}

/// What the gateway calls: see [`Application`].
#[derive(Debug, Clone)]
pub struct ChatApplication(pub Arc<Chat>);

impl Application for ChatApplication {
    fn begin(&self, host: Host) {
        let chat = &self.0;
        let changes = chat
            .changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(changes) = changes {
            host.spawn_while_serving(Arc::clone(chat).watch(changes));
            if chat.settings.deliver_pending {
                host.spawn_while_serving(Arc::clone(chat).look_after_all());
            }
        }
        // Only the first node of a chat counts; there is one of each.
        drop(chat.host.set(host));
    }

    fn admit<'a>(
        &'a self,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Admission, CloseReason>> {
        Box::pin(async move {
            let token = token.filter(|token| !token.is_empty());
            let token = token.ok_or(CloseReason::NoCredential)?;
            let (admission, _) = self.0.identify(token).await?;
            Ok(admission)
        })
    }

    fn welcome(&self, visitor: Visitor) -> BoxFuture<'_, Result<MessageId, CloseReason>> {
        Box::pin(async move {
            self.0.greet(&visitor).await.map_err(|error| {
                tracing::warn!(%error, "a visitor was not welcomed");
                CloseReason::NotAdmitted
            })
        })
    }

    fn call(&self, visitor: Visitor, method: Box<str>, params: Payload) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(text) = self.0.answer(&visitor, &method, &params).await {
                let timestamp = iso8601(self.0.unix_ms());
                visitor.tell(chat::error(&text, &timestamp).to_frame());
            }
        })
    }

    fn written(&self, visitor: Visitor, up_to: MessageId) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.0.mark_written(&visitor, up_to).await {
                // What is not marked is delivered again when he comes the next time.
                tracing::warn!(%error, "a delivery was not marked");
            }
        })
    }

    fn acknowledged(
        &self,
        visitor: Visitor,
        from: MessageId,
        up_to: MessageId,
    ) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let marked = self.0.mark_acknowledged(&visitor, from, up_to).await;
            if let Err(error) = marked {
                // What is not marked is delivered again when he comes the next time.
                tracing::warn!(%error, "a delivery was not marked");
            }
        })
    }

    fn gone(&self, visitor: &Visitor) {
        let chat = Arc::clone(&self.0);
        let username = chat.lobby.username(visitor);
        chat.lobby.leave(visitor);
        let receivers = chat.typing.stop_all(visitor.session());
        let user = visitor.user().clone();
        let Some(host) = self.0.host.get().filter(|_| !receivers.is_empty()) else {
            return;
        };
        host.spawn(async move {
            let username = username.unwrap_or_else(|| user.as_str().into());
            for receiver in receivers {
                chat.tell_typing(&user, &username, &receiver, false).await;
            }
        });
    }

    fn changed(&self, change: &PresenceChange) {
        if self.0.changed.try_send(change.clone()).is_err()
            && !self.0.overrun.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("too many came and went at once: visitors are sent the list");
        }
    }
}
