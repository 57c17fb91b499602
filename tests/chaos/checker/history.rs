//! What was recorded: the steps of every session in the order in which its client took them, and
//! the logs that any client can read afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A topic's name.
pub type Topic = Arc<str>;

/// Names a connection of a session; later ones are greater.
pub type Conn = u32;

/// Names a published message for as long as it exists, however often it is sent and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Who publishes.
    pub publisher: u32,
    /// Which of theirs it is.
    pub number: u32,
}

/// Everything that is judged.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All sessions.
    pub sessions: Vec<Session>,
    /// The logs when everything had come to rest, oldest entry first.
    pub logs: BTreeMap<Topic, Vec<Stored>>,
    /// Since when (microseconds of the recorder's clock) the store may be another than before: a
    /// restart or a failover. Before the first of them no loss is excused.
    pub losses: Vec<u64>,
    /// From when to when a server was gone, replaced, or set back: what it took meanwhile, or shortly
    /// before, may be lost.
    pub outages: Vec<(u64, u64)>,
    /// Topics whose log is so short that clients may be too late.
    pub bounded: BTreeSet<Topic>,
    /// How long a session can be resumed after its connection ended, in microseconds.
    pub resume_window_us: u64,
}

/// An entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its message id.
    pub id: u64,
    /// What was published.
    pub key: Key,
}

/// One session, from its begin to its end.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// In the order in which the client took them.
    pub steps: Vec<Step>,
    /// Whether its client was there until everything had come to rest: only then the end of the
    /// logs must have reached it.
    pub is_whole: bool,
    /// Whether its client names one id on resume although there are several partitions: what it
    /// has of the others may come again.
    pub names_one: bool,
    /// Whether its publishes ask for replicas to confirm, in a store that has some: what is
    /// acknowledged then outlives the loss of a master.
    pub is_replicated: bool,
}

/// Something that the client did or saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Microseconds of the recorder's clock.
    pub at_us: u64,
    /// On which connection.
    pub conn: Conn,
    /// What.
    pub what: What,
}

/// What the client did or saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `ws:connect_ack`: the session began.
    Connected,
    /// The client asked to go on behind these ids, the newest it had of each partition.
    ResumeAsked {
        /// Newest ids, one per partition; none of those that it has nothing of.
        last: Vec<u64>,
    },
    /// `ws:resume_ack`.
    Resumed {
        /// What was said to be gone.
        gaps: Vec<Gap>,
        /// Topics that the session no longer follows.
        dropped: Vec<Topic>,
    },
    /// `ws:resume_failed` with `not_resumable`.
    ResumeFailed,
    /// The client sent a request.
    Asked {
        /// The frame's id.
        id: Arc<str>,
        /// What it asks for.
        request: Request,
    },
    /// The answer to a request.
    Answered {
        /// The frame's id.
        id: Arc<str>,
        /// What was answered.
        answer: Answer,
    },
    /// `topic:message`.
    Message {
        /// Its topic.
        topic: Topic,
        /// Its message id.
        id: u64,
        /// What was published.
        key: Key,
    },
    /// `topic:gap`.
    Gap(Gap),
    /// From here on the client takes nothing more from this connection, and goes on elsewhere.
    Left,
    /// Of several connections that claimed the session at once this one lost it: the client took
    /// nothing that came on it.
    Disowned,
    /// The connection ended, with this close code if there was one.
    Closed {
        /// As the server sent it.
        code: Option<u16>,
    },
}

/// Something of a topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which topic.
    pub topic: Topic,
    /// Why.
    pub reason: Reason,
    /// What is gone lies behind this id …
    pub after: u64,
    /// … and before this one.
    pub before: u64,
}

impl Gap {
    /// Whether it speaks of this message.
    #[must_use]
    pub const fn covers(&self, id: u64) -> bool {
        self.after < id && id < self.before
    }
}

/// Why something is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The log keeps no more.
    Trimmed,
    /// Nothing was published for so long that the log was removed.
    Expired,
    /// The store lost it.
    Rewound,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Follow topics.
    Subscribe(Vec<Topic>),
    /// Follow topics no longer.
    Unsubscribe(Vec<Topic>),
    /// Publish a message.
    Publish {
        /// Where.
        topic: Topic,
        /// What.
        key: Key,
    },
    /// A sign of life.
    Ping,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a ping or an unsubscribe.
    Done,
    /// To a subscribe: the topics that are followed now, each with its newest id.
    Subscribed(Vec<(Topic, u64)>),
    /// To a publish: it is stored.
    Stored {
        /// Under which id.
        id: u64,
    },
    /// Not now, or never.
    Refused {
        /// Which code.
        code: Arc<str>,
    },
}

/// The partition that an id belongs to.
#[must_use]
pub const fn partition_of(id: u64) -> u64 {
    id & 0xf
}
