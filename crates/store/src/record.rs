//! What the store is given and gives back.

use std::sync::Arc;

use sparkway_protocol::{
    Durability, Entry, Epoch, Format, MessageId, NodeId, Payload, SessionId, TopicName,
    TraceContext, UserId,
};

/// How much of a log is kept: the replay window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At least the newest so many entries, while young enough.
    pub entries: u32,
    /// Milliseconds after which an entry may go.
    pub age_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            entries: 1000,
            age_ms: 600_000,
        }
    }
}

/// One message to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Its topic, of the partition named in the call.
    pub topic: TopicName,
    /// What it says.
    pub payload: Payload,
    /// The publishing user.
    pub from: Option<UserId>,
    /// The publishing session.
    pub origin: Option<SessionId>,
    /// Not back to `origin`.
    pub exclude_origin: bool,
    /// Names this publish for ever: the same digest is stored once. The gateway makes one where
    /// the client gave none, since its own retry would otherwise be stored twice.
    pub digest: [u8; 16],
    /// The publish counts only while this session has this epoch.
    pub fence: Option<(SessionId, Epoch)>,
    /// Where it stands in a trace that is recorded: kept with it, so that deliveries can name it.
    pub trace: Option<TraceContext>,
    /// How safely it is stored before it is answered.
    pub durability: Durability,
    /// How much of the log is kept.
    pub retention: Retention,
}

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id.
    pub id: MessageId,
    /// It was stored by an earlier call with the same digest.
    pub duplicate: bool,
}

/// A wish to read forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Which log.
    pub topic: TopicName,
    /// Entries after this id.
    pub after: MessageId,
}

/// A page of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which log.
    pub topic: TopicName,
    /// Entries, in the order asked for.
    pub entries: Vec<Arc<Entry>>,
    /// Whether there may be more in the range.
    pub more: bool,
}

/// A range of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Which log.
    pub topic: TopicName,
    /// Only after this id; [`MessageId::ZERO`] for the beginning.
    pub after: MessageId,
    /// Only before this id, if given.
    pub before: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
    /// Newest first.
    pub reverse: bool,
}

/// An interval of ids that the store may have lost: `after` survived, `before` is the first id
/// given afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The last id that survived.
    pub after: MessageId,
    /// The first id given afterwards.
    pub before: MessageId,
}

/// A subscription as a session record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which topic.
    pub topic: TopicName,
    /// Entries up to this id are not for this subscription.
    pub start: MessageId,
    /// Whether the session receives what it publishes itself.
    pub echo: bool,
    /// Whether join and leave events are wanted.
    pub presence: bool,
    /// Made by a backend: grants are not asked, neither at a resume nor at a refresh.
    pub by_backend: bool,
}

/// A session as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id, which names its partition.
    pub session: SessionId,
    /// Who it belongs to.
    pub user: Option<UserId>,
    /// Serialised grants, opaque to the store.
    pub grants: Box<str>,
    /// Unix time in milliseconds at which the credential runs out, if it does.
    pub expires_at_ms: Option<u64>,
    /// Newest issued generation of the heartbeat token.
    pub generation: u32,
    /// Oldest generation that is still valid: `generation`, or the one before it.
    pub confirmed: u32,
    /// Ownership counter.
    pub epoch: Epoch,
    /// The node that owns it, or owned it last.
    pub owner: NodeId,
    /// Whether a connection serves it.
    pub attached: bool,
    /// Its wire form.
    pub format: Format,
    /// Per partition (at most one id each) how far the client has acknowledged.
    pub cursors: Vec<MessageId>,
    /// What it receives.
    pub subscriptions: Vec<Subscription>,
}

/// Which other sessions of its user a new session ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnlyOne {
    /// None.
    #[default]
    No,
    /// All: one connection per user.
    OfUser,
    /// Those of the same format: one connection per user in a dialect.
    OfDialect,
}

/// A session to create.
#[derive(Clone, Debug)]
pub struct Open {
    /// The record; its epoch is set by the store.
    pub record: SessionRecord,
    /// Which other sessions of the user end.
    pub only_one: OnlyOne,
}

/// A created session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its first epoch.
    pub epoch: Epoch,
    /// Sessions of the same user that were removed.
    pub removed: Vec<SessionId>,
}

/// A session to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub session: SessionId,
    /// The generation of the token the client showed. Valid: the record's `confirmed` and
    /// every later one (the token itself proves that it was issued; the write of a newer one may
    /// have been lost). It becomes `confirmed`, and the next one `generation`.
    pub generation: u32,
    /// The new owner.
    pub node: NodeId,
    /// Makes a repeated claim of one connection recognisable: the second one answers as the first
    /// did and does not raise the epoch again.
    pub nonce: u64,
}

/// A session taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The record as it is now.
    pub record: SessionRecord,
    /// The owner before, when the session was attached.
    pub former_owner: Option<NodeId>,
}

/// Changes to a session. What is `None` or empty stays as it is.
#[derive(Clone, Debug)]
pub struct Remember {
    /// Which.
    pub session: SessionId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Subscriptions to add or to overwrite.
    pub subscribed: Vec<Subscription>,
    /// Subscriptions to remove.
    pub unsubscribed: Vec<TopicName>,
    /// New token generations: (`generation`, `confirmed`). They only rise: what is older than the
    /// record's, because it was repeated behind a later change, leaves them as they are.
    pub generations: Option<(u32, u32)>,
    /// New grants and their expiry.
    pub grants: Option<(Box<str>, Option<u64>)>,
    /// Cursors, one id per partition that moved.
    pub cursors: Vec<MessageId>,
}

impl Remember {
    /// No change yet.
    #[must_use]
    pub const fn nothing(session: SessionId, epoch: Epoch) -> Self {
        Self {
            session,
            epoch,
            subscribed: Vec::new(),
            unsubscribed: Vec::new(),
            generations: None,
            grants: None,
            cursors: Vec::new(),
        }
    }
}

/// A session whose connection is gone.
#[derive(Clone, Debug)]
pub struct Detach {
    /// Which.
    pub session: SessionId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Cursors, one id per partition that moved.
    pub cursors: Vec<MessageId>,
    /// Milliseconds from now until it expires.
    pub window_ms: u64,
}

/// A session that expired, told to exactly one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub session: SessionId,
    /// Whose it was.
    pub user: Option<UserId>,
    /// Whether it was the user's last one.
    pub last_of_user: bool,
}

/// A node's lease, and what it says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeLease {
    /// Which node.
    pub node: NodeId,
    /// Its connections.
    pub connections: u64,
    /// Reconnects per second that it could take over from draining nodes.
    pub spare_accepts_per_second: u32,
    /// It drains.
    pub draining: bool,
}

/// A revocation of tokens, opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Serialised: which tokens. The same text twice is one revocation.
    pub what: Box<str>,
    /// Unix milliseconds at which it is forgotten.
    pub until_ms: u64,
}

impl Revocation {
    /// So many are kept at once: about 10 MB. One more is refused until others are over.
    pub const COUNT_MAX: usize = 100_000;
}
