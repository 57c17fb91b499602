//! Sessions: who is there, how far they have got, and their end.

use sparkway_protocol::{CloseReason, NodeId, Partition, UserId};
use sparkway_store::SessionRecord;
use sparkway_store::directory::{SessionQuery, SessionsOf};

use crate::answer::{Answered, Reply};
use crate::call::{Call, no_session};
use crate::pages::{Cursor, Turn, walk};
use crate::problem::Problem;
use crate::shape::{shapes, words};

/// Sessions of a user that one request ends at most; it says when there are more.
const OF_USER_MAX: usize = 1000;

shapes! {
    /// A page of sessions.
    Sessions {
        /// Those that fit what was asked for.
        items: Vec<Summary>,
        /// `cursor` of the next page; missing at the end. A page may hold less than was asked for, also nothing, and still go on.
        next: Option<String>,
    }

    /// A session in a listing.
    SessionSummary {
        /// Its id.
        session: String,
        /// Whose it is.
        user: Option<String>,
        /// The node that serves it, or served it last.
        node: String,
        /// Whether it has a connection.
        state: SessionState,
        /// What its client speaks.
        dialect: String,
        /// Topics that it receives.
        topics: u64,
        /// Bytes that wait for its client. Known only of sessions of the asked node.
        queue_bytes: Option<u64>,
    }

    /// A session.
    SessionDetails {
        /// Its id.
        session: String,
        /// Whose it is.
        user: Option<String>,
        /// The node that serves it, or served it last.
        node: String,
        /// Whether it has a connection.
        state: SessionState,
        /// What its client speaks.
        dialect: String,
        /// When its credential runs out, in Unix milliseconds.
        expires_at: Option<u64>,
        /// How often it changed its owner.
        epoch: u64,
        /// What it receives.
        subscriptions: Vec<Subscribed>,
        /// How far it has got in each partition of its topics, and how far the partition is.
        positions: Vec<Position>,
        /// Bytes that wait for its client. Known only of sessions of the asked node.
        queue_bytes: Option<u64>,
    }

    /// A topic that a session receives.
    Subscribed {
        /// Its name.
        topic: String,
        /// Messages up to this id are not for the session.
        start: String,
    }

    /// How far a session has got.
    Position {
        /// Which partition.
        partition: u64,
        /// What its client has acknowledged, as last stored; missing when nothing was.
        acknowledged: Option<String>,
        /// The newest id given in the partition.
        head: String,
    }

    /// How to end a session.
    Disconnect {
        /// Whether its client is to come back at once, with a new session. Usually it stays away.
        reconnect: Option<bool>,
    }

    /// How many sessions were ended.
    Ended {
        /// So many.
        sessions: u64,
        /// Whether the user may have more: ask again.
        more: bool,
    }
}

/// The name under which listings use it.
pub(crate) type Summary = SessionSummary;

words! {
    /// Whether a session has a connection.
    SessionState {
        /// It has.
        Attached = "attached",
        /// It can be resumed.
        Detached = "detached",
    }
}

fn state_of(record: &SessionRecord) -> SessionState {
    if record.attached {
        SessionState::Attached
    } else {
        SessionState::Detached
    }
}

fn summary(call: &Call, record: &SessionRecord) -> Summary {
    Summary {
        session: record.session.to_string(),
        user: record.user.as_ref().map(ToString::to_string),
        node: record.owner.to_string(),
        state: state_of(record),
        dialect: record.format.dialect().to_owned(),
        topics: record.subscriptions.len() as u64,
        queue_bytes: call.desk.queue_bytes(record.session),
    }
}

/// What a listing of sessions is to hold.
struct Wanted {
    of: SessionsOf,
    user: Option<UserId>,
    node: Option<NodeId>,
    state: Option<SessionState>,
    topic: Option<String>,
}

impl Wanted {
    fn read(call: &Call) -> Result<Self, Problem> {
        let user = call.query("user").map(UserId::parse).transpose();
        let user = user.map_err(|rule| Problem::invalid(format!("user: {rule}")))?;
        let node = call.query("node").map(NodeId::parse).transpose();
        let node = node.map_err(|rule| Problem::invalid(format!("node: {rule}")))?;
        let state = match call.query("state") {
            None => None,
            Some("attached") => Some(SessionState::Attached),
            Some("detached") => Some(SessionState::Detached),
            Some(_) => return Err(Problem::invalid("state: is neither attached nor detached")),
        };
        // The narrowest index; the rest is looked at one by one.
        let of = match (&user, &node, state) {
            (Some(user), ..) => SessionsOf::User(user.clone()),
            (None, Some(node), _) => SessionsOf::Node(node.clone()),
            (None, None, Some(SessionState::Detached)) => SessionsOf::Detached,
            (None, None, Some(SessionState::Attached) | None) => SessionsOf::All,
        };
        Ok(Self {
            of,
            user,
            node,
            state,
            topic: call.query("topic").map(str::to_owned),
        })
    }

    fn fits(&self, record: &SessionRecord) -> bool {
        self.user
            .as_ref()
            .is_none_or(|user| record.user.as_ref() == Some(user))
            && self.node.as_ref().is_none_or(|node| record.owner == *node)
            && self.state.is_none_or(|state| state_of(record) == state)
            && self.topic.as_ref().is_none_or(|topic| {
                let mut held = record.subscriptions.iter();
                held.any(|held| held.topic.as_str() == topic)
            })
    }
}

/// `GET /v1/sessions`.
pub(crate) async fn list(call: Call) -> Answered {
    let wanted = Wanted::read(&call)?;
    let cursor = Cursor::read(call.query("cursor"))?;
    let (store, of) = (call.desk.store().clone(), wanted.of.clone());
    let read = move |turn: Turn| {
        let store = store.clone();
        let query = SessionQuery {
            of: of.clone(),
            after: turn.after,
            limit: turn.limit,
        };
        Box::pin(async move { store.sessions(turn.partition, query).await }) as _
    };
    let keep = |record: SessionRecord| wanted.fits(&record).then(|| summary(&call, &record));
    let (items, next) = walk(call.desk.layout(), cursor, call.limit()?, read, keep).await?;
    Reply::ok(&Sessions { items, next })
}

/// `GET /v1/sessions/{session}`.
pub(crate) async fn show(call: Call) -> Answered {
    let store = call.desk.store();
    let record = store.load(call.session()?).await?.ok_or_else(no_session)?;
    let layout = call.desk.layout();
    let mut partitions: Vec<Partition> = record
        .subscriptions
        .iter()
        .map(|held| layout.of(held.topic.as_str()))
        .collect();
    partitions.sort_unstable_by_key(|partition| partition.get());
    partitions.dedup();
    let mut positions = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let mut cursors = record.cursors.iter();
        let acknowledged = cursors.find(|id| id.partition() == partition);
        positions.push(Position {
            partition: u64::from(partition.get()),
            acknowledged: acknowledged.map(ToString::to_string),
            head: store.clock(partition).await?.to_string(),
        });
    }
    let short = summary(&call, &record);
    let subscriptions = record.subscriptions.iter().map(|held| Subscribed {
        topic: held.topic.to_string(),
        start: held.start.to_string(),
    });
    Reply::ok(&SessionDetails {
        session: short.session,
        user: short.user,
        node: short.node,
        state: short.state,
        dialect: short.dialect,
        expires_at: record.expires_at_ms,
        epoch: record.epoch.0,
        subscriptions: subscriptions.collect(),
        positions,
        queue_bytes: short.queue_bytes,
    })
}

/// `DELETE /v1/sessions/{session}`.
pub(crate) async fn disconnect(call: Call) -> Answered {
    let session = call.session()?;
    let reason = reason(&call)?;
    if !call.desk.store().remove(session, reason).await? {
        return Err(no_session());
    }
    Ok(Reply::nothing())
}

/// `POST /v1/users/{user}/disconnect`.
pub(crate) async fn disconnect_user(call: Call) -> Answered {
    let reason = reason(&call)?;
    let (records, more) = of_user(&call, call.user()?).await?;
    let mut sessions = 0;
    for record in records {
        if call.desk.store().remove(record.session, reason).await? {
            sessions += 1;
        }
    }
    Reply::ok(&Ended { sessions, more })
}

fn reason(call: &Call) -> Result<CloseReason, Problem> {
    let how: Disconnect = call.json_or(Disconnect { reconnect: None })?;
    Ok(if how.reconnect == Some(true) {
        CloseReason::SessionLost
    } else {
        CloseReason::Disconnected
    })
}

/// The sessions of a user, and whether there are more than one request handles.
pub(crate) async fn of_user(
    call: &Call,
    user: UserId,
) -> Result<(Vec<SessionRecord>, bool), Problem> {
    let (store, of) = (call.desk.store().clone(), SessionsOf::User(user));
    let read = move |turn: Turn| {
        let store = store.clone();
        let query = SessionQuery {
            of: of.clone(),
            after: turn.after,
            limit: turn.limit,
        };
        Box::pin(async move { store.sessions(turn.partition, query).await }) as _
    };
    let begin = Cursor::read(None)?;
    let (found, next) = walk(call.desk.layout(), begin, OF_USER_MAX, read, Some).await?;
    Ok((found, next.is_some()))
}
