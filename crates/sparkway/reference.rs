//! The reference page of the command line, from the definitions that parse it.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::Cli;

const HEAD: &str = "# Command line

Generated from `crates/sparkway`; do not edit. The same in a terminal: `sparkway COMMAND --help`.

Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 refused for want of credentials, 5 timeout.
";

/// One line of a table: no line breaks, no bars.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn name(arg: &Arg) -> String {
    if arg.is_positional() {
        return format!("`{arg}`");
    }
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let values = arg.get_value_names().filter(|_| takes);
    let value = values.map_or(String::new(), |names| format!(" {}", names.join(" ")));
    let short = arg.get_short().map(|short| format!("`-{short}`, "));
    let long = arg.get_long().unwrap_or_else(|| arg.get_id().as_str());
    format!("{}`--{long}{value}`", short.unwrap_or_default())
}

fn meaning(arg: &Arg) -> String {
    let mut text = cell(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    let words = arg.get_possible_values();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes && !words.is_empty() {
        let words: Vec<_> = words
            .iter()
            .map(|word| format!("`{}`", word.get_name()))
            .collect();
        let _ = write!(text, ": {}", words.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, ". Variable `{}`", variable.to_string_lossy());
    }
    text
}

fn write_command(out: &mut String, path: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string);
    let _ = writeln!(out, "\n## {path}\n\n{}.", about.unwrap_or_default());
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    if !args.is_empty() {
        out.push_str("\n| argument | default | |\n|---|---|---|\n");
    }
    for arg in args {
        let values = arg.get_default_values().iter();
        let values: Vec<_> = values
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let default = if matches!(arg.get_action(), ArgAction::SetTrue) {
            String::new()
        } else if arg.is_required_set() {
            "needed".to_owned()
        } else {
            values.join(", ")
        };
        let _ = writeln!(out, "| {} | {default} | {} |", name(arg), meaning(arg));
    }
    if let Some(help) = command.get_after_help().map(ToString::to_string)
        && let Some((_, examples)) = help.split_once("Examples:\n")
    {
        let lines: Vec<&str> = examples
            .lines()
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        let _ = writeln!(out, "\n```text\n{}\n```", lines.join("\n"));
    }
    for below in command.get_subcommands() {
        if !below.is_hide_set() {
            write_command(out, &format!("{path} {}", below.get_name()), below);
        }
    }
}

fn reference_markdown() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = HEAD.to_owned();
    for below in command.get_subcommands() {
        write_command(&mut out, &format!("sparkway {}", below.get_name()), below);
    }
    out
}

#[test]
fn reference_page_is_that_of_the_command_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/cli.md");
    let generated = reference_markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == generated,
        "docs/reference/cli.md is out of date: run `make docs`"
    );
}
