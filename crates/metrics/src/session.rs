//! Sessions, publishes, subscriptions.

use crate::family::{Builder, Counters, FAST, Gauges, Histograms, NETWORK};
use crate::spread::{Dimension, Spread};
use crate::{
    AuthReason, Counter, Gauge, Histogram, Origin, PublishResult, RateScope, ReplaySource,
    ResumeResult, SessionState, Shape, SubscribeResult, Takeover,
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
    pub publishes: Spread<Counters<(Origin, PublishResult)>>,
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
    /// Revocations of tokens that this node knows.
    pub revocations: Gauge,
    /// Sessions of this node that a revocation ended.
    pub revoked_sessions: Counter,
    /// Sessions whose window passed, removed by this node.
    pub expired: Counter,
}

impl SessionMetrics {
    pub(crate) fn new(builder: &mut Builder, shape: &Shape) -> Self {
        let namespaces = Dimension::namespaces(shape);
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
            publishes: builder.counters_by(
                "publishes_total",
                &namespaces,
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
            revocations: builder.gauge(
                "revocations",
                "Revocations of tokens that this node knows and that are not over. The same on all nodes, or a node has lost its store.",
            ),
            revoked_sessions: builder.counter(
                "revoked_sessions_total",
                "Sessions of this node that were ended because their token or user was revoked.",
            ),
            expired: builder.counter(
                "sessions_expired_total",
                "Sessions of any node that this node removed because nobody resumed them within their window. The sum over all nodes counts each once.",
            ),
        }
    }
}
