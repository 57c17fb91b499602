//! Why a connection ends, and what the client is to do next: one table for all dialects.

/// What a client does after a close (protocol.md, codes). Unknown codes: reconnect with backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Stay away: this socket, token or request will not work again.
    Stop,
    /// Come back with backoff and resume.
    Backoff,
    /// Come back at once and resume.
    Resume,
}

macro_rules! closes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $reason:literal, $next:ident;)*) => {
        /// Why the gateway ends a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseReason { $($(#[doc = $doc])* $name,)* }

        impl CloseReason {
            /// All reasons, for tables, metrics and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The WebSocket close code in the Spark dialect.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The text of the close frame (at most 123 bytes).
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// What the client does next.
            #[must_use]
            pub const fn next(self) -> Next {
                match self { $(Self::$name => Next::$next,)* }
            }

            /// What it means, in a sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

closes! {
    /// The client closed and is answered.
    Normal = 1000, "", Stop;
    /// No valid heartbeat in time; the session stays resumable.
    HeartbeatTimeout = 1001, "Heartbeat timeout", Resume;
    /// A frame breaks RFC 6455.
    ProtocolError = 1002, "Protocol error", Stop;
    /// Binary where only text is defined, or the reverse.
    UnsupportedData = 1003, "Unsupported data", Stop;
    /// Text that is not UTF-8.
    InvalidPayload = 1007, "Invalid UTF-8", Stop;
    /// The first frame was wrong, late or refused.
    Policy = 1008, "Policy violation", Stop;
    /// No first frame in time.
    ConnectTimeout = 1008, "Connect timeout", Stop;
    /// First frame neither connect nor resume.
    NotConnected = 1008, "not_connected", Stop;
    /// No valid credential.
    Unauthorized = 1008, "Unauthorized", Stop;
    /// The chat wants a credential (row S4-02).
    NoCredential = 4001, "Authentication required", Stop;
    /// The chat knows no such user (row S4-04).
    UnknownUser = 4003, "User not found", Stop;
    /// The chat cannot say now who it is (row S4-05).
    NotAdmitted = 4004, "Server error", Backoff;
    /// A message over the limit.
    TooLarge = 1009, "Message too large", Stop;
    /// A defect of the gateway.
    Internal = 1011, "Internal error", Backoff;
    /// The node drains: resume on another one.
    Drain = 1012, "Service restart", Resume;
    /// The node cannot take the connection now.
    TryAgain = 1013, "Try again later", Backoff;
    /// Two wrong heartbeat tokens in a row.
    BadHeartbeatToken = 4007, "bad_heartbeat_token", Stop;
    /// The session lives on another connection.
    Superseded = 4009, "superseded", Stop;
    /// The credential ran out during the connection.
    TokenExpired = 4010, "token_expired", Stop;
    /// An operator or a backend ended the session.
    Disconnected = 4011, "disconnected", Stop;
    /// Kept sending faster than allowed.
    RateLimited = 4100, "rate_limited", Backoff;
    /// The peer read nothing for too long.
    WriteTimeout = 4101, "write_timeout", Backoff;
    /// The client speaks a version of its dialect that is not served (row S2-03).
    UnsupportedVersion = 4400, "unsupported version", Stop;
    /// The session's record is gone: connect anew.
    SessionLost = 4200, "session_lost", Resume;
}
