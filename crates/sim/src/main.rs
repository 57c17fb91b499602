//! `sparkway-sim`: runs schedules of seeds, and shows the first that breaks a promise.

mod report;
mod selftest;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    report::run_command(&report::Arguments::parse())
}
