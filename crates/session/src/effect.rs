//! What a session wants carried out.

use sparkway_protocol::{
    CloseReason, Durability, Epoch, Event, FrameId, MessageId, Payload, SessionId, Since,
    TopicName, TraceContext, UserId,
};

use crate::Cursors;

/// A session to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Whose.
    pub user: Option<UserId>,
    /// Serialised grants.
    pub grants: Box<str>,
    /// Unix milliseconds at which the credential runs out.
    pub expires_at_ms: Option<u64>,
    /// The id, made by the gateway when the connection opened.
    pub session: SessionId,
    /// First generation of the heartbeat token.
    pub generation: u32,
}

/// A resumed session to be brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// Where the client stands; `None`: from now on.
    pub positions: Option<Cursors>,
}

/// A message to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// Answer to this frame.
    pub id: Option<FrameId>,
    /// Where.
    pub topic: TopicName,
    /// What.
    pub payload: Payload,
    /// Not back to this session.
    pub exclude_self: bool,
    /// How safely.
    pub durability: Durability,
    /// Name for idempotency; `None`: the gateway makes one.
    pub digest: Option<[u8; 16]>,
    /// Where it stands in the client's trace.
    pub trace: Option<TraceContext>,
}

/// Topics to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// Answer to this frame.
    pub id: Option<FrameId>,
    /// Well-formed names, each once.
    pub topics: Vec<TopicName>,
    /// Refused already.
    pub rejected: Vec<sparkway_protocol::event::Rejected>,
    /// Where to start.
    pub since: Since,
    /// Where to start instead in the topics named here.
    pub since_each: Vec<(Box<str>, MessageId)>,
    /// Whether the session receives what it publishes itself.
    pub echo: bool,
    /// Whether join and leave events are wanted.
    pub presence: bool,
    /// A backend asks: grants do not count.
    pub by_backend: bool,
}

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryRequest {
    /// A page of a log.
    History {
        /// Which log.
        topic: TopicName,
        /// Only entries after this id.
        after: Option<MessageId>,
        /// Only entries before this id.
        before: Option<MessageId>,
        /// At most so many.
        limit: usize,
        /// Newest first.
        reverse: bool,
    },
    /// Who is in a topic.
    Presence {
        /// Which topic.
        topic: TopicName,
    },
    /// A call to the application's backend.
    Call {
        /// Its name.
        method: Box<str>,
        /// Its parameters.
        params: Payload,
    },
}

/// A connection to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// Why.
    pub reason: CloseReason,
    /// Whether the session can be resumed afterwards.
    pub resume: bool,
}

/// What the gateway carries out, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the client.
    Send(Event),
    /// Check a credential; where none is given, what came with the handshake. Answer:
    /// [`crate::Input::Authenticated`].
    Authenticate {
        /// The credential in the frame.
        token: Option<Box<str>>,
        /// What else the client claims of itself.
        claimed: Option<Payload>,
    },
    /// Check a new credential of a live session and apply its grants. Answer:
    /// [`crate::Input::Refreshed`].
    Reauthenticate {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// The credential.
        token: Box<str>,
    },
    /// Create the session. Answer: [`crate::Input::Opened`].
    Open(Box<OpenRequest>),
    /// Check the token and take the session over. Answer: [`crate::Input::Claimed`].
    Claim {
        /// Which; `None`: answer as for an unknown one, after the same time.
        session: Option<SessionId>,
        /// The heartbeat token shown.
        heartbeat_token: Box<str>,
    },
    /// Join the session's topics and read what it missed. Answers: [`crate::Input::Attached`],
    /// later [`crate::Input::ReplayDone`].
    Attach(AttachRequest),
    /// The replay may be queued: `resume_ack` is.
    Replay,
    /// Store a message. Answer: [`crate::Input::Stored`].
    Append(Box<AppendRequest>),
    /// Announce a message that is not kept. Answer: [`crate::Input::Stored`].
    Announce(Box<AppendRequest>),
    /// Join topics. Answer: [`crate::Input::Subscribed`].
    Subscribe(Box<SubscribeRequest>),
    /// Leave topics. Answer: [`crate::Input::Unsubscribed`].
    Unsubscribe {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// As the client wrote them.
        topics: Vec<Box<str>>,
    },
    /// Look something up. Answer: [`crate::Input::Answered`].
    Query {
        /// Answer to this frame.
        id: Option<FrameId>,
        /// What.
        request: Box<HistoryRequest>,
    },
    /// Write new token generations. No answer: a fenced write comes back as
    /// [`crate::Input::Superseded`].
    RememberGenerations {
        /// Newest.
        generation: u32,
        /// Oldest valid.
        confirmed: u32,
    },
    /// The connection is gone: keep the session resumable, with these cursors.
    Detach {
        /// Under which epoch.
        epoch: Epoch,
        /// How far the client has acknowledged.
        cursors: Cursors,
    },
    /// The session is over.
    End {
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Close the connection, after what is queued.
    Close(CloseRequest),
    /// Something worth counting happened.
    Count(Counted),
}

/// Facts that the gateway counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// An ack named nothing known.
    UnknownAck,
    /// No heartbeat in time.
    HeartbeatTimeout,
    /// A frame over the rate.
    FrameRateLimited,
    /// A frame over the rate of bytes.
    ByteRateLimited,
    /// A wrong heartbeat token.
    BadHeartbeatToken,
}
