//! `sparkway bench`: load with percentiles, and proof that nothing was lost.

mod conn;
mod crowd;
mod fanout;
mod histogram;
mod publish;
mod report;
mod resume;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::arguments::{Target, bytes, duration, rate};
use crate::exit::{Failure, Outcome};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Open many sessions and hold them
    Conn(conn::ConnArgs),
    /// Publish to topics with many subscribers
    Fanout(fanout::FanoutArgs),
    /// Publish as fast as the gateway acknowledges
    Publish(publish::PublishArgs),
    /// Cut many sessions again and again while messages flow
    Resume(resume::ResumeArgs),
}

/// Options of every load.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// How many sessions
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) clients: u32,
    /// Sessions opened per second at most
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) open_rate: Option<f64>,
    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Options of loads that publish.
#[derive(Debug, Args)]
pub(crate) struct Messages {
    /// Size of a payload in bytes, at least 64
    #[arg(long, value_name = "BYTES", default_value = "128", value_parser = bytes)]
    pub(crate) size: usize,
    /// How many topics the load is spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) topics: u32,
    /// First part of the names of the topics
    #[arg(long, value_name = "TEXT", default_value = "bench:")]
    pub(crate) prefix: String,
}

impl Messages {
    /// The topic of client number `at`. The run number keeps two runs apart.
    pub(crate) fn topic(&self, run: u32, at: u32) -> String {
        format!("{}{run:08x}:{}", self.prefix, at % self.topics)
    }
}

/// Runs a load on all cores.
///
/// # Errors
/// The load could not be set up. Lost or repeated messages exit with 1 after the report.
pub(crate) fn run(command: BenchCommand) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    runtime.block_on(async {
        match command {
            BenchCommand::Conn(args) => conn::run(args).await,
            BenchCommand::Fanout(args) => fanout::run(args).await,
            BenchCommand::Publish(args) => publish::run(args).await,
            BenchCommand::Resume(args) => resume::run(args).await,
        }
    })
}
