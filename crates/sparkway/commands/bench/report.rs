//! Results, for people and for programs.

use std::io::Write as _;

use serde_json::{Map, Value};

use super::crowd::Crowd;
use super::histogram::Histogram;
use crate::exit::{Exit, Failure, Outcome};

/// One result, built line by line.
#[derive(Debug)]
pub(super) struct Report {
    fields: Vec<(String, Value)>,
    is_clean: bool,
}

impl Report {
    /// A report of this load over these sessions.
    pub(super) fn new(load: &str, crowd: &Crowd) -> Self {
        let mut report = Self {
            fields: Vec::new(),
            is_clean: true,
        };
        report.put("load", load);
        report.put("clients", crowd.clients.len());
        report.must_be_zero("clients_failed", crowd.failed);
        report.latency("connect", &crowd.opened);
        report
    }

    /// A plain figure.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// A rate per second.
    pub(super) fn rate(&mut self, name: &str, count: u64, seconds: f64) {
        let rate = if seconds > 0.0 {
            count as f64 / seconds
        } else {
            0.0
        };
        self.put(name, (rate * 10.0).round() / 10.0);
    }

    /// A figure that makes the load fail when it is not zero.
    pub(super) fn must_be_zero(&mut self, name: &str, count: u64) {
        self.is_clean &= count == 0;
        self.put(name, count);
    }

    /// Percentiles.
    pub(super) fn latency(&mut self, name: &str, histogram: &Histogram) {
        self.put(name, histogram.json());
    }

    /// What the clients saw go wrong: losses, repetitions, disorder.
    pub(super) fn defects(&mut self, crowd: &Crowd) {
        let counts = crowd.counts();
        self.must_be_zero("losses_told", counts.losses);
        self.must_be_zero("duplicates", counts.duplicates);
        self.must_be_zero("reordered", counts.reordered);
        self.must_be_zero("sessions_lost", counts.sessions_lost);
        self.put("connections", counts.connections);
        self.put("retries", counts.retries);
        self.put("publish_duplicates", counts.publish_duplicates);
        self.put("pauses", counts.pauses);
    }

    /// Prints it. The exit code says whether everything that must be zero was.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) fn print(self, is_json: bool) -> Outcome {
        let mut out = std::io::stdout().lock();
        if is_json {
            let fields: Map<String, Value> = self.fields.into_iter().collect();
            writeln!(out, "{}", Value::Object(fields)).map_err(Failure::from)?;
        } else {
            for (name, value) in &self.fields {
                writeln!(out, "{name:<20} {}", line(value)).map_err(Failure::from)?;
            }
        }
        Ok(if self.is_clean {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }
}

/// The fields of percentiles in the order people read them.
const PERCENTILES: [&str; 6] = ["count", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"];

fn line(value: &Value) -> String {
    match value {
        Value::Object(fields) => PERCENTILES
            .iter()
            .filter_map(|name| Some((name, fields.get(*name)?)))
            .map(|(name, value)| match name.strip_suffix("_ms") {
                Some(name) => format!("{name} {value} ms"),
                None => format!("{name} {value}"),
            })
            .collect::<Vec<_>>()
            .join("  "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
