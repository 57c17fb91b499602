//! What is traced.

use std::time::Duration;

/// What is traced, and where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// Where spans go: an OTLP receiver that speaks protobuf over HTTP. Default none: nothing is
    /// traced, and nothing is spent on it.
    pub otlp_endpoint: Option<String>,
    /// What the node calls itself. Default `sparkway`.
    pub service_name: String,
    /// Share of the publishes without a trace of their client that are recorded. Default 0.01:
    /// enough to see what is usual; failed and slow ones are recorded besides.
    pub sample_ratio: f64,
    /// Share of the connections that are recorded, at most 20 per second. Default 0.1.
    pub connection_ratio: f64,
    /// From when on a publish is slow and recorded in any case. Default 250 ms, the target of the
    /// alert on delivery.
    pub slow: Duration,
    /// Whether spans name topics. Default no: names may say whom they are about.
    pub record_topic: bool,
}

impl Default for TracingSettings {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            service_name: "sparkway".to_owned(),
            sample_ratio: 0.01,
            connection_ratio: 0.1,
            slow: Duration::from_millis(250),
            record_topic: false,
        }
    }
}
