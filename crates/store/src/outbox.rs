//! What happened in the cluster, kept until the application was told.

use sparkway_protocol::{NodeId, Partition};

use crate::{BoxFuture, StoreError};

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Happened {
    /// A session was created.
    SessionOpened,
    /// A session ended: its client or an operator ended it, or another one took its place.
    SessionClosed,
    /// Nobody came back for a session within its window.
    SessionExpired,
    /// Somebody is in a topic in which nobody was.
    TopicOccupied,
    /// Nobody is in a topic any more.
    TopicVacated,
    /// A user is in a topic, with his first session.
    PresenceJoined,
    /// A user is in a topic no more: his last session left it.
    PresenceLeft,
}

impl Happened {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::SessionOpened,
        Self::SessionClosed,
        Self::SessionExpired,
        Self::TopicOccupied,
        Self::TopicVacated,
        Self::PresenceJoined,
        Self::PresenceLeft,
    ];

    /// The name that the application is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionOpened => "session.opened",
            Self::SessionClosed => "session.closed",
            Self::SessionExpired => "session.expired",
            Self::TopicOccupied => "topic.occupied",
            Self::TopicVacated => "topic.vacated",
            Self::PresenceJoined => "presence.joined",
            Self::PresenceLeft => "presence.left",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What events are about: who keeps one of a matter keeps all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matters {
    /// Sessions.
    pub sessions: bool,
    /// Whether there is anybody in a topic.
    pub topics: bool,
    /// Which users are in a topic.
    pub presence: bool,
}

impl Matters {
    /// Everything.
    pub const ALL: Self = Self {
        sessions: true,
        topics: true,
        presence: true,
    };

    /// Those of some kinds.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = Happened>) -> Self {
        let mut all = Self::default();
        for kind in kinds {
            match kind {
                Happened::SessionOpened | Happened::SessionClosed | Happened::SessionExpired => {
                    all.sessions = true;
                }
                Happened::TopicOccupied | Happened::TopicVacated => all.topics = true,
                Happened::PresenceJoined | Happened::PresenceLeft => all.presence = true,
            }
        }
        all
    }
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Names it within its partition; opaque, and never given twice.
    pub id: Box<str>,
    /// When it happened, in Unix milliseconds of the store.
    pub at_ms: u64,
    /// What.
    pub kind: Happened,
    /// The session, where it is about one.
    pub session: Option<Box<str>>,
    /// The topic, where it is about one.
    pub topic: Option<Box<str>>,
    /// Whose session it is or was, or who came or left.
    pub user: Option<Box<str>>,
}

/// Events to deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenEvents {
    /// The oldest ones, in the order in which they happened.
    pub events: Vec<KeptEvent>,
    /// How many wait in all.
    pub waiting: u64,
}

/// The part of a store that keeps events. What holds for [`Store`](crate::Store) holds here.
///
/// An event is written by the same step that makes it true, so it is kept exactly once, whoever
/// won: a repeated write adds none. It stays until it is settled: whoever delivers may do so more
/// than once.
pub trait Outbox: Send + Sync {
    /// From now on the changes that this node makes keep events of these matters, beside those
    /// asked for before; at first none are. Nothing is kept of who is in topics whose names begin
    /// with `$`.
    fn keep_events(&self, matters: Matters);

    /// The oldest events of a partition, if no other node is delivering them. For `hold_ms` from
    /// now nobody else is given any.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn take_events(
        &self,
        partition: Partition,
        node: NodeId,
        hold_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<TakenEvents, StoreError>>;

    /// Forgets events that were delivered, or moves them to the dead letters: the newest
    /// [`DEAD_LETTERS`] are kept for an operator to look at.
    ///
    /// # Errors
    /// [`StoreError`]: repeat it, or they are delivered again.
    fn settle_events(
        &self,
        partition: Partition,
        ids: Vec<Box<str>>,
        dead: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How many dead letters a partition holds.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn dead_events(&self, partition: Partition) -> BoxFuture<'_, Result<u64, StoreError>>;
}

/// Most events that wait in a partition; the oldest go first.
pub const EVENTS_MAX: usize = 100_000;
/// Most dead letters of a partition; the oldest go first.
pub const DEAD_LETTERS: usize = 10_000;
