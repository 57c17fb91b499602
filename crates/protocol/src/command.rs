//! What a client asks, whatever its dialect.

use crate::{FrameId, MessageId, Payload, SessionId, TopicName, TraceContext};

/// How safely a publish is stored before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In the store.
    #[default]
    Stored,
    /// In the store and on its configured number of replicas.
    Replicated,
}

/// How far a resuming client says it has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LastSeen {
    /// It did not say: nothing is replayed.
    #[default]
    Unknown,
    /// One id, of one partition.
    One(MessageId),
    /// The newest id of each partition it heard from.
    Many(Vec<MessageId>),
    /// Something that is no message id: the resume is refused as `bad_message_id`.
    Invalid,
}

/// From where a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// From now on.
    #[default]
    Now,
    /// After this id.
    Id(MessageId),
    /// With the newest n entries (at most [`crate::limits::REWIND_ENTRIES`]).
    Rewind(usize),
}

/// A request to subscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Names as the client wrote them, not yet checked: a bad one is rejected by itself.
    pub topics: Vec<Box<str>>,
    /// Where to start.
    pub since: Since,
    /// Where to start instead in the topics named here.
    pub since_each: Vec<(Box<str>, MessageId)>,
    /// Whether the client asks for join and leave events too.
    pub presence: bool,
    /// Whether the session receives what it publishes itself.
    pub echo: bool,
}

/// What a client's `ackId` named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckId {
    /// A topic message: everything up to it, of its partition, is processed.
    Message(MessageId),
    /// A control frame of the server (`c…`).
    Control(Box<str>),
    /// Neither: ignored and counted.
    Unknown,
}

/// What a client asks, in neutral terms. `id` names the answer, where the client wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin a session.
    Connect {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Credential, if any.
        token: Option<Box<str>>,
        /// Headers that the client claims, for its backend: an object of texts. Never trusted.
        claimed: Option<Payload>,
    },
    /// Take a session up again.
    Resume {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Which; `None` when what the client sent is no session id.
        session: Option<SessionId>,
        /// The heartbeat token that proves ownership.
        heartbeat_token: Box<str>,
        /// How far the client has got.
        last: LastSeen,
    },
    /// Still here.
    Heartbeat {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// The heartbeat token.
        heartbeat_token: Box<str>,
    },
    /// Is anybody there?
    Ping {
        /// Answer to this frame.
        id: Option<FrameId>,
    },
    /// The client processed something.
    Ack {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// What.
        ack: AckId,
    },
    /// A new credential for the running session.
    Refresh {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Credential.
        token: Box<str>,
    },
    /// The client says goodbye before it closes.
    Close {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Whether it means to resume.
        resume: bool,
    },
    /// Receive topics.
    Subscribe {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Which and how.
        request: Subscribe,
    },
    /// No longer receive topics.
    Unsubscribe {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Names as the client wrote them.
        topics: Vec<Box<str>>,
    },
    /// Say something in a topic.
    Publish {
        /// Answer to this frame, and the idempotency key.
        id: Option<FrameId>,
        /// Where. Checked by the dialect already.
        topic: TopicName,
        /// What.
        payload: Payload,
        /// Not kept.
        ephemeral: bool,
        /// How safely.
        durability: Durability,
        /// Not back to this session.
        exclude_self: bool,
        /// Where it stands in the client's trace.
        trace: Option<TraceContext>,
    },
    /// Read a page of a topic's log.
    History {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Which log.
        topic: TopicName,
        /// Only entries after this id.
        after: Option<MessageId>,
        /// Only entries before this id.
        before: Option<MessageId>,
        /// At most so many (1 to [`crate::limits::HISTORY_PAGE`]).
        limit: usize,
        /// Newest first.
        reverse: bool,
    },
    /// Who is there?
    Presence {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Where.
        topic: TopicName,
    },
    /// Call a method of the application's backend.
    Call {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// Its name.
        method: Box<str>,
        /// Its parameters.
        params: Payload,
    },
}

impl Command {
    /// The frame id whose answer the client awaits.
    #[must_use]
    pub const fn id(&self) -> Option<&FrameId> {
        match self {
            Self::Connect { id, .. }
            | Self::Resume { id, .. }
            | Self::Heartbeat { id, .. }
            | Self::Ping { id }
            | Self::Refresh { id, .. }
            | Self::Subscribe { id, .. }
            | Self::Unsubscribe { id, .. }
            | Self::Publish { id, .. }
            | Self::History { id, .. }
            | Self::Presence { id, .. }
            | Self::Ack { id, .. }
            | Self::Close { id, .. }
            | Self::Call { id, .. } => id.as_ref(),
        }
    }
}
