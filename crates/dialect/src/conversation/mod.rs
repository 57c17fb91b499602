//! Conversation (source 2), JSON text frames. `testdata/conversation` holds an example of every
//! frame.
//!
//! # From the client
//! `connect` {`clientId`, `timestamp`, `version`, and perhaps `resume`, `token`} first, then `ping`
//! {`timestamp`} and `message` {`clientId`, `content`, `timestamp`, `messageId`}. A field that is
//! null counts as absent; unknown fields are ignored.
//!
//! # To the client
//! - `connect_confirm` {`clientId`, `conversationId`, `status`, `timestamp`}, `pong` {`timestamp`,
//!   `echo`: what the ping said}, `response` {`messageId`, `content`, `timestamp`}, `error`
//!   {`error`, `timestamp`, and `messageId` where it answers a message}.
//! - What the source has no word for: `reconnect` {`after_ms`} and `token_expiring` {`in`,
//!   seconds}.
//!
//! # The topic
//! A conversation is the topic `conversation:ID`. Messages and responses are kept in it as they
//! stand here, as JSON; whoever answers subscribes to it, or is asked by the gateway, and
//! publishes a `response`. Anything else that is published there reaches the client as a
//! response to a `messageId` that is the message id of the entry. Announcements that are not kept
//! have no form here.

mod decode;
mod encode;
mod payload;
#[cfg(test)]
mod tests;

use sparkway_protocol::{FrameId, TopicName};

pub(crate) use decode::decode;
pub(crate) use encode::{Confirmed, encode};
pub use payload::{answered, response, said};

/// The topic of a conversation is its id behind this.
const PREFIX: &str = "conversation:";
/// The name of the answer to a ping is its timestamp behind this.
const PING: &str = "$ping:";

/// What a connection knows of its client once it said who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// How the client calls itself.
    pub client_id: Box<str>,
    /// Whether it wants its running conversation, not a new one.
    pub resume: bool,
}

/// One connection's side of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The majors of the protocol version that are served.
    pub versions: Vec<u32>,
    /// Set by the client's `connect`.
    pub party: Option<Party>,
    /// Set by the gateway once the conversation is found or begun.
    pub topic: Option<TopicName>,
}

/// The topic of the conversation with this id; `None` when `id` is no part of a topic's name.
#[must_use]
pub fn topic(id: &str) -> Option<TopicName> {
    TopicName::parse(&format!("{PREFIX}{id}")).ok()
}

/// The id of the conversation that is this topic.
#[must_use]
pub fn id_of(topic: &TopicName) -> Option<&str> {
    topic.as_str().strip_prefix(PREFIX)
}

/// The timestamp of a ping, from the name of its answer.
fn echo(id: &FrameId) -> Option<&str> {
    id.as_str()
        .strip_prefix(PING)
        .filter(|echo| !echo.is_empty())
}
