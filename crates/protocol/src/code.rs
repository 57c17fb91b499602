//! Why a request was refused: one table drives every dialect, HTTP, the SDKs and the docs.

use std::borrow::Cow;

use crate::FrameId;

/// What the client does about a refusal or a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again: correct it.
    No,
    /// The same request may succeed later (with backoff, or after `retry_after`).
    Yes,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $http:literal, $retry:ident;)*) => {
        /// The code of a refusal: stable text on the wire, HTTP status, whether to retry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            /// All codes, for tables, metrics and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status of the same refusal.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)* }
            }

            /// What it means, in a sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The frame is no frame of this dialect; the message says why.
    Malformed = "malformed", 400, No;
    /// A field has the wrong kind, length or value; the message names it and the limit.
    Invalid = "invalid", 400, No;
    /// The frame's `type` is not known.
    UnknownType = "unknown_type", 400, No;
    /// The first frame was neither `ws:connect` nor `ws:resume`.
    NotConnected = "not_connected", 400, No;
    /// A second `ws:connect` or `ws:resume` on a live session.
    AlreadyConnected = "already_connected", 409, No;
    /// No valid credential.
    Unauthorized = "unauthorized", 401, No;
    /// The credential ran out.
    TokenExpired = "token_expired", 401, No;
    /// The grants do not cover this.
    Forbidden = "forbidden", 403, No;
    /// The heartbeat token is not this session's.
    BadHeartbeatToken = "bad_heartbeat_token", 401, No;
    /// Too much of something: topics, topics per request, in-flight publishes.
    LimitExceeded = "limit_exceeded", 429, No;
    /// Too fast.
    RateLimited = "rate_limited", 429, Yes;
    /// The message is larger than the limit.
    TooLarge = "too_large", 413, No;
    /// No such topic, session or method.
    NotFound = "not_found", 404, No;
    /// The path of an HTTP request does not have its method.
    MethodNotAllowed = "method_not_allowed", 405, No;
    /// What is asked for does not fit what is there now.
    Conflict = "conflict", 409, No;
    /// This gateway, dialect or configuration does not offer it.
    Unsupported = "unsupported", 501, No;
    /// The store cannot answer now: the same request is safe to repeat.
    Unavailable = "unavailable", 503, Yes;
    /// Stored, but not yet on enough replicas: the same request is safe to repeat.
    NotReplicated = "not_replicated", 503, Yes;
    /// The session lives on another connection now.
    Superseded = "superseded", 409, No;
    /// The node is going away.
    Draining = "draining", 503, Yes;
    /// A backend did not answer in time.
    Timeout = "timeout", 504, Yes;
    /// A defect of the gateway; the log of the node has the cause.
    Internal = "internal", 500, Yes;
}

/// A refused request, for the client: no stack traces, no store addresses, no tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The frame it answers.
    pub id: Option<FrameId>,
    /// Which rule.
    pub code: Code,
    /// For a developer: names the field and the limit.
    pub message: Cow<'static, str>,
    /// Milliseconds after which a retry makes sense, where the gateway knows.
    pub retry_after_ms: Option<u64>,
}

impl Refused {
    /// A refusal without an id yet.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            id: None,
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// Names the frame that it answers.
    #[must_use]
    pub fn answering(mut self, id: Option<FrameId>) -> Self {
        self.id = id;
        self
    }
}
