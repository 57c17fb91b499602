//! Traces.

use std::time::Duration;

use super::{Section, flag, optional_text, ratio, text, time};
use crate::key::{Key, Kind};

pub(super) const TRACING: Section = Section {
    name: "tracing",
    doc: "Traces for an OpenTelemetry collector. The variables `OTEL_*` of the standard count where a key here is not set.",
    keys: &[
        Key {
            name: "tracing.otlp_endpoint",
            doc: "OTLP receiver that speaks protobuf over HTTP. Empty: nothing is traced, unless `OTEL_EXPORTER_OTLP_ENDPOINT` names one.",
            secret: false,
            kind: Kind::Text {
                allowed: "a URL such as `http://collector:4318`, or empty",
                set: |draft, _, text| {
                    let is_url = ["http://", "https://"]
                        .iter()
                        .any(|scheme| text.starts_with(scheme));
                    if !text.is_empty() && !is_url {
                        return Err("begins with neither http:// nor https://".to_owned());
                    }
                    draft.settings.tracing.otlp_endpoint = (!text.is_empty()).then_some(text);
                    Ok(())
                },
            },
            get: |draft, _| optional_text(draft.settings.tracing.otlp_endpoint.as_deref()),
        },
        Key {
            name: "tracing.service_name",
            doc: "What the node calls itself in traces.",
            secret: false,
            kind: Kind::Text {
                allowed: "1 to 128 bytes",
                set: |draft, _, text| {
                    if text.is_empty() || text.len() > 128 {
                        return Err("is empty or longer than 128 bytes".to_owned());
                    }
                    draft.settings.tracing.service_name = text;
                    Ok(())
                },
            },
            get: |draft, _| text(draft.settings.tracing.service_name.as_str()),
        },
        Key {
            name: "tracing.sample_ratio",
            doc: "Share of the publishes that are recorded, where the client has no trace of its own. Failed and slow ones are recorded besides.",
            secret: false,
            kind: Kind::Ratio(|draft, _, value| draft.settings.tracing.sample_ratio = value),
            get: |draft, _| ratio(draft.settings.tracing.sample_ratio),
        },
        Key {
            name: "tracing.connection_ratio",
            doc: "Share of the connections that are recorded, at most 20 per second.",
            secret: false,
            kind: Kind::Ratio(|draft, _, value| draft.settings.tracing.connection_ratio = value),
            get: |draft, _| ratio(draft.settings.tracing.connection_ratio),
        },
        Key {
            name: "tracing.slow",
            doc: "From when on a publish is slow, and recorded in any case.",
            secret: false,
            kind: Kind::Time {
                min: Duration::from_millis(1),
                max: Duration::from_mins(1),
                set: |draft, _, value| draft.settings.tracing.slow = value,
            },
            get: |draft, _| time(draft.settings.tracing.slow),
        },
        Key {
            name: "tracing.record_topic",
            doc: "Whether spans name topics; otherwise only their namespaces.",
            secret: false,
            kind: Kind::Flag(|draft, _, value| draft.settings.tracing.record_topic = value),
            get: |draft, _| flag(draft.settings.tracing.record_topic),
        },
    ],
};
