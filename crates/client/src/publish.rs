//! One publish, from its options to its answer.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use sparkway_protocol::{FrameId, MessageId, TopicName};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::encoding::ClientFrame;
use crate::requests::Kind;
use crate::{Client, Error};

/// What the gateway says of a stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its id; `None` for an ephemeral one.
    pub id: Option<MessageId>,
    /// Whether the gateway had it already: an earlier answer was lost on the way.
    pub duplicate: bool,
}

/// Whether the gateway says that it had the message already.
pub(crate) fn is_duplicate(result: &Value) -> bool {
    result
        .get("duplicate")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// A publish that is not sent yet. Awaiting it sends it and waits until it is stored.
#[must_use = "a publish is sent when it is awaited or started"]
pub struct Publish<'a, D: Serialize + ?Sized> {
    pub(crate) client: &'a Client,
    topic: &'a str,
    payload: &'a D,
    id: Option<&'a str>,
    within: Duration,
    is_ephemeral: bool,
    is_replicated: bool,
    excludes_self: bool,
}

impl<D: Serialize + ?Sized> fmt::Debug for Publish<'_, D> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<'a, D: Serialize + ?Sized> Publish<'a, D> {
    pub(crate) const fn new(
        client: &'a Client,
        topic: &'a str,
        payload: &'a D,
        within: Duration,
    ) -> Self {
        Self {
            client,
            topic,
            payload,
            id: None,
            within,
            is_ephemeral: false,
            is_replicated: false,
            excludes_self: false,
        }
    }

    /// Names it: repeated under the same id in the same session, it is stored once. Without a
    /// name the client makes one and keeps it through its own retries.
    pub const fn id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }

    /// Gives up waiting after this long.
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Not kept: whoever is away misses it.
    pub const fn ephemeral(mut self) -> Self {
        self.is_ephemeral = true;
        self
    }

    /// Acknowledged only when replicated.
    pub const fn replicated(mut self) -> Self {
        self.is_replicated = true;
        self
    }

    /// Not back to this client.
    pub const fn exclude_self(mut self) -> Self {
        self.excludes_self = true;
        self
    }

    /// Hands it to the client's task and returns without waiting for the answer: publishes
    /// started one after the other go out in that order.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::Invalid`] (topic or id), [`Error::TimedOut`] when too many
    /// requests were under way for too long, [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Cancel safe: dropped before it returns, nothing is published.
    pub async fn start(self) -> Result<Started, Error> {
        let until = Instant::now() + self.within;
        TopicName::parse(self.topic)
            .map_err(|error| Error::Invalid(format!("topic {error}").into()))?;
        let id = match self.id {
            Some(id) => FrameId::parse(id)
                .map_err(|error| Error::Invalid(format!("id {error}").into()))
                .map(|_| id.to_owned())?,
            None => self.client.ids.next(),
        };
        let frame = ClientFrame {
            kind: "topic:publish",
            id: Some(&id),
            topic: Some(self.topic),
            data: Some(self.payload),
            ephemeral: self.is_ephemeral,
            durability: self.is_replicated.then_some("replicated"),
            exclude_self: self.excludes_self,
        };
        let frame = self.client.options.dial.encoding.encode(&frame)?;
        let handed = self.client.hand_over(id.clone(), frame, Kind::Publish);
        let answer = timeout_at(until, handed)
            .await
            .map_err(|_| Error::TimedOut(self.within))??;
        Ok(Started {
            id,
            answer,
            until,
            within: self.within,
        })
    }
}

impl<'a, D: Serialize + Sync + ?Sized> IntoFuture for Publish<'a, D> {
    type Output = Result<Published, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.start().await?.done().await })
    }
}

/// A publish under way.
#[derive(Debug)]
pub struct Started {
    id: String,
    answer: oneshot::Receiver<Result<Value, Error>>,
    until: Instant,
    within: Duration,
}

impl Started {
    /// Its frame id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits until it is stored.
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::TimedOut`] and [`Error::Uncertain`] when it may or may not be
    /// stored; [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the answer up; the message may be stored.
    pub async fn done(self) -> Result<Published, Error> {
        let result = match timeout_at(self.until, self.answer).await {
            Ok(Ok(result)) => result?,
            Ok(Err(_)) => return Err(Error::Uncertain),
            Err(_) => return Err(Error::TimedOut(self.within)),
        };
        Ok(Published {
            id: result
                .get("id")
                .and_then(Value::as_str)
                .and_then(MessageId::parse),
            duplicate: is_duplicate(&result),
        })
    }
}
