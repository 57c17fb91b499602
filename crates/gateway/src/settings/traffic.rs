//! Sessions, topics, limits and drain.

use std::time::Duration;

use sparkway_protocol::{Durability, limits};

/// Life of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Time between two heartbeats of a client. Default 25 s: below the idle limit of common
    /// proxies (30 s, 60 s). A session is lost after twice this and 5 s more.
    pub heartbeat_interval: Duration,
    /// How long a session without connection can be resumed. Default 120 s: longer than a deploy or
    /// a tunnel, shorter than what `topics.history_age` keeps.
    pub resume_window: Duration,
    /// How long a new connection may wait with its first frame. Default 10 s.
    pub connect_timeout: Duration,
    /// How often heartbeat tokens are replaced. Default 10 min.
    pub token_rotation: Duration,
    /// Sessions of one user; the oldest gives way to one more. Default none: unlimited. `1` is
    /// single-connection mode; stores offer nothing between the two.
    pub per_user: Option<u32>,
    /// How long a connection outlives its token, so that the client can refresh it. Default 10 s.
    pub expiry_grace: Duration,
    /// Whether a session survives that its client closes with 1000. Default no.
    pub keep_on_close: bool,
    /// Messages that a client may leave unacknowledged before delivery pauses; 0, the default, is
    /// no limit. For clients that acknowledge: one that never does hears this many and no more.
    pub max_unacked: u32,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(25),
            resume_window: Duration::from_mins(2),
            connect_timeout: Duration::from_secs(10),
            token_rotation: Duration::from_mins(10),
            per_user: None,
            expiry_grace: Duration::from_secs(10),
            keep_on_close: false,
            max_unacked: 0,
        }
    }
}

/// Who may subscribe or publish to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whose grants cover it.
    #[default]
    Granted,
    /// Every client, whatever its grants.
    Everyone,
    /// No client; the HTTP API still can.
    Nobody,
    /// Whom the hook `hooks.subscribe` or `hooks.publish` lets, whatever the grants say.
    Hook,
}

impl Access {
    /// All choices.
    pub const ALL: [Self; 4] = [Self::Granted, Self::Everyone, Self::Nobody, Self::Hook];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Everyone => "everyone",
            Self::Nobody => "nobody",
            Self::Hook => "hook",
        }
    }
}

/// What holds for topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Newest entries that a log keeps. Default 1000. 0 keeps none: nothing can be resumed.
    pub history_entries: u32,
    /// How long a log keeps entries. Default 10 min: covers the resume window five times.
    pub history_age: Duration,
    /// Whether clients may ask who is there. Default yes; costs a write per subscription.
    pub presence: bool,
    /// Whether everything published is an announcement that is never kept. Default no.
    pub ephemeral: bool,
    /// How safely a publish is stored before it is acknowledged, unless it asks for more.
    /// Default `stored`.
    pub durability: Durability,
    /// Who may publish. Default `granted`.
    pub publish: Access,
    /// Who may subscribe. Default `granted`.
    pub subscribe: Access,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            history_entries: 1000,
            history_age: Duration::from_mins(10),
            presence: false,
            ephemeral: false,
            durability: Durability::Stored,
            publish: Access::Granted,
            subscribe: Access::Granted,
        }
    }
}

/// Who is in which topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceSettings {
    /// How long a session without connection is still in its topics. Default 30 s: longer than a
    /// reconnect, so that a resume makes nobody leave and come; shorter than the resume window.
    pub grace: Duration,
}

impl Default for PresenceSettings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
        }
    }
}

/// Bounds on what clients may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Longest message in bytes. Default 64 KiB.
    pub message_bytes: usize,
    /// Connections of this node. Default none: what the file descriptor limit allows.
    pub connections: Option<u32>,
    /// Connections of one client address (IPv6: of one /64 network) to this node. Default none:
    /// off, because whole offices share one.
    pub connections_per_address: Option<u32>,
    /// Connections of one user to this node. Default none: off.
    pub connections_per_user: Option<u32>,
    /// How long TLS, and after it the request head, may take. Default 5 s.
    pub handshake_timeout: Duration,
    /// Handshakes that the node begins per second. Default none: off.
    pub handshakes_per_second: Option<u32>,
    /// Handshakes that one client address may begin per second. Default none: off.
    pub handshakes_per_address: Option<u32>,
    /// Frames that one connection may send per second; 0 is unlimited. Default 50.
    pub frames_per_second: u32,
    /// Frames that one connection may send at once after a pause. Default 100.
    pub frames_burst: u32,
    /// Bytes of messages that one connection may send per second, and at once; one whole message
    /// always passes. 0, the default, is unlimited: frames and their size are bounded already.
    pub bytes_per_second: u32,
    /// Publishes and other requests of one connection that wait for their answer; beyond it the
    /// connection is not read. Default 256.
    pub publishes_in_flight: usize,
    /// Deepest nesting of a published payload. Default 64, which is also the most.
    pub nesting_depth: usize,
    /// Fragments of one message. Default 1024: empty ones cost work but no bytes.
    pub fragments_per_message: u32,
    /// Topics of one session. Default 128.
    pub topics_per_session: usize,
    /// Bytes that wait for one connection; beyond it the connection is fed from the log. Default
    /// 256 KiB.
    pub outbox_bytes: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            message_bytes: limits::MESSAGE_BYTES,
            connections: None,
            connections_per_address: None,
            connections_per_user: None,
            handshake_timeout: Duration::from_secs(5),
            handshakes_per_second: None,
            handshakes_per_address: None,
            frames_per_second: 50,
            frames_burst: 100,
            bytes_per_second: 0,
            publishes_in_flight: limits::PUBLISHES_IN_FLIGHT,
            nesting_depth: limits::PAYLOAD_DEPTH,
            fragments_per_message: 1024,
            topics_per_session: limits::TOPICS_PER_SESSION,
            outbox_bytes: limits::OUTBOX_BYTES,
        }
    }
}

/// How the node goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// How long it is unready but still accepts. Default 5 s: load balancers need that long to
    /// notice.
    pub readiness_delay: Duration,
    /// Over how long connections are closed. Default 60 s.
    pub duration: Duration,
    /// Most connections closed per second by all draining nodes together. Default 500.
    pub max_rate: u32,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            readiness_delay: Duration::from_secs(5),
            duration: Duration::from_mins(1),
            max_rate: 500,
        }
    }
}
