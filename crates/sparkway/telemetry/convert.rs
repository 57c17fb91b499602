//! The gateway's spans in the terms of OpenTelemetry.

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value as Attribute};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use sparkway_gateway::trace::{Span, SpanKind, TraceContext, Value};

/// What made the spans.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("sparkway-gateway")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The span as it is exported.
pub(super) fn span_data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let mut links = SpanLinks::default();
    links.links = span
        .links
        .iter()
        .map(|link| Link::with_context(place(link, true)))
        .collect();
    let attributes = span
        .attributes
        .into_iter()
        .map(|(name, value)| KeyValue::new(name, attribute(value)));
    SpanData {
        span_context: place(&span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| {
            SpanId::from_bytes(parent.span_id())
        }),
        parent_span_is_remote: span.is_parent_remote,
        span_kind: match span.kind {
            SpanKind::Internal => Kind::Internal,
            SpanKind::Server => Kind::Server,
            SpanKind::Client => Kind::Client,
            SpanKind::Consumer => Kind::Consumer,
        },
        name: span.name,
        start_time: span.start,
        end_time: span.end,
        attributes: attributes
            .chain(span.error.map(|error| KeyValue::new("error.type", error)))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

fn place(context: &TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        if context.is_sampled() {
            TraceFlags::SAMPLED
        } else {
            TraceFlags::default()
        },
        is_remote,
        TraceState::default(),
    )
}

fn attribute(value: Value) -> Attribute {
    match value {
        Value::Word(word) => word.into(),
        Value::Text(text) => text.into(),
        Value::Count(count) => i64::try_from(count).unwrap_or(i64::MAX).into(),
        Value::Flag(flag) => flag.into(),
    }
}
