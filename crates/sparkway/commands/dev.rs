//! `sparkway dev`: a small cluster in one process.

use clap::Args;

use crate::exit::{Failure, Outcome};

/// How the cluster is run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway dev\n  \
    sparkway dev --nodes 3 --redis redis://127.0.0.1")]
pub(crate) struct DevArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) nodes: u16,
    /// Port of the first node; the others follow, internal ones at 1000 more
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub(crate) port: u16,
    /// Store shared by the nodes instead of the embedded one
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
}

/// Runs the cluster until it is told to stop.
///
/// # Errors
/// A node cannot start, or ended by a failure.
pub(crate) fn run(_args: DevArgs) -> Outcome {
    Err(Failure::failed("dev is not wired yet"))
}
