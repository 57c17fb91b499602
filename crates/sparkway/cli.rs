//! The command line: every command, option and help text.

use clap::builder::Styles;
use clap::{Parser, Subcommand};

use crate::commands::bench::BenchCommand;
use crate::commands::config::ConfigCommand;
use crate::commands::dev::DevArgs;
use crate::commands::health::HealthArgs;
use crate::commands::pub_::PubArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::sub::SubArgs;
use crate::commands::token::TokenCommand;
use crate::operate::nodes::{DrainArgs, NodesArgs};
use crate::operate::sessions::SessionsArgs;
use crate::operate::top::TopArgs;

/// A clustered WebSocket gateway: resume on any node, miss nothing
#[derive(Debug, Parser)]
#[command(
    name = "sparkway",
    version,
    max_term_width = 80,
    styles = Styles::plain(),
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        sparkway dev                          two nodes in one process\n  \
        sparkway sub room:1 --cut-every 5s    a client that tests its own resume\n\n\
        Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 auth, 5 timeout"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one node
    Serve(ServeArgs),
    /// Run a small cluster in one process, without auth: for trying out
    Dev(DevArgs),
    /// Publish to a topic
    Pub(PubArgs),
    /// Follow topics and print their messages
    Sub(SubArgs),
    /// Make and check credentials
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show, check and explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure a gateway
    #[command(subcommand)]
    Bench(Box<BenchCommand>),
    /// List, show and end sessions
    Sessions(Box<SessionsArgs>),
    /// List nodes; drain and keep them
    Nodes(NodesArgs),
    /// Send a node's clients to the others and end it
    Drain(DrainArgs),
    /// Watch the busiest topics, sessions and nodes
    Top(TopArgs),
    /// Ask a node whether it is well (for container health checks)
    Health(HealthArgs),
}
