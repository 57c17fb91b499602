//! The one task of a client: keeps a session alive over any number of sockets.
//!
//! `machine` decides and never waits; `run` owns the socket, the clock and the queues.

mod follow;
mod greet;
mod hear;
mod machine;
mod run;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub(crate) use run::spawn;

use crate::Error;
use crate::requests::Request;
use crate::subscription::{Event, Subscribe};

/// Where a client stands.
#[derive(Clone, Debug)]
pub enum Status {
    /// No connection was ever up.
    Connecting,
    /// A session is live.
    Online {
        /// Which connection of this client, counted from 1.
        connection: u64,
        /// The session.
        session: Arc<str>,
        /// The node that serves it.
        node: Arc<str>,
        /// Whether the session is older than this connection.
        resumed: bool,
    },
    /// Between two connections.
    Away {
        /// Attempts since the last live connection.
        attempt: u32,
        /// Why the last one ended, for people.
        why: Arc<str>,
    },
    /// Over for good.
    Closed(Error),
}

/// How a test breaks a connection. The session stays, and is resumed on the next node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A TCP reset: the node notices at once.
    Reset,
    /// The end of the TCP stream without a close frame.
    Fin,
    /// Silence: the socket stays open and nobody reads or writes it any more, until the next cut
    /// or the end of the client.
    HalfOpen,
}

/// What the handle asks of the task.
#[derive(Debug)]
pub(crate) enum Control {
    /// Follow topics.
    Subscribe {
        topics: Vec<Arc<str>>,
        wish: Subscribe,
        events: mpsc::Sender<Event>,
        reply: oneshot::Sender<Result<serde_json::Value, Error>>,
    },
    /// Forget topics.
    Unsubscribe {
        topics: Vec<Arc<str>>,
        reply: oneshot::Sender<Result<serde_json::Value, Error>>,
    },
    /// Break the connection, and stay away for a while.
    Cut {
        cut: Cut,
        away: Duration,
        done: oneshot::Sender<()>,
    },
    /// End the session.
    Close { done: oneshot::Sender<()> },
    /// Vanish without ending the session.
    Abandon { done: oneshot::Sender<()> },
}

/// The task's ends of the queues.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) requests: mpsc::Receiver<Request>,
}
