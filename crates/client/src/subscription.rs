//! What the application receives: messages, and everything it must know about missing ones.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sparkway_protocol::MessageId;
use tokio::sync::mpsc;

use crate::frame::Body;
use crate::{Client, Error};

/// One message of a topic.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its id, the same for every receiver; `None` for an ephemeral one.
    pub id: Option<MessageId>,
    /// The user who published it, as the gateway knows him.
    pub from: Option<Box<str>>,
    /// When it was published, in Unix milliseconds.
    pub ts: Option<u64>,
    /// Whether it came as part of a replay after a resume.
    pub replayed: bool,
    /// Whether the payload is binary and stands here as base64 text.
    pub is_base64: bool,
    pub(crate) body: Body,
}

impl Message {
    /// The payload as a value. Parsed at each call.
    #[must_use]
    pub fn data(&self) -> Value {
        self.body.value()
    }

    /// The payload as JSON text, verbatim where the client speaks JSON.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        self.body.text()
    }

    /// The payload as a type of the application.
    ///
    /// # Errors
    /// Says where the payload differs from the type; the caller decides what a foreign message means.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.body.parse()
    }
}

/// Why messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// Cut off by the bound on entries.
    Trimmed,
    /// Older than the replay window.
    Expired,
    /// The store lost its newest writes.
    Rewound,
    /// The gateway could not give everything since the id it was asked for.
    NotRecovered,
    /// A reason this client does not know.
    Unknown,
}

impl LossReason {
    pub(crate) fn read(word: &str) -> Self {
        match word {
            "trimmed" => Self::Trimmed,
            "expired" => Self::Expired,
            "rewound" => Self::Rewound,
            _ => Self::Unknown,
        }
    }
}

/// Messages of a topic that exist or existed and will not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which topic.
    pub topic: Arc<str>,
    /// Why.
    pub reason: LossReason,
    /// The last id before the hole, where known.
    pub after: Option<MessageId>,
    /// The first id after the hole, where known.
    pub before: Option<MessageId>,
}

/// What a subscription brings.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message.
    Message(Message),
    /// Messages are gone for good. Never sent when everything could be recovered.
    Loss(Loss),
    /// Somebody came (only with [`Subscribe::presence`]).
    Joined {
        /// Where.
        topic: Arc<str>,
        /// `user` and `info`, as the gateway sent them.
        who: Value,
    },
    /// Somebody went.
    Left {
        /// Where.
        topic: Arc<str>,
        /// `user` and `info`, as the gateway sent them.
        who: Value,
    },
    /// The gateway ended this topic for this client: nothing more comes from it.
    Ended {
        /// Which topic.
        topic: Arc<str>,
        /// Code of the protocol's table.
        code: Box<str>,
    },
}

/// From where a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// From now on.
    #[default]
    Now,
    /// After this id.
    Since(MessageId),
    /// With the newest n messages (at most 1000).
    Rewind(u32),
}

/// How topics are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subscribe {
    /// From where.
    pub start: Start,
    /// Whether joins and leaves come too.
    pub presence: bool,
    /// Whether this client receives what it publishes itself.
    pub echo: bool,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self {
            start: Start::Now,
            presence: false,
            echo: true,
        }
    }
}

/// A topic that the gateway refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub topic: Box<str>,
    /// Code of the protocol's table.
    pub code: Box<str>,
}

/// The refused topics in the result of a subscribe.
pub(crate) fn rejected(result: &Value) -> Vec<Rejected> {
    let list = result.get("rejected").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|refused| {
            Some(Rejected {
                topic: refused.get("topic")?.as_str()?.into(),
                code: refused.get("code")?.as_str()?.into(),
            })
        })
        .collect()
}

/// The events of some topics, in order. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) client: Client,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) rejected: Vec<Rejected>,
}

impl Subscription {
    /// The next event; `None` once the client is closed for good and nothing waits any more.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next message, past all other events; `None` as for [`Subscription::next`].
    ///
    /// # Cancel safety
    /// Cancel safe: no message is lost; other events before it may be.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            if let Event::Message(message) = self.next().await? {
                return Some(message);
            }
        }
    }

    /// An event that waits already.
    pub fn take(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// The topics followed.
    #[must_use]
    pub fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// The topics that were asked for and refused.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// Ends the subscription; events that wait already are dropped.
    ///
    /// # Errors
    /// As every request; the subscription is over on this side all the same.
    ///
    /// # Cancel safety
    /// Cancel safe: the subscription is over in any case.
    pub async fn unsubscribe(self) -> Result<(), Error> {
        self.client.unsubscribe(self.topics).await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(cx)
    }
}
