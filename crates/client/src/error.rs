//! What can go wrong, by what the caller does next.

use std::time::Duration;

/// Why a request, or the whole client, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The gateway refused the request for good: correct it.
    #[error("refused: {code}: {message}")]
    Refused {
        /// Code of the protocol's table.
        code: Box<str>,
        /// What the gateway says of it.
        message: Box<str>,
    },
    /// No answer in time. A publish may or may not be stored; repeating it with the same id
    /// ([`crate::Publish::id`]) on this client is safe.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The session was lost while the request was under way: it may or may not have been carried
    /// out, and the new session cannot tell. The caller decides whether to repeat it.
    #[error("the session was lost before the answer: the request may have been carried out")]
    Uncertain,
    /// The gateway ended the session for good, or the client was closed.
    #[error("closed: {} {reason}", .code.map_or_else(|| "no code".to_owned(), |code| code.to_string()))]
    Closed {
        /// Close code, where the gateway sent one.
        code: Option<u16>,
        /// Its text.
        reason: Box<str>,
    },
    /// The credential source failed or what it gave was refused.
    #[error("authentication failed: {0}")]
    Auth(Box<str>),
    /// No node answered in time.
    #[error("unreachable: {0}")]
    Unreachable(Box<str>),
    /// The value has no form in the encoding of this client.
    #[error("cannot be encoded: {0}")]
    Encode(String),
    /// An argument breaks a rule of the protocol; the text names it and the limit.
    #[error("invalid: {0}")]
    Invalid(Box<str>),
    /// Another subscription of this client has the topic.
    #[error("topic {0} is subscribed already by this client")]
    AlreadySubscribed(Box<str>),
}

impl Error {
    /// Whether the credential is the cause.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        match self {
            Self::Auth(_) => true,
            Self::Refused { code, .. } => {
                matches!(&**code, "unauthorized" | "token_expired" | "forbidden")
            }
            Self::Closed { code, reason } => {
                *code == Some(4010) || (*code == Some(1008) && &**reason == "Unauthorized")
            }
            Self::TimedOut(_)
            | Self::Uncertain
            | Self::Unreachable(_)
            | Self::Encode(_)
            | Self::Invalid(_)
            | Self::AlreadySubscribed(_) => false,
        }
    }
}

/// Why a WebSocket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be used; the text says why.
    #[error("bad url: {0}")]
    Url(Box<str>),
    /// The node could not be reached.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    /// No TLS with this node.
    #[error("tls: {0}")]
    Tls(Box<str>),
    /// The node answered with something else than 101.
    #[error("refused with HTTP {status}")]
    Http {
        /// Its status.
        status: u16,
        /// Its `Retry-After`, where it sent one in seconds.
        retry_after: Option<Duration>,
        /// Start of its body.
        body: Box<str>,
    },
    /// The node broke the WebSocket handshake.
    #[error("handshake: {0}")]
    Handshake(Box<str>),
    /// Not open in time.
    #[error("not open within {0:?}")]
    TimedOut(Duration),
}
