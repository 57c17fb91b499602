//! The load generator: holds thousands of connections on one thread, and checks that every
//! message comes once and in order.
//!
//! One line of JSON on stdout is the result. Exit code 1: a message was lost, repeated or strayed,
//! or a connection dropped.

mod crowd;
mod histogram;
mod measure;
mod payload;
mod peer;
mod speech;
mod tally;
mod wire;
mod workload;

use std::fmt::{self, Display};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser};
use serde_json::{Map, Value};

use crate::speech::Speech;
use crate::workload::Workload;

/// What the command line says.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    workload: Workload,
}

/// The server under test.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Where it listens; client i goes to address i modulo their number
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:8000")]
    address: Vec<SocketAddr>,
    /// Path of the WebSocket
    #[arg(long, default_value = "/ws")]
    path: String,
    /// What it speaks
    #[arg(long, value_enum, default_value = "spark")]
    speech: Speech,
    /// Processes whose CPU time and memory count
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Those of them whose CPU time is also told apart, such as the store's
    #[arg(long, value_delimiter = ',')]
    apart: Vec<u32>,
    /// Messages after which a client acknowledges, or after a second; 0 is never. As the clients
    /// of this repository do it
    #[arg(long, default_value_t = 256)]
    ack_every: u32,
    /// Silent topics that each client subscribes to besides its own
    #[arg(long, default_value_t = 0)]
    more_topics: u32,
    /// Subscribe behind the greeting, without waiting for its answer
    #[arg(long)]
    at_once: bool,
    /// Bytes of a payload, at least 36
    #[arg(long, default_value_t = 128)]
    size: usize,
}

/// Why a load did not come to its end.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A result and whether everything came as it should.
pub(crate) type Outcome = Result<(Map<String, Value>, bool), Failure>;

fn main() -> ExitCode {
    let Cli { target, workload } = Cli::parse();
    match workload.run(&target) {
        Ok((fields, is_clean)) => {
            let printed = writeln!(std::io::stdout(), "{}", Value::Object(fields));
            if is_clean && printed.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "bench-load: {failure}");
            ExitCode::FAILURE
        }
    }
}
