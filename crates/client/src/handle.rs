//! The handle of a client: what an application holds and calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sparkway_protocol::limits;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::Error;
use crate::counts::{Counts, Tally};
use crate::encoding::ClientFrame;
use crate::options::Options;
use crate::publish::Publish;
use crate::requests::{Kind, Request};
use crate::session::{Control, Cut, Queues, Status, spawn};
use crate::subscription::{Subscribe, Subscription, rejected};
use crate::wire::RawMessage;

/// Names frames, each once.
#[derive(Clone, Debug)]
pub(crate) struct FrameIds(Arc<(String, AtomicU64)>);

impl FrameIds {
    fn new() -> Self {
        Self(Arc::new((
            format!("{:08x}-", rand::random::<u32>()),
            AtomicU64::new(1),
        )))
    }

    pub(crate) fn next(&self) -> String {
        format!("{}{}", self.0.0, self.0.1.fetch_add(1, Ordering::Relaxed))
    }
}

/// A session with a gateway, kept alive over any number of connections and nodes.
///
/// Clones are cheap and share the session. When the last clone and the last [`Subscription`] are
/// gone, the session ends as by [`Client::close`].
#[derive(Clone)]
pub struct Client {
    control: mpsc::Sender<Control>,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Status>,
    tally: Arc<Tally>,
    pub(crate) options: Arc<Options>,
    pub(crate) ids: FrameIds,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client")
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to any of `urls` and returns once a session is live.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no node answered within `connect_within`; [`Error::Auth`],
    /// [`Error::Refused`], [`Error::Invalid`] or [`Error::Closed`] when trying again is useless.
    ///
    /// # Cancel safety
    /// Cancel safe: the attempt ends with the future.
    pub async fn connect<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        options: Options,
    ) -> Result<Self, Error> {
        let within = options.connect_within;
        let client = Self::start(urls, options)?;
        let mut status = client.status.clone();
        let is_settled =
            |status: &Status| matches!(status, Status::Online { .. } | Status::Closed(_));
        let Ok(settled) = timeout(within, status.wait_for(is_settled)).await else {
            let why = match &*client.status.borrow() {
                Status::Away { why, .. } => format!("{why} (tried for {within:?})"),
                Status::Connecting | Status::Online { .. } | Status::Closed(_) => {
                    format!("no node answered within {within:?}")
                }
            };
            return Err(Error::Unreachable(why.into()));
        };
        if let Status::Closed(error) = &*settled.map_err(|_| gone())? {
            return Err(error.clone());
        }
        Ok(client)
    }

    /// Makes a client that connects in the background. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no URL, or an option is out of its range.
    pub fn start<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        options: Options,
    ) -> Result<Self, Error> {
        let urls: Arc<[Box<str>]> = urls.into_iter().map(|url| url.as_ref().into()).collect();
        if urls.is_empty() {
            return Err(Error::Invalid("urls: at least one is needed".into()));
        }
        if !(1..=limits::PUBLISHES_IN_FLIGHT).contains(&options.requests_max) {
            let text = format!("requests_max must be 1 to {}", limits::PUBLISHES_IN_FLIGHT);
            return Err(Error::Invalid(text.into()));
        }
        if options.events_max == 0 {
            return Err(Error::Invalid("events_max must be at least 1".into()));
        }
        let options = Arc::new(options);
        let tally = Arc::new(Tally::default());
        let ids = FrameIds::new();
        let (control, control_end) = mpsc::channel(16);
        let (requests, requests_end) = mpsc::channel(16);
        let (status_end, status) = watch::channel(Status::Connecting);
        let queues = Queues {
            control: control_end,
            requests: requests_end,
        };
        spawn(
            urls,
            Arc::clone(&options),
            Arc::clone(&tally),
            ids.clone(),
            (queues, status_end),
        );
        Ok(Self {
            control,
            requests,
            status,
            tally,
            options,
            ids,
        })
    }

    /// Where the client stands; the receiver sees every later state.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What the client has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.read()
    }

    /// Follows topics (1 to 100, none of them followed already).
    ///
    /// # Errors
    /// [`Error::Refused`] when the gateway refused all of them (some: see
    /// [`Subscription::rejected`]), [`Error::AlreadySubscribed`], [`Error::Invalid`],
    /// [`Error::TimedOut`], [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the topics again at their next message.
    pub async fn subscribe<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = T>,
        how: Subscribe,
    ) -> Result<Subscription, Error> {
        let topics: Vec<Arc<str>> = topics
            .into_iter()
            .map(|topic| topic.as_ref().into())
            .collect();
        let (events, events_end) = mpsc::channel(self.options.events_max);
        let (reply, answer) = oneshot::channel();
        let ask = Control::Subscribe {
            topics: topics.clone(),
            wish: how,
            events,
            reply,
        };
        self.tell(ask).await?;
        let result = self
            .await_answer(answer, self.options.answer_within)
            .await?;
        let rejected = rejected(&result);
        let granted: Vec<_> = topics
            .into_iter()
            .filter(|topic| rejected.iter().all(|refused| *refused.topic != **topic))
            .collect();
        match (granted.is_empty(), rejected.first()) {
            (true, Some(refused)) => Err(Error::Refused {
                code: refused.code.clone(),
                message: format!("topic {} is refused", refused.topic).into(),
            }),
            _ => Ok(Subscription {
                events: events_end,
                client: self.clone(),
                topics: granted,
                rejected,
            }),
        }
    }

    pub(crate) async fn unsubscribe(&self, topics: Vec<Arc<str>>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(Control::Unsubscribe { topics, reply }).await?;
        self.await_answer(answer, self.options.answer_within)
            .await
            .map(drop)
    }

    /// Prepares a publish; awaiting it sends it and waits until it is stored.
    pub fn publish<'a, D: Serialize + ?Sized>(
        &'a self,
        topic: &'a str,
        payload: &'a D,
    ) -> Publish<'a, D> {
        Publish::new(self, topic, payload, self.options.answer_within)
    }

    /// Sends any other operation (`topic:history`, `topic:presence`, `ws:refresh`, …) and returns
    /// the `result` of its answer. It is sent again when an answer is lost, but for `rpc:call`.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::TimedOut`], [`Error::Closed`]; [`Error::Uncertain`] for a call
    /// whose answer was lost.
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the operation may be carried out.
    pub async fn request<D: Serialize + ?Sized>(
        &self,
        kind: &str,
        fields: &D,
    ) -> Result<Value, Error> {
        let id = self.ids.next();
        let frame = ClientFrame::new(kind, Some(fields)).named(&id);
        let frame = self.options.dial.encoding.encode(&frame)?;
        let what = if kind == "rpc:call" {
            Kind::Once
        } else {
            Kind::Repeatable
        };
        let started = self.hand_over(id, frame, what).await?;
        self.await_answer(started, self.options.answer_within).await
    }

    /// Gives the running session a new credential, before the old one runs out.
    ///
    /// # Errors
    /// As [`Client::request`].
    ///
    /// # Cancel safety
    /// As [`Client::request`].
    pub async fn refresh(&self, token: &str) -> Result<Value, Error> {
        self.request("ws:refresh", &json!({ "token": token })).await
    }

    /// Breaks the connection as the network might, for tests; the session is resumed on the next
    /// node after `away`. Returns once the connection is broken.
    ///
    /// # Cancel safety
    /// Cancel safe: the cut happens all the same.
    pub async fn cut(&self, cut: Cut, away: Duration) {
        let (done, is_done) = oneshot::channel();
        if self.tell(Control::Cut { cut, away, done }).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Vanishes as a crashed process does: the connection is reset, the session stays behind on
    /// the gateway, and this client is over.
    ///
    /// # Cancel safety
    /// Cancel safe: it happens all the same.
    pub async fn abandon(&self) {
        let (done, is_done) = oneshot::channel();
        if self.tell(Control::Abandon { done }).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Ends the session. Requests under way fail with [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Cancel safe: it happens all the same.
    pub async fn close(&self) {
        let (done, is_done) = oneshot::channel();
        if self.tell(Control::Close { done }).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Waits until the client is over for good, and says why.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) -> Error {
        let mut status = self.status.clone();
        match status
            .wait_for(|status| matches!(status, Status::Closed(_)))
            .await
            .as_deref()
        {
            Ok(Status::Closed(error)) => error.clone(),
            Ok(Status::Connecting | Status::Online { .. } | Status::Away { .. }) | Err(_) => gone(),
        }
    }

    async fn tell(&self, control: Control) -> Result<(), Error> {
        self.control
            .send(control)
            .await
            .map_err(|_| self.why_gone())
    }

    pub(crate) async fn hand_over(
        &self,
        id: String,
        frame: RawMessage,
        kind: Kind,
    ) -> Result<oneshot::Receiver<Result<Value, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let request = Request {
            id: id.into(),
            frame,
            kind,
            reply: Some(reply),
        };
        self.requests
            .send(request)
            .await
            .map_err(|_| self.why_gone())?;
        Ok(answer)
    }

    async fn await_answer(
        &self,
        answer: oneshot::Receiver<Result<Value, Error>>,
        within: Duration,
    ) -> Result<Value, Error> {
        match timeout(within, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.why_gone()),
            Err(_) => Err(Error::TimedOut(within)),
        }
    }

    fn why_gone(&self) -> Error {
        match &*self.status.borrow() {
            Status::Closed(error) => error.clone(),
            Status::Connecting | Status::Online { .. } | Status::Away { .. } => gone(),
        }
    }
}

fn gone() -> Error {
    Error::Closed {
        code: None,
        reason: "the client is over".into(),
    }
}
