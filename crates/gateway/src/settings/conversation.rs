//! The conversation dialect.

use std::time::Duration;

/// Who answers messages where no backend is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Responder {
    /// Whoever subscribes to the conversation's topic and publishes the response there.
    #[default]
    Client,
    /// The gateway says the same again: to try the dialect without a backend.
    Echo,
}

impl Responder {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Client, Self::Echo];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Echo => "echo",
        }
    }
}

/// What conversations do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSettings {
    /// Majors of the protocol version that are served. Default 1.
    pub versions: Vec<u32>,
    /// How long a message may wait for its response before its client is told. Default 30 s.
    pub response_timeout: Duration,
    /// Who answers where `hooks.message` is not set. Default `client`.
    pub responder: Responder,
    /// Whether clients that are not on this machine must use TLS. Default no.
    pub require_tls: bool,
}

impl Default for ConversationSettings {
    fn default() -> Self {
        Self {
            versions: vec![1],
            response_timeout: Duration::from_secs(30),
            responder: Responder::default(),
            require_tls: false,
        }
    }
}
