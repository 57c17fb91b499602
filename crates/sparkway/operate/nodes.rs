//! `sparkway nodes` and `sparkway drain`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::{self, cell};
use super::{Api, Asker, escaped, pause, print_lines};
use crate::arguments::duration;
use crate::exit::{Exit, Failure, Outcome};

/// How often a drain is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What to do with nodes.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        sparkway nodes\n  \
        sparkway nodes ls --json"
)]
pub(crate) struct NodesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<NodesCommand>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// List the nodes of the cluster
    Ls(Api),
    /// Send a node's clients to the others and end it
    Drain(DrainArgs),
    /// Take a drain back that has not begun to close
    Undrain(UndrainArgs),
}

/// Which node is to go.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway drain node-a --wait\n  \
    sparkway drain --url http://10.0.0.7:9000     the node that answers there")]
pub(crate) struct DrainArgs {
    /// Name of the node; the one that answers unless said
    pub(crate) node: Option<String>,
    /// Wait until it has left the cluster
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(crate) within: Duration,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Which node is to stay.
#[derive(Debug, Args)]
pub(crate) struct UndrainArgs {
    /// Name of the node; the one that answers unless said
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Carries out a command of nodes.
///
/// # Errors
/// As [`Asker::ask`].
pub(crate) fn run(args: NodesArgs) -> Outcome {
    match args.command {
        None => list(&args.api),
        Some(NodesCommand::Ls(api)) => list(&api),
        Some(NodesCommand::Drain(args)) => drain(&args),
        Some(NodesCommand::Undrain(args)) => undrain(&args),
    }
}

fn list(api: &Api) -> Outcome {
    let found = nodes(&api.asker()?)?;
    if api.json {
        return print_lines(&found);
    }
    let columns = [
        ("NODE", 48),
        ("STATE", 9),
        ("CONNECTIONS", 11),
        ("SPARE/S", 8),
    ];
    let fields = ["node", "state", "connections", "spare_accepts_per_second"];
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| fields.iter().map(|field| cell(one, field)).collect())
        .collect();
    table::write(&mut std::io::stdout().lock(), &columns, &rows)?;
    Ok(Exit::Ok)
}

/// The nodes of the cluster.
///
/// # Errors
/// As [`Asker::ask`].
pub(crate) fn nodes(asker: &Asker) -> Result<Vec<Value>, Failure> {
    let answer = asker.ask("GET", "/v1/nodes", None)?;
    let items = answer.get("items").and_then(Value::as_array);
    Ok(items.cloned().unwrap_or_default())
}

/// The node that is named, or the one that answers.
fn named(asker: &Asker, node: Option<&String>) -> Result<String, Failure> {
    match node {
        Some(node) => Ok(node.clone()),
        None => Ok(cell(&asker.ask("GET", "/v1/info", None)?, "node")),
    }
}

/// Drains a node.
///
/// # Errors
/// As [`Asker::ask`]; timeout (5) when it is still there afterwards.
pub(crate) fn drain(args: &DrainArgs) -> Outcome {
    let asker = args.api.asker()?;
    let node = named(&asker, args.node.as_ref())?;
    let path = format!("/v1/nodes/{}/drain", escaped(&node));
    asker.ask("POST", &path, None)?;
    if args.wait {
        wait(&asker, &node, args.within)?;
    }
    let state = if args.wait { "gone" } else { "draining" };
    if args.api.json {
        return print_lines([&json!({"node": node, "state": state})]);
    }
    writeln!(std::io::stdout(), "{node} {state}")?;
    Ok(Exit::Ok)
}

/// Looks until the node has left. The one that answers goes without a word.
fn wait(asker: &Asker, node: &str, within: Duration) -> Result<(), Failure> {
    let until = Instant::now() + within;
    loop {
        match nodes(asker) {
            Ok(found) if !found.iter().any(|one| cell(one, "node") == node) => return Ok(()),
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::Unreachable => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if Instant::now() >= until {
            return Err(Failure::new(
                Exit::Timeout,
                format!("{node} is still there"),
            ));
        }
        pause(LOOK);
    }
}

fn undrain(args: &UndrainArgs) -> Outcome {
    let asker = args.api.asker()?;
    let node = named(&asker, args.node.as_ref())?;
    let path = format!("/v1/nodes/{}/drain", escaped(&node));
    asker.ask("DELETE", &path, None)?;
    if args.api.json {
        return print_lines([&json!({"node": node, "state": "ready"})]);
    }
    writeln!(std::io::stdout(), "{node} ready")?;
    Ok(Exit::Ok)
}
