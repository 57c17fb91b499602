//! Traces: what is recorded of the way of a message, and of connections.
//!
//! A span is decided on before it exists: without tracing, and for whatever is not sampled, the
//! path of a message costs one comparison. A span is made when what it describes has ended, and
//! goes to whoever composes the node ([`Spans`]); the gateway knows nothing of exporters.
//!
//! The context of a recorded publish is kept with its entry (`tp` in frames, `meta` in logs), so a
//! delivery on any node, now or in a replay, can name it. Topics, users and tokens are in no span
//! but for the topic where the operator asks for it.

mod marks;
mod sampler;
mod span;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sparkway_metrics::{Counters, SpanResult};
use sparkway_protocol::{Entry, MessageId, SessionId, TopicName};
use sparkway_store::Marked;

pub use sparkway_protocol::TraceContext;

use crate::settings::TracingSettings;
use crate::shared::Shared;
use marks::Marks;
pub(crate) use sampler::Sampler;
pub(crate) use span::Begun;
pub use span::{Span, SpanKind, Value};

/// Links of one span at the most.
const LINKS: usize = 32;

/// Takes finished spans. Called on the threads that serve clients: never waits.
pub trait Spans: fmt::Debug + Send + Sync + 'static {
    /// Takes a span; `false` when there is no room for it and it is dropped.
    fn finished(&self, span: Span) -> bool;
}

/// The tracing of one node.
#[derive(Debug)]
pub(crate) struct Tracing {
    spans: Arc<dyn Spans>,
    sampler: Sampler,
    marks: Marks,
    settings: TracingSettings,
    counted: Counters<SpanResult>,
    /// The store is a server of its own, and its calls are calls of Redis.
    is_redis: bool,
    node: Box<str>,
}

/// How a publish ended, for its span.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Published {
    /// Under this id.
    Stored { id: u64, duplicate: bool },
    /// Not, for this reason.
    Failed(&'static str),
}

impl Tracing {
    pub(crate) fn new(
        spans: Arc<dyn Spans>,
        settings: TracingSettings,
        counted: Counters<SpanResult>,
        (node, is_redis): (&str, bool),
    ) -> Self {
        Self {
            spans,
            sampler: Sampler::new(&settings),
            marks: Marks::default(),
            settings,
            counted,
            is_redis,
            node: node.into(),
        }
    }

    /// A publish came in, of a session or a backend, perhaps as part of its trace. `None`: it is
    /// not recorded.
    pub(crate) fn publish(
        &self,
        parent: Option<TraceContext>,
        topic: &TopicName,
        session: Option<SessionId>,
    ) -> Option<Box<Begun>> {
        let is_recorded = self.sampler.publish(parent)
            || (self.marks.cover(topic, session) && self.sampler.forced());
        is_recorded.then(|| Box::new(Begun::new("publish", SpanKind::Server, parent)))
    }

    /// A connection came in, perhaps as part of a client's trace.
    pub(crate) fn connection(
        &self,
        parent: Option<TraceContext>,
        since: SystemTime,
    ) -> Option<Begun> {
        if !self.sampler.connection(parent) {
            return None;
        }
        let mut begun = Begun::new("GET", SpanKind::Server, parent);
        begun.start = since;
        Some(begun)
    }

    /// The publish has ended. One that was not to be recorded is all the same when it failed or
    /// was slow.
    pub(crate) fn published(
        &self,
        begun: Option<Box<Begun>>,
        topic: &TopicName,
        took: Duration,
        how: Published,
    ) {
        let failed = matches!(how, Published::Failed(_));
        let begun = match begun {
            Some(begun) => *begun,
            None if failed || took > self.settings.slow => {
                if !self.sampler.odd() {
                    return;
                }
                let mut late = Begun::new("publish", SpanKind::Server, None);
                late.start = SystemTime::now() - took;
                late
            }
            None => return,
        };
        let namespace = topic.namespace();
        let mut span = begun.end();
        span.name = format!("publish {namespace}").into();
        span.attribute("messaging.system", "sparkway");
        span.attribute("messaging.operation.name", "publish");
        span.attribute("messaging.operation.type", "send");
        span.attribute("messaging.destination.template", namespace.to_owned());
        if self.settings.record_topic {
            span.attribute("messaging.destination.name", topic.as_str().to_owned());
        }
        match how {
            Published::Stored { id, duplicate } => {
                span.attribute("messaging.message.id", id.to_string());
                span.attribute("sparkway.duplicate", duplicate);
            }
            Published::Failed(why) => span.error = Some(why),
        }
        self.record(span);
    }

    /// A batch with this publish was handed to the store.
    pub(crate) fn stored(&self, publish: &Begun, since: SystemTime, messages: usize) {
        let name = if self.is_redis { "EVALSHA" } else { "append" };
        let mut begun = Begun::new(name, SpanKind::Client, Some(publish.context));
        begun.remote = false;
        begun.start = since;
        let mut span = begun.end();
        if self.is_redis {
            span.attribute("db.system.name", "redis");
            span.attribute("db.operation.name", "EVALSHA");
            span.attribute("db.stored_procedure.name", "append");
        }
        span.attribute("db.operation.batch.size", messages);
        self.record(span);
    }

    /// Entries were handed to so many connections at once. They belong to the trace of the first
    /// one that has any, and name the others.
    pub(crate) fn delivered<'a>(
        &self,
        entries: impl Iterator<Item = &'a Arc<Entry>>,
        (since, source): (SystemTime, &'static str),
        fanout: u64,
    ) {
        let mut count = 0_usize;
        let mut links = Vec::new();
        let mut namespace = "";
        for entry in entries {
            count += 1;
            let Some(context) = entry
                .trace
                .as_deref()
                .filter(|context| context.is_sampled())
            else {
                continue;
            };
            if links.is_empty() {
                namespace = entry.topic.namespace();
            }
            if links.len() < LINKS {
                links.push(*context);
            }
        }
        let Some(&first) = links.first() else { return };
        let mut begun = Begun::new("deliver", SpanKind::Consumer, Some(first));
        begun.start = since;
        let mut span = begun.end();
        span.name = format!("deliver {namespace}").into();
        span.links = links;
        span.attribute("messaging.system", "sparkway");
        span.attribute("messaging.operation.name", "deliver");
        span.attribute("messaging.operation.type", "process");
        span.attribute("messaging.batch.message_count", count);
        span.attribute("sparkway.fanout.size", fanout);
        span.attribute("sparkway.source", source);
        self.record(span);
    }

    /// What was missing between an entry and the one before was looked for in the log.
    pub(crate) fn repaired(&self, begun: Begun, after: MessageId, entry: &Entry) {
        let mut span = begun.end();
        span.links.extend(entry.trace.as_deref());
        span.attribute("sparkway.gap.after", after.to_string());
        span.attribute("sparkway.gap.before", entry.id.to_string());
        self.record(span);
    }

    /// Hands a span to whoever takes it.
    pub(crate) fn record(&self, mut span: Span) {
        span.attribute("sparkway.node", String::from(self.node.clone()));
        let result = if self.spans.finished(span) {
            SpanResult::Queued
        } else {
            SpanResult::Dropped
        };
        self.counted.at(result).inc();
    }
}

impl Shared {
    /// Records the publishes of a topic or a session in any case, for so many seconds.
    pub(crate) fn mark(&self, what: Marked, seconds: u16) {
        if let Some(tracing) = &self.tracing {
            tracing.marks.set(what, Duration::from_secs(seconds.into()));
        }
    }
}
