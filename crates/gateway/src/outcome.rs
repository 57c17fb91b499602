//! What is counted of a resume, from the request to the last replayed message.

use std::time::Instant;

use sparkway_metrics::{Opening, ReplaySource, ResumeResult, Takeover};
use sparkway_protocol::Format;
use sparkway_session::{Restored, StoreFailure};

use crate::shared::Shared;

/// A resume under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    began: Instant,
    result: ResumeResult,
    source: ReplaySource,
}

impl Resume {
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            result: ResumeResult::Ok,
            source: ReplaySource::None,
        }
    }

    /// It came to nothing.
    pub(crate) fn failed(shared: &Shared, result: ResumeResult) {
        let resumes = &shared.metrics.session.resumes;
        resumes.at((result, ReplaySource::None)).inc();
    }

    /// As [`Resume::failed`], after the session was claimed.
    pub(crate) fn not_attached(shared: &Shared, failure: StoreFailure) {
        let result = match failure {
            StoreFailure::Fenced => ResumeResult::Fenced,
            StoreFailure::Gone => ResumeResult::Unknown,
            StoreFailure::Unavailable | StoreFailure::NotReplicated => ResumeResult::Unavailable,
            StoreFailure::Full => ResumeResult::Error,
        };
        Self::failed(shared, result);
    }

    /// The session had a connection until now.
    pub(crate) fn took_over(shared: &Shared, from: Takeover) {
        shared.metrics.session.takeovers.at(from).inc();
    }

    /// What it found: the answer to the client follows.
    pub(crate) fn found(mut self, restored: &Restored, from_log: bool) -> Self {
        if !restored.gaps.is_empty() {
            self.result = ResumeResult::Trimmed;
        }
        self.source = match (restored.replay_count, from_log) {
            (0, _) => ReplaySource::None,
            (_, true) => ReplaySource::Stream,
            (_, false) => ReplaySource::Ring,
        };
        self
    }

    /// The client has its session again, and everything missed is queued.
    pub(crate) fn done(self, shared: &Shared, format: Format, replayed: u64) {
        let metrics = &shared.metrics.session;
        metrics.resumes.at((self.result, self.source)).inc();
        metrics
            .resume_duration
            .at(self.source)
            .observe(self.began.elapsed().as_secs_f64());
        metrics.resume_replayed.observe(replayed as f64);
        if format != Format::Conversation {
            let opened = &shared.metrics.socket.connections_opened;
            opened.at((format, Opening::Resumed)).inc();
        }
    }
}
