//! What clients ask.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use sparkway_dialect::chat::{Asked, Told};
use sparkway_gateway::application::Visitor;
use sparkway_protocol::{Payload, UserId, iso8601};
use tokio::time::Instant;

use crate::messages::{Message, NewMessage, Status};
use crate::typing::{Look, Start};
use crate::{Chat, ChatError};

/// How long somebody is typing who does not say so again (S4-40).
const TYPING: Duration = Duration::from_secs(10);

const TO_ONESELF: &str = "Cannot send message to yourself";
const NO_RECEIVER: &str = "Receiver not found";
const FAILED: &str = "Server error";

/// A message that somebody wants to send.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) receiver: Box<str>,
    pub(crate) content: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) client_id: Option<Box<str>>,
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    ToOneself,
    NoReceiver,
    Replaced,
    Failed,
}

impl NotSent {
    pub(crate) const fn text(&self) -> &'static str {
        match self {
            Self::ToOneself => TO_ONESELF,
            Self::NoReceiver => NO_RECEIVER,
            Self::Replaced | Self::Failed => FAILED,
        }
    }
}

impl Chat {
    /// Carries out a call.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        visitor: &Visitor,
        method: &str,
        params: &Payload,
    ) -> Result<(), Cow<'static, str>> {
        let asked = Asked::of(method, params).map_err(|refused| refused.message)?;
        let done = match asked {
            Asked::Message {
                receiver,
                content,
                kind,
                client_id,
            } => {
                let draft = Draft {
                    receiver,
                    content,
                    kind,
                    client_id,
                };
                return self.say(visitor, draft).await.map_err(Cow::Borrowed);
            }
            Asked::Typing { receiver, on } => {
                self.type_to(visitor, &receiver, on).await;
                Ok(())
            }
            Asked::Read { sender } => self.read(visitor, &sender).await,
            Asked::Online => self.list_online(visitor).await,
        };
        done.map_err(|error| {
            tracing::warn!(%error, method, "a call was not carried out");
            Cow::Borrowed(FAILED)
        })
    }

    async fn say(self: &Arc<Self>, visitor: &Visitor, draft: Draft) -> Result<(), &'static str> {
        let fence = Some((visitor.session(), visitor.epoch()));
        let message = match self.save(visitor.user(), draft, fence).await {
            Ok(message) => message,
            Err(NotSent::Replaced) => {
                visitor.replaced();
                return Ok(());
            }
            Err(not_sent) => return Err(not_sent.text()),
        };
        // Told before it can be delivered: the sender hears of both in this order.
        let id = message.id.to_string();
        let told = Told::MessageSent {
            message_id: &id,
            receiver_id: message.receiver.as_str(),
            content: &message.content,
            created_at: &iso8601(message.id.unix_ms()),
            status: "sent",
        };
        visitor.tell(told.to_frame());
        let username = self.lobby.username(visitor);
        let username = username.unwrap_or_else(|| visitor.user().as_str().into());
        self.hand_over(message, &username).await;
        Ok(())
    }

    /// Stores a message of a user.
    pub(crate) async fn save(
        &self,
        sender: &UserId,
        draft: Draft,
        fence: Option<(sparkway_protocol::SessionId, sparkway_protocol::Epoch)>,
    ) -> Result<Message, NotSent> {
        if *draft.receiver == *sender.as_str() {
            return Err(NotSent::ToOneself);
        }
        let receiver = UserId::parse(&draft.receiver).map_err(|_| NotSent::NoReceiver)?;
        let failed = |error: ChatError| match error {
            ChatError::Replaced => NotSent::Replaced,
            error => {
                tracing::warn!(%error, "a message was not stored");
                NotSent::Failed
            }
        };
        let known = self
            .users
            .find(vec![draft.receiver])
            .await
            .map_err(failed)?;
        if known.into_iter().next().flatten().is_none() {
            return Err(NotSent::NoReceiver);
        }
        // Before there is a message: by their contacts receivers find what they missed.
        match self.contacts.note(sender, &receiver).await {
            Ok(()) => {}
            Err(error @ ChatError::Busy) => tracing::warn!(%error, "a contact was not noted"),
            Err(error) => return Err(failed(error)),
        }
        let message = NewMessage {
            sender: sender.clone(),
            receiver,
            content: draft.content,
            kind: draft.kind,
            client_id: draft.client_id,
            fence,
        };
        self.messages.save(message).await.map_err(failed)
    }

    async fn type_to(self: &Arc<Self>, visitor: &Visitor, receiver: &str, on: bool) {
        let Ok(receiver) = UserId::parse(receiver) else {
            return;
        };
        let session = visitor.session();
        let username = self.lobby.username(visitor);
        let username = username.unwrap_or_else(|| visitor.user().as_str().into());
        let user = visitor.user().clone();
        if !on {
            self.typing.stop(session, &receiver);
            self.tell_typing(&user, &username, &receiver, false).await;
            return;
        }
        let start = self
            .typing
            .start(session, &receiver, Instant::now() + TYPING);
        if start == Start::TooMany {
            return;
        }
        self.tell_typing(&user, &username, &receiver, true).await;
        let (chat, host) = (Arc::clone(self), self.host.get());
        let Some(host) = host.filter(|_| start == Start::Begins) else {
            return;
        };
        host.spawn(async move {
            loop {
                match chat.typing.look(session, &receiver, Instant::now()) {
                    Look::Wait(until) => tokio::time::sleep_until(until).await,
                    Look::Stopped => return,
                    Look::Over => break,
                }
            }
            chat.tell_typing(&user, &username, &receiver, false).await;
        });
    }

    /// Tells somebody that a user types to him, or no longer.
    pub(crate) async fn tell_typing(
        &self,
        user: &UserId,
        username: &str,
        receiver: &UserId,
        is_typing: bool,
    ) {
        let told = Told::TypingIndicator {
            user_id: user.as_str(),
            username,
            is_typing,
        };
        self.tell(receiver, &told).await;
    }

    async fn read(&self, visitor: &Visitor, sender: &str) -> Result<(), ChatError> {
        let reader = visitor.user();
        let mut marked_count = 0;
        if let Ok(sender) = UserId::parse(sender) {
            let call = self.lobby.reading(visitor);
            let mark = || {
                self.messages
                    .mark_read(sender.clone(), reader.clone(), call)
            };
            let mut marked = mark().await;
            if marked.is_err() {
                marked = mark().await;
            }
            marked_count = marked?;
            self.lobby.has_read(visitor);
            if marked_count > 0 {
                let username = self.lobby.username(visitor);
                let told = Told::MessagesRead {
                    read_by: reader.as_str(),
                    read_by_username: username.as_deref().unwrap_or(reader.as_str()),
                    read_at: &iso8601(self.unix_ms()),
                };
                self.tell(&sender, &told).await;
            }
        }
        let told = Told::MarkReadSuccess {
            sender_id: sender,
            marked_count,
        };
        visitor.tell(told.to_frame());
        Ok(())
    }

    async fn list_online(&self, visitor: &Visitor) -> Result<(), ChatError> {
        let online = self.online_for(visitor).await?;
        visitor.tell(online.told(&iso8601(self.unix_ms())).to_frame());
        Ok(())
    }
}

impl Status {
    /// The word for clients.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
        }
    }
}
