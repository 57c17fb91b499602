//! Spans to an OpenTelemetry collector, in batches, on a thread of its own.
//!
//! The threads that serve clients put spans into a bounded queue and never wait: a full queue
//! drops, and the gateway counts what was dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use sparkway_gateway::settings::TracingSettings;
use sparkway_gateway::trace::{Span, Spans};
use sparkway_outbound::{Client, OutboundSettings};

use super::convert::{scope, span_data};
use super::standard::Standard;
use super::transport::Transport;
use crate::exit::Failure;

/// How long the end of the process waits for the last export.
const FLUSH: Duration = Duration::from_secs(3);

/// What the exporting thread is told.
enum Told {
    Span(Box<Span>),
    /// Export what there is, then say so and end.
    End(std::sync::mpsc::Sender<()>),
}

/// Takes spans from the nodes of this process and exports them.
pub(crate) struct Exporter {
    queue: SyncSender<Told>,
}

/// The nodes' end of the queue.
#[derive(Debug)]
struct Queue(SyncSender<Told>);

impl std::fmt::Debug for Told {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Span(span) => span.fmt(out),
            Self::End(_) => out.write_str("End"),
        }
    }
}

impl Spans for Queue {
    fn finished(&self, span: Span) -> bool {
        self.0.try_send(Told::Span(Box::new(span))).is_ok()
    }
}

impl Exporter {
    /// Starts exporting, if the settings or the variables of the standard name a receiver;
    /// completes the settings by those variables.
    ///
    /// # Errors
    /// The endpoint cannot be used, or there is no thread.
    pub(crate) fn start(settings: &mut TracingSettings) -> Result<Option<Self>, Failure> {
        let standard = Standard::read(|name| std::env::var(name).ok());
        if !standard.is_on(settings) {
            return Ok(None);
        }
        standard.adjust(settings);
        let exporter = build(settings, &standard)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, told) = sync_channel(standard.queue);
        let worker = Worker {
            told,
            exporter,
            runtime,
            standard,
            failed: 0,
        };
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || worker.run())?;
        Ok(Some(Self { queue }))
    }

    /// Where nodes put their spans.
    pub(crate) fn spans(&self) -> Arc<dyn Spans> {
        Arc::new(Queue(self.queue.clone()))
    }

    /// Exports what is left, for a few seconds at the most. Blocks: call it after the last node
    /// has ended.
    pub(crate) fn flush(self) {
        let (done, is_done) = channel();
        // Waits while the queue is full: as long as the export under way may take.
        if self.queue.send(Told::End(done)).is_err() {
            return;
        }
        if is_done.recv_timeout(FLUSH).is_err() {
            tracing::warn!("the last spans were not exported in time");
        }
    }
}

fn build(settings: &TracingSettings, standard: &Standard) -> Result<SpanExporter, Failure> {
    let client = Client::new(&OutboundSettings {
        requests: 4,
        ..OutboundSettings::default()
    });
    let transport = Transport {
        client: client.map_err(Failure::failed)?,
        deadline: standard.timeout.min(Duration::from_secs(10)),
    };
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(transport)
        .with_protocol(Protocol::HttpBinary);
    if let Some(endpoint) = &settings.otlp_endpoint {
        builder = builder.with_endpoint(traces_of(endpoint));
    }
    let mut exporter = builder.build().map_err(Failure::failed)?;
    let mut resource = Resource::builder();
    if !standard.names_service || settings.service_name != TracingSettings::default().service_name {
        resource = resource.with_service_name(settings.service_name.clone());
    }
    let resource = resource
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
        .build();
    exporter.set_resource(&resource);
    Ok(exporter)
}

/// The path of the standard, unless the endpoint has one.
fn traces_of(endpoint: &str) -> String {
    let bare = endpoint.trim_end_matches('/');
    let rest = bare.split_once("://").map_or(bare, |(_, rest)| rest);
    if rest.contains('/') {
        endpoint.to_owned()
    } else {
        format!("{bare}/v1/traces")
    }
}

/// The exporting thread.
struct Worker {
    told: Receiver<Told>,
    exporter: SpanExporter,
    runtime: tokio::runtime::Runtime,
    standard: Standard,
    /// Spans that were not taken.
    failed: u64,
}

impl Worker {
    fn run(mut self) {
        let scope = scope();
        let mut batch = Vec::new();
        let mut due = Instant::now() + self.standard.delay;
        loop {
            match self
                .told
                .recv_timeout(due.saturating_duration_since(Instant::now()))
            {
                Ok(Told::Span(span)) => {
                    batch.push(span_data(*span, &scope));
                    if batch.len() < self.standard.batch {
                        continue;
                    }
                }
                Ok(Told::End(done)) => {
                    self.export(&mut batch);
                    // Whoever waits may have gone.
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.export(&mut batch),
            }
            self.export(&mut batch);
            due = Instant::now() + self.standard.delay;
        }
    }

    fn export(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = std::mem::take(batch);
        let count = spans.len() as u64;
        let exported = self.runtime.block_on(async {
            tokio::time::timeout(self.standard.timeout, self.exporter.export(spans)).await
        });
        let problem = match exported {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        let before = self.failed;
        self.failed += count;
        // One line each time that the number doubles.
        if before.checked_ilog2() != self.failed.checked_ilog2() {
            tracing::warn!(problem, failed = self.failed, "spans were not exported");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_path_gets_that_of_the_standard() {
        assert_eq!(traces_of("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(traces_of("http://c:4318/"), "http://c:4318/v1/traces");
        assert_eq!(traces_of("https://c/otlp/traces"), "https://c/otlp/traces");
    }
}
