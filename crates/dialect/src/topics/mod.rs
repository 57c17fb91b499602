//! Topics (source 1), JSON text frames. `testdata/topics` holds an example of every frame.
//!
//! # From the client
//! `auth` {`token`}, `subscribe` {`topics`, `since`}, `unsubscribe` {`topics`}, `ping`, and
//! `publish` {`topic`, `data`, `messageId`}. `since` is an object of topics and message ids. A
//! field that is null counts as absent; unknown fields are ignored.
//!
//! # To the client
//! - Two answers have no `type`, as in the source: `{"subscribed":[…]}`, with `rejected` where a
//!   topic was refused and `recovered` where `since` was given, and `{"unsubscribed":[…]}`.
//! - `{"published":ID,"messageId":…}` answers a `publish` that carried a `messageId`, which is
//!   also its idempotency key on this connection. Without one nothing answers.
//! - `event` {`topic`, `id`, `data`}; bytes are base64 with `"encoding":"base64"` beside them.
//!   An announcement that is not kept has no `id`.
//! - `pong`, `auth_ok` {`userId`}, `error` {`error`, `code`, and `messageId` of a publish},
//!   `token_expiring` {`in`, seconds}, `reconnect` {`after_ms`}, and `gap` {`topic`, `reason`,
//!   `after`, `before`} where a message of a topic cannot be delivered any more.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use sparkway_protocol::{Command, FrameId};

pub(crate) use decode::decode;
pub(crate) use encode::encode;

/// Names of the answers to frames that carry no name of their own.
mod answer {
    pub(super) const AUTH: &str = "$auth";
    pub(super) const HANDSHAKE: &str = "$handshake";
    pub(super) const SUBSCRIBE: &str = "$subscribe";
    pub(super) const SUBSCRIBE_SINCE: &str = "$since";
    pub(super) const UNSUBSCRIBE: &str = "$unsubscribe";
    pub(super) const PING: &str = "$ping";

    pub(super) const ALL: [&str; 6] = [
        AUTH,
        HANDSHAKE,
        SUBSCRIBE,
        SUBSCRIBE_SINCE,
        UNSUBSCRIBE,
        PING,
    ];

    pub(super) fn id(name: &'static str) -> Option<sparkway_protocol::FrameId> {
        sparkway_protocol::FrameId::parse(name).ok()
    }
}

/// The connect that a handshake with a credential, or without the need of one, stands for.
#[must_use]
pub fn connect() -> Command {
    Command::Connect {
        id: answer::id(answer::HANDSHAKE),
        token: None,
        claimed: None,
    }
}

/// `auth` on a connection that is in use replaces its credential.
#[must_use]
pub fn in_use(command: Command) -> Command {
    match command {
        Command::Connect {
            id,
            token: Some(token),
            ..
        } => Command::Refresh { id, token },
        other => other,
    }
}

/// The `messageId` that a frame id was, if it was one.
fn message_id(id: Option<&FrameId>) -> Option<&str> {
    id.map(FrameId::as_str)
        .filter(|id| !answer::ALL.contains(id))
}
