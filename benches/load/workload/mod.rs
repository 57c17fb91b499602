//! What is done to the server.

mod connect;
mod fanout;
mod idle;
mod storm;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::crowd::Crowd;
use crate::{Outcome, Target, measure};

/// Connections being opened at once where that is not what is measured.
const PARALLEL: usize = 256;

/// What is done to the server.
#[derive(Debug, Subcommand)]
pub(crate) enum Workload {
    /// One message, many receivers, as fast as it goes
    Fanout(fanout::FanoutArgs),
    /// Connections that do nothing: what they cost in memory and CPU
    Idle(idle::IdleArgs),
    /// Handshake, session and subscription, again and again
    Connect(connect::ConnectArgs),
    /// All connections reset at once while messages go on
    Storm(storm::StormArgs),
}

impl Workload {
    /// # Errors
    /// The load could not be carried out.
    pub(crate) fn run(self, target: &Target) -> Outcome {
        match self {
            Self::Fanout(args) => fanout::run(&args, target),
            Self::Idle(args) => idle::run(&args, target),
            Self::Connect(args) => connect::run(&args, target),
            Self::Storm(args) => storm::run(&args, target),
        }
    }
}

/// CPU nanoseconds of server and client since a moment.
#[derive(Debug)]
struct Spent {
    server: u64,
    client: u64,
    apart: u64,
}

impl Spent {
    fn now(target: &Target) -> Self {
        Self {
            server: measure::cpu_ns(&target.pid),
            client: measure::own_cpu_ns(),
            apart: measure::cpu_ns(&target.apart),
        }
    }

    fn since(&self, target: &Target) -> Self {
        let now = Self::now(target);
        Self {
            server: now.server.saturating_sub(self.server),
            client: now.client.saturating_sub(self.client),
            apart: now.apart.saturating_sub(self.apart),
        }
    }
}

/// Numbers with three significant digits or more, but no noise behind them.
fn rounded(value: f64) -> Value {
    if value.abs() >= 1000.0 {
        json!(value.round())
    } else {
        json!((value * 10_000.0).round() / 10_000.0)
    }
}

/// How much of `part` one of `count` takes.
fn per(part: u64, count: u64) -> f64 {
    part as f64 / count.max(1) as f64
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Adds what must be zero, and says whether it was.
fn finished(mut result: Map<String, Value>, crowd: &Crowd) -> (Map<String, Value>, bool) {
    result.extend(crowd.tally.defects());
    (result, crowd.tally.is_clean())
}
