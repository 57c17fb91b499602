//! `sparkway`: one binary that runs a node, talks to nodes, and measures them.
//!
//! stdout is data, stderr is talk. Exit codes: see [`exit::Exit`].

#[cfg(feature = "jemalloc")]
mod allocator;
mod arguments;
mod cli;
mod commands;
mod console;
mod demo;
mod exit;
mod operate;
#[cfg(test)]
mod reference;
mod telemetry;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::exit::Exit;

fn main() -> ExitCode {
    #[cfg(feature = "jemalloc")]
    if let Err(error) = allocator::give_memory_back() {
        let _ = writeln!(
            std::io::stderr(),
            "sparkway: memory is not given back: {error}"
        );
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and succeed; everything else is a usage error.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            let _ = error.print();
            return exit.into();
        }
    };
    match commands::run(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "sparkway: {}", failure.message);
            failure.exit.into()
        }
    }
}
