//! Direct messages, as the chat sees them: stored once, in the order of their conversation, with a
//! status each.

use serde::Serialize;
use sparkway_protocol::{Epoch, MessageId, SessionId, UserId};
use sparkway_store::BoxFuture;

use crate::ChatError;

/// A message to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Whose.
    pub sender: UserId,
    /// For whom.
    pub receiver: UserId,
    /// What.
    pub content: Box<str>,
    /// Of which kind.
    pub kind: Box<str>,
    /// The sender's own name for it: the same name is stored once.
    pub client_id: Option<Box<str>>,
    /// It counts only while this session has this epoch.
    pub fence: Option<(SessionId, Epoch)>,
}

/// How far a message has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Stored.
    Sent,
    /// Written to a connection of the receiver.
    Delivered,
    /// The receiver said so.
    Read,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, and with it when it was stored.
    pub id: MessageId,
    /// Whose.
    pub sender: UserId,
    /// For whom.
    pub receiver: UserId,
    /// What.
    pub content: Box<str>,
    /// Of which kind.
    pub kind: Box<str>,
    /// How far it has got.
    pub status: Status,
}

/// A message that is not marked as delivered; its content is read only when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Its id.
    pub id: MessageId,
    /// Whose.
    pub sender: UserId,
}

/// Whose messages are looked for among those that are not marked as delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Of whom.
    pub sender: UserId,
    /// Only those after this one; none: after what is marked.
    pub after: Option<MessageId>,
    /// Only those before this one, if there is one.
    pub before: Option<MessageId>,
}

/// What a search for undelivered messages has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Each sender's in their order.
    pub messages: Vec<Undelivered>,
    /// What is still to be looked through: the search found as many as it may hold.
    pub rest: Vec<Sought>,
}

/// Where messages are kept. All writes are safe to repeat.
pub trait MessageStore: std::fmt::Debug + Send + Sync {
    /// Stores a message, or finds the one that was stored under the same name of the sender.
    ///
    /// # Errors
    /// [`ChatError::Replaced`]: the fence does not hold. Else it may or may not be stored.
    fn save(&self, message: NewMessage) -> BoxFuture<'_, Result<Message, ChatError>>;

    /// Messages of `sender` up to this one are delivered to `receiver`.
    ///
    /// # Errors
    /// [`ChatError`]: repeat it.
    fn mark_delivered(
        &self,
        sender: UserId,
        receiver: UserId,
        up_to: MessageId,
    ) -> BoxFuture<'_, Result<(), ChatError>>;

    /// Messages to `receiver` that are stored and not marked as delivered. A bounded number: what it
    /// leaves is to be asked for again, until nothing is left.
    ///
    /// # Errors
    /// [`ChatError`]: retry.
    fn undelivered(
        &self,
        receiver: UserId,
        sought: Vec<Sought>,
    ) -> BoxFuture<'_, Result<Found, ChatError>>;

    /// The message of two users that has this id; `None` when there is none, or no more.
    ///
    /// # Errors
    /// [`ChatError`]: retry.
    fn find(
        &self,
        one: UserId,
        other: UserId,
        id: MessageId,
    ) -> BoxFuture<'_, Result<Option<Message>, ChatError>>;

    /// All messages of `sender` are read by `reader`; how many became so since the last answer, as
    /// far as they are counted. `call` is any number but 0 that names the call: repeated under it,
    /// it answers the same.
    ///
    /// # Errors
    /// [`ChatError`]: repeat it under the same name. Those that are read already count in the
    /// answer to that, or to the next call.
    fn mark_read(
        &self,
        sender: UserId,
        reader: UserId,
        call: u64,
    ) -> BoxFuture<'_, Result<u64, ChatError>>;

    /// Messages of two users, newest first, only those before an id if one is given.
    ///
    /// # Errors
    /// [`ChatError`]: retry.
    fn history(
        &self,
        one: UserId,
        other: UserId,
        before: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Message>, ChatError>>;
}
