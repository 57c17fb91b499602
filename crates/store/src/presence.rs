//! Who is in a topic: members with a lease, the part of a store that presence needs.

use sparkway_protocol::{Epoch, NodeId, Partition, PresenceChange, SessionId, TopicName, UserId};

use crate::{BoxFuture, StoreError};

/// What becomes of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The session is in the topic, with a connection of this node.
    Join(NodeId),
    /// It lost its connection: it leaves in so many milliseconds, unless it joins before.
    Away {
        /// Milliseconds from now; 0 leaves at once.
        grace_ms: u64,
    },
    /// It leaves.
    Leave,
}

/// A change of one member of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where.
    pub topic: TopicName,
    /// Which session.
    pub session: SessionId,
    /// Under which epoch: a move of an older one than the member's changes nothing.
    pub epoch: Epoch,
    /// As whom; the same in all moves of a session.
    pub user: UserId,
    /// What.
    pub step: Step,
}

/// A page of the users in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Users, each once.
    pub users: Vec<UserId>,
    /// How many there are in all.
    pub count: u64,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Where a user stands in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether he is there.
    pub present: bool,
    /// Unix milliseconds at which his last connection there went, as far as that is kept. Only
    /// topics whose names begin with `$` keep it.
    pub last_seen_ms: Option<u64>,
}

/// Who is in which topic. What holds for [`Store`](crate::Store) holds here: deadlines, repeatable
/// writes, any task at any time.
///
/// A member is a session in a topic. Its lease is that of its node: nothing is written while it
/// stays. Every change of a user (first session in, last session out) is announced to all feeds
/// that follow the topic in the same step that makes it, in order, at most once
/// ([`FeedEvent::Presence`](crate::FeedEvent::Presence)).
pub trait Presence: Send + Sync {
    /// Moves members of topics of one partition, in order, at most [`MOVES`] of them. Returns the
    /// changes of users that this call made: a repeat after a lost answer returns none.
    ///
    /// # Errors
    /// [`StoreError`]: any part of it may have happened; repeat it.
    fn move_members(
        &self,
        partition: Partition,
        moves: Vec<Move>,
    ) -> BoxFuture<'_, Result<Vec<PresenceChange>, StoreError>>;

    /// A page of at most `limit` users. A user who is there from the first page to the last is
    /// listed at least once.
    ///
    /// # Errors
    /// [`StoreError::Layout`]: `after` is no end of a page. Else retry.
    fn members(
        &self,
        topic: TopicName,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>>;

    /// Where users stand in a topic, in the order asked.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn standings(
        &self,
        topic: TopicName,
        users: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>>;

    /// Lets members of nodes whose lease ran out leave after `grace_ms`, and takes out those whose
    /// time is over; one that only its node's lapsed lease took away, and whose node lives again
    /// by then, stays. Handles at most `limit` of each, and returns the changes of users: each is
    /// made, announced and returned by exactly one call in the cluster. Call again while
    /// [`Swept::is_full`].
    ///
    /// # Errors
    /// [`StoreError`]: nothing is lost; the next sweep goes on.
    fn sweep_members(
        &self,
        partition: Partition,
        grace_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Swept, StoreError>>;
}

/// Most moves of one call.
pub const MOVES: usize = 64;

/// What a sweep of members did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Users who left.
    pub changes: Vec<PresenceChange>,
    /// Whether as many were handled as allowed: there may be more.
    pub is_full: bool,
}
