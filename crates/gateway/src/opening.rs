//! The beginning of a connection in its trace: the upgrade, then what became of the session.

use std::time::SystemTime;

use sparkway_protocol::TraceContext;
use sparkway_session::Input;

use crate::connection::Connection;
use crate::trace::{Span, SpanKind};

impl Connection {
    /// The upgrade is done. Whether the connection is recorded is decided here; a long life is
    /// never one span.
    pub(crate) fn trace_upgrade(&mut self, parent: Option<TraceContext>) {
        let Some(tracing) = &self.worker.shared.tracing else {
            return;
        };
        let since = SystemTime::now() - self.since.elapsed();
        let Some(upgrade) = tracing.connection(parent, since) else {
            return;
        };
        self.opening = Some(Box::new(upgrade.part("connect", SpanKind::Internal)));
        let mut span = upgrade.end();
        span.attribute("http.request.method", "GET");
        span.attribute("http.response.status_code", 101_u64);
        span.attribute("network.protocol.name", "websocket");
        span.attribute("sparkway.dialect", self.format.dialect());
        tracing.record(span);
    }

    /// Ends the span of the opening with what it came to.
    pub(crate) fn trace_opening(&mut self, input: &Input) {
        if self.opening.is_none() {
            return;
        }
        let finish: fn(&mut Span, &Input) = match input {
            Input::Opened(_) => |span, input| {
                span.attribute("sparkway.resumed", false);
                if matches!(input, Input::Opened(Err(_))) {
                    span.error = Some("unavailable");
                }
            },
            Input::Attached(_) | Input::Claimed(Ok(None) | Err(_)) => resumed,
            _ => return,
        };
        let (Some(tracing), Some(begun)) = (&self.worker.shared.tracing, self.opening.take())
        else {
            return;
        };
        let is_over = !matches!(input, Input::Claimed(_));
        // A client that cannot resume goes on with a new session.
        let next = (!is_over).then(|| Box::new(begun.part("connect", SpanKind::Internal)));
        let mut span = begun.end();
        finish(&mut span, input);
        let trace_id = u128::from_be_bytes(span.context.trace_id());
        let session = self.session.id();
        tracing::debug!(trace_id = %format_args!("{trace_id:032x}"), %session, dialect = self.format.dialect(), "{}", span.name);
        tracing.record(span);
        self.opening = next;
    }
}

fn resumed(span: &mut Span, input: &Input) {
    span.name = "resume".into();
    span.kind = SpanKind::Server;
    match input {
        Input::Attached(Ok(restored)) => {
            span.attribute("sparkway.resumed", true);
            span.attribute("sparkway.resume.replayed", restored.replay_count);
            span.attribute("sparkway.resume.gaps", restored.gaps.len());
        }
        Input::Attached(Err(_)) | Input::Claimed(Err(_)) => span.error = Some("unavailable"),
        _ => span.error = Some("not_resumable"),
    }
}
