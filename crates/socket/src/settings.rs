//! Limits of this station, with unit, default and reason.

use std::time::Duration;

use sparkway_protocol::limits;

/// Limits of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Longest message, in bytes, over all its fragments; also the longest frame. Default 64 KiB.
    pub message_bytes: usize,
    /// Bytes asked from the socket at once, and the buffer an idle connection keeps. Default 512:
    /// larger ones dominate the memory of idle connections.
    pub read_buffer_bytes: usize,
    /// Most fragments of one message. Default 1,024: empty fragments cost work but no bytes.
    pub fragments: u32,
    /// Whether the client may send deflated messages. Default no: it was not agreed.
    pub deflate: bool,
    /// Events handed out before the answers to them are written and other tasks run. Default 32.
    pub events_per_turn: u8,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            message_bytes: limits::MESSAGE_BYTES,
            read_buffer_bytes: 512,
            fragments: 1024,
            deflate: false,
            events_per_turn: 32,
        }
    }
}

/// Limits of the listener and of everything before a connection is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptSettings {
    /// From the accept to the end of the TLS handshake, and again to the end of the request
    /// head. Default 5 s.
    pub handshake_deadline: Duration,
    /// Most connections of one accept loop that are not yet upgraded; for a further one the oldest
    /// gives way. Default 1,024.
    pub handshakes: usize,
    /// Longest request head, in bytes. Default 8 KiB.
    pub header_bytes: usize,
    /// Longest pause after a failed accept. Default 50 ms.
    pub accept_backoff: Duration,
    /// Longest body of a plain HTTP request, in bytes. Default 64 KiB.
    pub body_bytes: usize,
}

impl Default for AcceptSettings {
    fn default() -> Self {
        Self {
            handshake_deadline: Duration::from_secs(5),
            handshakes: 1024,
            header_bytes: 8 * 1024,
            accept_backoff: Duration::from_millis(50),
            body_bytes: limits::MESSAGE_BYTES,
        }
    }
}
