//! How a client behaves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::{Backoff, Dial, Observer};

/// A credential on its way; the error text says why there is none.
pub type TokenFuture = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Where credentials for `ws:connect` come from.
#[derive(Clone, Default)]
pub enum TokenSource {
    /// None: for gateways that do not ask.
    #[default]
    Absent,
    /// Always the same.
    Fixed(Arc<str>),
    /// Asked before every `ws:connect`.
    Ask(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

impl TokenSource {
    /// The credential to send now.
    pub(crate) async fn token(&self) -> Result<Option<String>, String> {
        match self {
            Self::Absent => Ok(None),
            Self::Fixed(token) => Ok(Some((**token).to_owned())),
            Self::Ask(ask) => ask().await.map(Some),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Absent => "Absent",
            Self::Fixed(_) => "Fixed",
            Self::Ask(_) => "Ask",
        })
    }
}

/// How a client behaves. The defaults suit an application; load tests set `spread_nodes` and seeds.
#[derive(Clone, Debug)]
pub struct Options {
    /// How sockets are opened; its encoding is the client's.
    pub dial: Dial,
    /// Credentials for `ws:connect`.
    pub token: TokenSource,
    /// Delays between attempts.
    pub backoff: Backoff,
    /// Whether a lost connection is resumed; without it every connection begins a session.
    pub resume: bool,
    /// Whether the first node is chosen at random (else the list is used in order). Every later
    /// attempt takes the next one of the list.
    pub spread_nodes: bool,
    /// Deadline of [`crate::Client::connect`]. Default 30 s.
    pub connect_within: Duration,
    /// Deadline of a request that names none. Default 30 s: it outlives a failover.
    pub answer_within: Duration,
    /// How long the gateway may owe the answer to the first frame or to a heartbeat, and a socket
    /// may refuse to take bytes, before the connection counts as dead. Default 10 s.
    pub silence_within: Duration,
    /// Requests under way at once, 1 to 256; more wait in `publish`. Default 64.
    pub requests_max: usize,
    /// Events that wait for the application in one subscription. When it is full, the topic is
    /// left and taken up again from the log once half of the room is free. Default 1024.
    pub events_max: usize,
    /// Messages after which they are acknowledged. Default 32.
    pub ack_every: u32,
    /// Time after which received messages are acknowledged. Default 1 s.
    pub ack_after: Duration,
    /// Seed of jitter; random when absent.
    pub seed: Option<u64>,
    /// Sees every step on the line.
    pub observer: Option<Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dial: Dial::default(),
            token: TokenSource::Absent,
            backoff: Backoff::default(),
            resume: true,
            spread_nodes: true,
            connect_within: Duration::from_secs(30),
            answer_within: Duration::from_secs(30),
            silence_within: Duration::from_secs(10),
            requests_max: 64,
            events_max: 1024,
            ack_every: 32,
            ack_after: Duration::from_secs(1),
            seed: None,
            observer: None,
        }
    }
}
