//! One module per command. Each has its arguments and a function that carries it out.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod health;
pub(crate) mod pub_;
pub(crate) mod serve;
pub(crate) mod sub;
pub(crate) mod token;

use std::future::Future;

use crate::cli::Command;
use crate::exit::{Failure, Outcome};
use crate::operate;

/// Carries out a command.
///
/// # Errors
/// Why not, and with which exit code.
pub(crate) fn run(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Pub(args) => block_on(pub_::run(args)),
        Command::Sub(args) => block_on(sub::run(args)),
        Command::Token(command) => token::run(command),
        Command::Config(command) => config::run(command),
        Command::Bench(command) => bench::run(*command),
        Command::Health(args) => health::run(&args),
        Command::Sessions(args) => operate::sessions::run(*args),
        Command::Nodes(args) => operate::nodes::run(args),
        Command::Drain(args) => operate::nodes::drain(&args),
        Command::Top(args) => operate::top::run(&args),
    }
}

/// Runs a small command on this thread.
pub(crate) fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?
        .block_on(command)
}
