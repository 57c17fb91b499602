//! What flows from the store to a node without being asked: the feed of a partition, and the
//! node's control channel.

use std::sync::Arc;

use sparkway_protocol::{
    CloseReason, Entry, Ephemeral, Epoch, MessageId, PresenceChange, SessionId, TopicName,
};
use tokio::sync::mpsc;

use crate::{Hole, Revocation};

/// How many events wait for the reader before the backend stops reading its connection. The store
/// may then cut that connection, which the feed turns into [`FeedEvent::Restored`].
pub const FEED_EVENTS: usize = 4096;

/// One partition's announcements, in order. Read by exactly one task.
#[derive(Debug)]
pub struct Feed {
    /// Says what to follow.
    pub handle: FeedHandle,
    /// What happened. Closed only when the backend cannot go on: the process should then end.
    pub events: mpsc::Receiver<FeedEvent>,
}

/// Says which topics a [`Feed`] follows. Requests are carried out in order.
#[derive(Clone, Debug)]
pub struct FeedHandle {
    requests: mpsc::Sender<FeedRequest>,
}

/// What a backend's feed task is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedRequest {
    /// Follow these topics; each is answered by [`FeedEvent::Live`]. Following a topic that is
    /// followed already answers again.
    Follow(Vec<TopicName>),
    /// Stop following.
    Forget(Vec<TopicName>),
    /// The reader has reason to believe that it does not hear everything: connect anew, which
    /// [`FeedEvent::Restored`] answers.
    Renew,
}

impl FeedHandle {
    /// Both ends of a feed's request queue, for backends.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<FeedRequest>) {
        let (requests, receiver) = mpsc::channel(capacity);
        (Self { requests }, receiver)
    }

    /// Asks; waits while the queue is full.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the request was not made.
    pub async fn request(&self, request: FeedRequest) -> bool {
        self.requests.send(request).await.is_ok()
    }
}

/// What a feed tells. For every topic, after its `Live`: each entry appended later arrives exactly
/// once, in id order over all live topics of the partition, until [`FeedEvent::Restored`] says
/// that some may be missing.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// The topic is live: everything at or below `tip` is in the log; `since` holds what came
    /// after `tip` while the subscription was being confirmed, in order; everything later follows
    /// as [`FeedEvent::Entry`].
    Live {
        /// Which topic.
        topic: TopicName,
        /// Its newest id when the subscription held.
        tip: MessageId,
        /// Entries after the tip that arrived before this event.
        since: Vec<Arc<Entry>>,
    },
    /// An entry of a live topic.
    Entry(Arc<Entry>),
    /// An announcement in a live topic.
    Ephemeral(Arc<Ephemeral>),
    /// Somebody came into a live topic or left it. At most once.
    Presence(Arc<PresenceChange>),
    /// The connection was lost and every followed topic is subscribed again: entries of live
    /// topics with an id up to `clock` may be missing and are all in the log; every later one
    /// follows. The reader reads all live topics from their last ids, up to `clock`, before it
    /// goes on.
    Restored {
        /// The newest id of the partition after all subscriptions held again.
        clock: MessageId,
    },
    /// The store may have lost the ids of this interval (its newest writes at that time). Told when
    /// a connection is made anew, and at once when another node knows that more is lost: then
    /// before any entry with an id behind the interval.
    Rewound(Hole),
}

/// Whose publishes an operator wants to see traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Those into this topic.
    Topic(TopicName),
    /// Those of this session.
    Session(SessionId),
}

/// What one node tells another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The session has a new owner under this epoch: close every older connection of it.
    Superseded {
        /// Which.
        session: SessionId,
        /// The new owner's epoch.
        epoch: Epoch,
    },
    /// Close the connection of this session.
    Close {
        /// Which.
        session: SessionId,
        /// Why, as the client sees it.
        reason: CloseReason,
    },
    /// A backend subscribes the session: each topic from an id on, so that nothing between the word
    /// and its being obeyed is missed. The record says it already.
    Enlist {
        /// Which.
        session: SessionId,
        /// Topics, and after which id each begins.
        topics: Vec<(TopicName, MessageId)>,
    },
    /// A backend ends subscriptions of the session. The record says it already.
    Delist {
        /// Which.
        session: SessionId,
        /// Topics.
        topics: Vec<TopicName>,
    },
    /// Entries of a log up to this id are gone on purpose: they are not replayed from memory, either.
    Trimmed {
        /// Which log.
        topic: TopicName,
        /// The newest id that is gone.
        until: MessageId,
    },
    /// The node is to send its clients away and to end, or to stay after all.
    Drain {
        /// Whether it is to go.
        go: bool,
    },
    /// Publishes are recorded in any case, for a while.
    Mark {
        /// Which.
        what: Marked,
        /// For how many seconds; 0 ends it.
        seconds: u16,
    },
    /// Tokens were revoked; told to all nodes.
    Revoked(Revocation),
    /// The channel is connected, also for the first time: what was said before may have been
    /// missed. Backends that miss nothing never say it.
    Restored,
}
