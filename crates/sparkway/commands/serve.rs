//! `sparkway serve`: one node.

use clap::Args;

use crate::arguments::ConfigSources;
use crate::exit::{Failure, Outcome};

/// How a node is run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway serve -c sparkway.toml\n  \
    sparkway serve --set store.url=redis://127.0.0.1 --set auth.mode=off")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigSources,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// The node cannot start, or ended by a failure.
pub(crate) fn run(_args: ServeArgs) -> Outcome {
    Err(Failure::failed("serve is not wired yet"))
}
