//! What an operator can set about sessions.

use sparkway_protocol::limits;

/// Times and limits of a session. Milliseconds unless said otherwise.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Between two heartbeats of the client (25 s). Shorter finds dead peers earlier and costs CPU.
    pub heartbeat_interval_ms: u64,
    /// Added to two intervals before a silent connection is closed (5 s, protocol.md).
    pub heartbeat_grace_ms: u64,
    /// How long a session without a connection can be resumed (120 s).
    pub resume_window_ms: u64,
    /// How long a new connection may take to send its first frame (10 s).
    pub connect_timeout_ms: u64,
    /// How often the heartbeat token changes (10 min).
    pub token_rotation_ms: u64,
    /// How long a connection outlives its credential, so that the client can refresh it (10 s).
    pub expiry_grace_ms: u64,
    /// Topics per session (128).
    pub topics_per_session: usize,
    /// Frames per second (50), with `frames_burst` at once (100); 0 switches the limit off.
    pub frames_per_second: u32,
    /// Frames at once.
    pub frames_burst: u32,
    /// Bytes of frames per second, and at once; 0 (the default) switches the limit off.
    pub bytes_per_second: u32,
    /// Bytes at once: at least the longest message.
    pub bytes_burst: u32,
    /// Requests of one connection that wait for their answer at once (256).
    pub publishes_in_flight: usize,
    /// Whether a user may have only one session.
    pub only_one_per_user: bool,
    /// Whether a session survives a close with 1000.
    pub keep_on_close: bool,
    /// How often the node asks the client for a sign of life; none: the client sends heartbeats.
    pub ping_interval_ms: Option<u64>,
    /// So many frames in a row refused for their rate close the connection (200).
    pub refused_in_a_row: u16,
    /// So many malformed frames in a row close the connection; 0 (the default): none do.
    pub malformed_in_a_row: u16,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 25_000,
            heartbeat_grace_ms: 5_000,
            resume_window_ms: 120_000,
            connect_timeout_ms: 10_000,
            token_rotation_ms: 600_000,
            expiry_grace_ms: 10_000,
            topics_per_session: limits::TOPICS_PER_SESSION,
            frames_per_second: 50,
            frames_burst: 100,
            bytes_per_second: 0,
            bytes_burst: 0,
            publishes_in_flight: limits::PUBLISHES_IN_FLIGHT,
            only_one_per_user: false,
            keep_on_close: false,
            ping_interval_ms: None,
            refused_in_a_row: 200,
            malformed_in_a_row: 0,
        }
    }
}
