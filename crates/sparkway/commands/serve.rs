//! `sparkway serve`: one node.

use std::path::PathBuf;

use clap::Args;

use crate::arguments::pair;
use crate::exit::{Failure, Outcome};

/// How a node is run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway serve -c sparkway.toml\n  \
    sparkway serve --set store.url=redis://127.0.0.1 --set auth.mode=off")]
pub(crate) struct ServeArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key; stronger than file and environment. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// The node cannot start, or ended by a failure.
pub(crate) fn run(_args: ServeArgs) -> Outcome {
    Err(Failure::failed("serve is not wired yet"))
}
