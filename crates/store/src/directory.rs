//! What operators and backends ask of the store: who is there, and to end somebody's session.

use sparkway_protocol::{CloseReason, MessageId, NodeId, Partition, SessionId, TopicName, UserId};

use crate::{BoxFuture, Control, SessionRecord, StoreError};

/// Which sessions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsOf {
    /// All of the partition, attached and detached.
    All,
    /// Those attached to a node.
    Node(NodeId),
    /// Those without a connection.
    Detached,
    /// Those of a user; only the user's own partition has any.
    User(UserId),
}

/// A page of sessions to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionQuery {
    /// Which.
    pub of: SessionsOf,
    /// Where the page before ended: its [`Listed::next`].
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
}

/// A page of topics to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicQuery {
    /// Only topics whose names begin with this.
    pub prefix: String,
    /// Where the page before ended: its [`Listed::next`].
    pub after: Option<String>,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
}

/// A page of a listing. It may hold less than was asked for, also nothing, and still go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A topic of which the store keeps something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// Its name.
    pub topic: TopicName,
    /// The newest id given in it.
    pub tip: MessageId,
    /// Entries in its log.
    pub entries: u64,
}

/// The part of a store that is for operators and backends. What holds for
/// [`Store`](crate::Store) holds here: deadlines, repeatable writes, any task at any time.
///
/// Listings walk over indexes that change meanwhile: what is there from the first page to the last
/// is listed at least once; what comes or goes in between may or may not be. No page holds up the
/// store for longer than a few thousand keys take.
pub trait Directory: Send + Sync {
    /// Lists the records of sessions.
    ///
    /// # Errors
    /// [`StoreError::Layout`]: `after` is no end of a page. Else retry.
    fn sessions(
        &self,
        partition: Partition,
        query: SessionQuery,
    ) -> BoxFuture<'_, Result<Listed<SessionRecord>, StoreError>>;

    /// Lists topics in which something was stored and is not forgotten yet.
    ///
    /// # Errors
    /// [`StoreError::Layout`]: `after` is no end of a page. Else retry.
    fn topics(
        &self,
        partition: Partition,
        query: TopicQuery,
    ) -> BoxFuture<'_, Result<Listed<TopicSummary>, StoreError>>;

    /// How many entries the log of a topic holds.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn log_length(&self, topic: TopicName) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Removes the entries of a log up to an id. The topic's newest id stays, so that ids rise and
    /// whoever resumes from before is told what is gone.
    ///
    /// # Errors
    /// [`StoreError`]: it may have happened; safe to repeat.
    fn trim(&self, topic: TopicName, until: MessageId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a session, whoever owns it: removes its record, refuses every later write of its owner
    /// (also one that takes the record for lost), and tells the owner to close with `reason`, all
    /// in one step. Says whether there was such a session.
    ///
    /// # Errors
    /// [`StoreError`]: it may have ended; safe to repeat, and then answered as the first time.
    fn remove(
        &self,
        session: SessionId,
        reason: CloseReason,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Tells a node something. At most once.
    ///
    /// # Errors
    /// [`StoreError`]: it may or may not have been told.
    fn tell(&self, node: NodeId, control: Control) -> BoxFuture<'_, Result<(), StoreError>>;
}
