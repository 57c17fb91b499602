//! What a client is told, whatever its dialect.

use std::sync::Arc;

use crate::{
    CloseReason, Code, Entry, Ephemeral, FrameId, MessageId, NodeId, Payload, PresenceChange,
    Refused, SessionId, TopicName, UserId,
};

/// A wire form of an event: one dialect in one encoding. What is fanned out is encoded once per
/// format, however many connections use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Spark, JSON text frames.
    SparkJson,
    /// Spark, `MessagePack` binary frames.
    SparkMsgPack,
    /// Topics (source 1), JSON.
    Topics,
    /// Conversation (source 2), JSON.
    Conversation,
    /// Broadcast room (source 3), plain text.
    Room,
    /// Chat (source 4), JSON.
    Chat,
}

impl Format {
    /// How many there are; [`Format::index`] is below it.
    pub const COUNT: usize = 6;
    /// All formats, in index order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SparkJson,
        Self::SparkMsgPack,
        Self::Topics,
        Self::Conversation,
        Self::Room,
        Self::Chat,
    ];

    /// The place of this format in an array of [`Format::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The dialect's name in configuration and metrics.
    #[must_use]
    pub const fn dialect(self) -> &'static str {
        match self {
            Self::SparkJson | Self::SparkMsgPack => "spark",
            Self::Topics => "topics",
            Self::Conversation => "conversation",
            Self::Room => "room",
            Self::Chat => "chat",
        }
    }
}

/// Why part of a topic cannot be delivered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Cut off by the bound on entries.
    Trimmed,
    /// Older than the window.
    Expired,
    /// The store lost its newest writes.
    Rewound,
}

impl GapReason {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::Expired => "expired",
            Self::Rewound => "rewound",
        }
    }
}

/// What of a topic is gone for this session: entries with an id in the open interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which topic.
    pub topic: TopicName,
    /// Why.
    pub reason: GapReason,
    /// The last id before the hole that the session has or does not need.
    pub after: MessageId,
    /// The first id after the hole that exists.
    pub before: MessageId,
}

/// How a granted subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Which topic.
    pub topic: TopicName,
    /// The topic's newest id when the subscription began: live delivery follows it.
    pub position: MessageId,
    /// With `since` or `rewind`: whether everything asked for is still there.
    pub recovered: bool,
}

/// A topic that was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// As the client wrote it.
    pub topic: Box<str>,
    /// Which rule.
    pub code: Code,
}

/// What a `ws:ack` to a client's frame carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to add.
    Done,
    /// The publish is stored.
    Published {
        /// Under this id; `None` for an ephemeral one.
        id: Option<MessageId>,
        /// A repetition: the id is the first one's.
        duplicate: bool,
    },
    /// The subscriptions that now hold, and the refused ones.
    Subscribed {
        /// Granted, in the order asked.
        topics: Vec<Subscribed>,
        /// Refused.
        rejected: Vec<Rejected>,
    },
    /// The subscriptions that ended.
    Unsubscribed {
        /// Which, as the client wrote them.
        topics: Vec<Box<str>>,
    },
    /// The new credential holds.
    Refreshed {
        /// Unix time in milliseconds at which it runs out, if it does.
        expires_at_ms: Option<u64>,
        /// Subscriptions that it does not grant any more.
        dropped_topics: Vec<TopicName>,
    },
    /// A page of history.
    History {
        /// Entries in the order asked.
        messages: Vec<Arc<Entry>>,
        /// Whether the page reaches the end of what was asked for, with nothing lost before it.
        complete: bool,
    },
    /// Who is in a topic.
    Presence {
        /// Users, at most as many as fit.
        users: Vec<UserId>,
        /// All of them.
        count: u64,
        /// Whether `users` was cut.
        truncated: bool,
    },
    /// The answer of a backend.
    Called {
        /// What it said.
        result: Payload,
    },
}

/// What the gateway says of itself in `connect_ack` and `resume_ack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session.
    pub session: SessionId,
    /// Its heartbeat token.
    pub heartbeat_token: Box<str>,
    /// Milliseconds between two heartbeats.
    pub heartbeat_interval_ms: u64,
    /// The start position, newest id per partition that is not zero; the first one is what a
    /// client that keeps a single id sends back.
    pub positions: Vec<MessageId>,
    /// This node.
    pub node: NodeId,
    /// Milliseconds during which a lost session can be resumed.
    pub resume_window_ms: u64,
    /// Longest message in bytes.
    pub max_message_bytes: u64,
    /// Who the gateway takes the client for.
    pub user: Option<UserId>,
}

/// Why a session cannot be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResumeFailure {
    /// Unknown, expired, bad token: the same from outside.
    NotResumable,
    /// `last_message_id` is no message id.
    BadMessageId,
    /// The store cannot answer: try again.
    Unavailable,
}

impl ResumeFailure {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotResumable => "not_resumable",
            Self::BadMessageId => "bad_message_id",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What a client is told, in neutral terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session begins.
    Connected {
        /// The frame it answers, if it carried an id.
        id: Option<FrameId>,
        /// Its particulars.
        welcome: Box<Welcome>,
    },
    /// A session goes on.
    Resumed {
        /// The frame it answers, if it carried an id.
        id: Option<FrameId>,
        /// Control id to be acked: the token in it is new.
        control: Box<str>,
        /// Its particulars.
        welcome: Box<Welcome>,
        /// How many messages will be replayed, as far as is known when the replay starts.
        replay_count: u64,
        /// What of the missed messages is gone.
        gaps: Vec<Gap>,
        /// Subscriptions that the grants do not cover any more.
        dropped_topics: Vec<TopicName>,
    },
    /// Everything missed has been sent; live delivery follows.
    ReplayDone {
        /// How many.
        replayed: u64,
    },
    /// The session cannot be resumed; the socket stays open for one connect.
    ResumeFailed {
        /// The frame it answers, if it carried an id.
        id: Option<FrameId>,
        /// Why.
        reason: ResumeFailure,
    },
    /// Heartbeat seen.
    HeartbeatAck {
        /// The frame it answers, if it carried an id.
        id: Option<FrameId>,
        /// Control id, present when something changed and an ack is wanted.
        control: Option<Box<str>>,
        /// A new token.
        updated_token: Option<Box<str>>,
        /// A new interval in milliseconds.
        updated_interval_ms: Option<u64>,
    },
    /// The gateway asks for a sign of life.
    Ping {
        /// Control id to be acked.
        control: Box<str>,
    },
    /// A request was carried out.
    Acked {
        /// Which.
        id: FrameId,
        /// With what result.
        outcome: Outcome,
    },
    /// A request was refused.
    Refused(Refused),
    /// The credential has run out: the connection closes unless it is refreshed.
    Expiring {
        /// Milliseconds until then.
        grace_ms: u64,
    },
    /// The node is going away: come back on another one.
    Drain {
        /// Milliseconds to wait before that.
        reconnect_after_ms: u64,
    },
    /// Last words before a close.
    Closing {
        /// Why.
        reason: CloseReason,
        /// Whether the session can be resumed.
        resume: bool,
        /// Milliseconds to wait before that.
        retry_after_ms: Option<u64>,
    },
    /// A kept message.
    Message(Arc<Entry>),
    /// An announcement.
    Ephemeral(Arc<Ephemeral>),
    /// Somebody came into a topic or left it.
    Presence(Arc<PresenceChange>),
    /// Live delivery lost something that cannot be repaired.
    Gap(Gap),
}
