//! Sessions, publishes, subscriptions.

use crate::family::{Builder, Counters, FAST, Gauges, Histograms, NETWORK};
use crate::{
    AuthReason, Counter, Histogram, Origin, PublishResult, RateScope, ReplaySource, ResumeResult,
    SessionState, SubscribeResult, Takeover,
};

const REPLAYED: &[f64] = &[
    0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 10_000.0,
];

/// What the gateway counts of sessions.
#[derive(Clone, Debug)]
pub struct SessionMetrics {
    /// Sessions of this node.
    pub sessions: Gauges<SessionState>,
    /// Resumes.
    pub resumes: Counters<(ResumeResult, ReplaySource)>,
    /// Seconds from the request to the last replayed frame queued.
    pub resume_duration: Histograms<ReplaySource>,
    /// Messages replayed by a resume.
    pub resume_replayed: Histogram,
    /// Resumes of sessions that still had a connection.
    pub takeovers: Counters<Takeover>,
    /// Writes refused because the session has another owner.
    pub fenced_writes: Counter,
    /// Publishes.
    pub publishes: Counters<(Origin, PublishResult)>,
    /// Seconds from receiving a publish to its ack.
    pub publish_duration: Histograms<Origin>,
    /// Topics asked for.
    pub subscribes: Counters<SubscribeResult>,
    /// Sessions without a valid heartbeat in time.
    pub heartbeat_timeouts: Counter,
    /// Requests refused for being too fast or too many.
    pub rate_limited: Counters<RateScope>,
    /// Refused credentials.
    pub auth_failures: Counters<AuthReason>,
}

impl SessionMetrics {
    pub(crate) fn new(builder: &mut Builder) -> Self {
        Self {
            sessions: builder.gauges(
                "sessions",
                "Sessions of this node with a connection (attached), and those that lost it here and can still be resumed (detached).",
            ),
            resumes: builder.counters(
                "resumes_total",
                "Resumes by result and by where the replay came from. Everything but ok means that a client missed something or began anew.",
            ),
            resume_duration: builder.histograms(
                "resume_duration_seconds",
                NETWORK,
                "Time from the resume request to the last replayed frame queued.",
            ),
            resume_replayed: builder.histogram(
                "resume_replayed_messages",
                REPLAYED,
                "Messages replayed by one resume.",
            ),
            takeovers: builder.counters(
                "session_takeovers_total",
                "Resumes of sessions that still had a connection, by where that one was.",
            ),
            fenced_writes: builder.counter(
                "fenced_writes_total",
                "Writes refused because the session has another owner. Rises when a node was cut off and came back.",
            ),
            publishes: builder.counters(
                "publishes_total",
                "Publishes by who sent them and how they ended.",
            ),
            publish_duration: builder.histograms(
                "publish_duration_seconds",
                FAST,
                "Time from receiving a publish to its ack, the store included.",
            ),
            subscribes: builder.counters(
                "subscribes_total",
                "Topics that were asked for, by result.",
            ),
            heartbeat_timeouts: builder.counter(
                "heartbeat_timeouts_total",
                "Connections closed because no valid heartbeat came in time.",
            ),
            rate_limited: builder.counters(
                "rate_limited_total",
                "Requests refused for being too fast or too many, by what was limited.",
            ),
            auth_failures: builder.counters(
                "auth_failures_total",
                "Refused credentials by reason. Many of signature or algorithm are an attack or a wrong key.",
            ),
        }
    }
}
