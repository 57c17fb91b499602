//! What a session is told.

use sparkway_protocol::event::Rejected;
use sparkway_protocol::{
    CloseReason, Code, Command, Epoch, FrameId, Gap, MessageId, Outcome, Partitions, Refused,
    SessionId, TopicName, UserId,
};

use crate::Cursors;

/// The present, taken once by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, for deadlines.
    pub mono_ms: u64,
    /// Unix milliseconds, for what clients see and for credentials.
    pub unix_ms: u64,
}

/// A verified credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who; `None` when authentication is off or optional and nothing was shown.
    pub user: Option<UserId>,
    /// Serialised grants, opaque here.
    pub grants: Box<str>,
    /// Unix milliseconds at which the credential runs out.
    pub expires_at_ms: Option<u64>,
}

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// None shown where one is needed.
    Missing,
    /// Not genuine, not for us, not valid now.
    Invalid,
    /// It ran out.
    Expired,
    /// The backend that decides said no.
    Denied,
    /// Whoever decides cannot be asked: the same credential may be good in a moment.
    Unavailable,
}

/// Why the store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// Away, or too slow: the same request may be repeated.
    Unavailable,
    /// Stored, but not on enough replicas in time.
    NotReplicated,
    /// The session has another owner.
    Fenced,
    /// The record is gone and could not be written again.
    Gone,
    /// Not asked: the user has as many connections as the node allows.
    Full,
}

/// A session as the store returned it at a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Which.
    pub session: SessionId,
    /// Whose.
    pub user: Option<UserId>,
    /// Serialised grants.
    pub grants: Box<str>,
    /// Unix milliseconds at which the credential runs out.
    pub expires_at_ms: Option<u64>,
    /// Newest generation of the heartbeat token.
    pub generation: u32,
    /// Oldest valid generation.
    pub confirmed: u32,
    /// The epoch that this claim gave.
    pub epoch: Epoch,
    /// How far the client had acknowledged.
    pub cursors: Cursors,
}

/// A session that the store created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its id: the one asked for, moved into the partition of its user.
    pub session: SessionId,
    /// Its first epoch.
    pub epoch: Epoch,
    /// Where live delivery begins, one id per partition that has any.
    pub positions: Vec<MessageId>,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The record.
    pub stored: StoredSession,
    /// Topics that the grants (still) cover.
    pub topics: Vec<TopicName>,
    /// Topics that they do not cover any more.
    pub dropped_topics: Vec<TopicName>,
}

/// What is known when a resumed session's replay begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Messages about to be replayed, as far as known.
    pub replay_count: u64,
    /// What is gone.
    pub gaps: Vec<Gap>,
    /// Where the session stands, one id per partition.
    pub positions: Vec<MessageId>,
}

/// How a subscribe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOutcome {
    /// The result for the client.
    pub granted: Vec<sparkway_protocol::event::Subscribed>,
    /// Refused by grants or limits, with those that the session itself refused.
    pub rejected: Vec<Rejected>,
}

/// What a session is told. Unless said otherwise, each input answers the effect it names.
#[derive(Clone, Debug)]
pub enum Input {
    /// The client asks.
    Command(Command),
    /// The client sent something that is no frame of its dialect.
    Malformed(Refused),
    /// The client sent a frame that its dialect ignores; it counts as one.
    Ignored,
    /// Something arrived: a sign of life in dialects that have no heartbeat of their own.
    Alive,
    /// Answers [`crate::Effect::Authenticate`].
    Authenticated(Result<Identity, AuthFailure>),
    /// Answers [`crate::Effect::Open`].
    Opened(Result<Opened, StoreFailure>),
    /// Answers [`crate::Effect::Claim`]; `None` when the session cannot be resumed. Answers
    /// [`crate::Effect::Open`] in a dialect whose client is found again by what it calls itself:
    /// then the session goes on where its record stands.
    Claimed(Result<Option<Box<Claimed>>, StoreFailure>),
    /// Answers [`crate::Effect::Attach`]: the replay may begin, then follows
    /// [`Input::ReplayDone`].
    Attached(Result<Box<Restored>, StoreFailure>),
    /// Everything missed is queued.
    ReplayDone {
        /// How many messages.
        replayed: u64,
    },
    /// Answers [`crate::Effect::Append`] and [`crate::Effect::Announce`].
    Stored {
        /// The client's frame, if it awaits an answer.
        id: Option<FrameId>,
        /// The id and whether it was stored before; `None` for an announcement.
        result: Result<Option<(MessageId, bool)>, StoreFailure>,
    },
    /// Answers [`crate::Effect::Subscribe`].
    Subscribed {
        /// The client's frame.
        id: Option<FrameId>,
        /// How it ended.
        result: Result<Box<SubscribeOutcome>, StoreFailure>,
    },
    /// Answers [`crate::Effect::Unsubscribe`].
    Unsubscribed {
        /// The client's frame.
        id: Option<FrameId>,
        /// As the client wrote them.
        topics: Vec<Box<str>>,
        /// Whether it is written.
        result: Result<(), StoreFailure>,
    },
    /// Answers [`crate::Effect::Query`].
    Answered {
        /// The client's frame.
        id: Option<FrameId>,
        /// What was found, or why not.
        result: Result<Outcome, Code>,
    },
    /// Answers [`crate::Effect::Reauthenticate`]; grants are applied by the gateway, which names
    /// what they dropped.
    Refreshed {
        /// The client's frame.
        id: Option<FrameId>,
        /// The credential.
        result: Result<Identity, AuthFailure>,
        /// Subscriptions that ended.
        dropped_topics: Vec<TopicName>,
    },
    /// The credential goes on although the client did nothing: a backend said so. Grants are
    /// applied by the gateway, which names what they dropped.
    Renewed {
        /// What holds now; its user is still the same.
        identity: Box<Identity>,
        /// Subscriptions that ended.
        dropped_topics: Vec<TopicName>,
    },
    /// A fenced write of this session was refused, or another node says so: it has a new owner.
    Superseded {
        /// The new owner's epoch.
        epoch: Epoch,
    },
    /// The record was written again after the store lost it, under a raised epoch.
    Reowned {
        /// The session's epoch from now on.
        epoch: Epoch,
    },
    /// The node or an operator ends the connection; the session stays resumable if the reason
    /// says so.
    Disconnect(CloseReason),
    /// The node drains: say so and go on until [`Input::Disconnect`].
    Drain {
        /// Milliseconds after which the client is to come back.
        reconnect_after_ms: u64,
    },
    /// The node wants another heartbeat interval.
    Interval {
        /// Milliseconds.
        heartbeat_interval_ms: u64,
    },
    /// A backend subscribes the session: each topic after an id.
    Enlist(Vec<(TopicName, MessageId)>),
    /// A backend ends subscriptions of the session.
    Delist(Vec<TopicName>),
    /// [`crate::Session::deadline`] has passed.
    Tick,
    /// The connection is gone.
    Ended {
        /// The close code that the client sent, if it sent one.
        client_code: Option<u16>,
    },
}

/// What stays the same for all sessions of a node; handed to every step.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// Times and limits.
    pub settings: &'a crate::SessionSettings,
    /// Heartbeat tokens.
    pub tokens: &'a crate::Tokens,
    /// The layout of the store.
    pub partitions: Partitions,
    /// What the gateway says of itself.
    pub node: &'a sparkway_protocol::NodeId,
    /// Longest message in bytes.
    pub max_message_bytes: u64,
    /// The present.
    pub now: Now,
}
