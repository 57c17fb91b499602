//! `sparkway sessions`: who is there, and their end.

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::table::{self, cell};
use super::{Api, escaped, print_lines};
use crate::exit::{Exit, Failure, Outcome};

/// What to do with sessions.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        sparkway sessions ls --user ada\n  \
        sparkway sessions kick --user ada --yes"
)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SessionsCommand>,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List sessions of all nodes
    Ls(ListArgs),
    /// Show one: its topics, and how far it has got
    Show(ShowArgs),
    /// End one, or all of a user
    Kick(KickArgs),
}

/// Which sessions to list.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those of this user
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Only those of this node
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Only those that receive this topic
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Only attached or detached ones
    #[arg(long, value_name = "STATE", value_parser = ["attached", "detached"])]
    pub(crate) state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Which session to show.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Id of the session
    pub(crate) session: String,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Whom to end.
#[derive(Debug, Args)]
pub(crate) struct KickArgs {
    /// Id of the session
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    pub(crate) session: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    /// Its client is to come back at once, with a new session
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Carries out a command of sessions.
///
/// # Errors
/// As [`Asker::ask`](super::Asker::ask).
pub(crate) fn run(args: SessionsArgs) -> Outcome {
    match args.command {
        None => list(&args.list),
        Some(SessionsCommand::Ls(args)) => list(&args),
        Some(SessionsCommand::Show(args)) => show(&args),
        Some(SessionsCommand::Kick(args)) => kick(&args),
    }
}

fn list(args: &ListArgs) -> Outcome {
    let pairs = [
        ("user", &args.user),
        ("node", &args.node),
        ("topic", &args.topic),
        ("state", &args.state),
    ];
    let query: Vec<String> = pairs
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_ref()?))))
        .collect();
    let path = format!("/v1/sessions?{}", query.join("&"));
    let path = path.trim_end_matches('?');
    let found = args.api.asker()?.walk(path, args.limit)?;
    if args.api.json {
        return print_lines(&found);
    }
    let columns = [
        ("SESSION", 36),
        ("USER", 24),
        ("NODE", 32),
        ("STATE", 8),
        ("DIALECT", 12),
        ("TOPICS", 6),
        ("QUEUE", 10),
    ];
    let fields = [
        "session",
        "user",
        "node",
        "state",
        "dialect",
        "topics",
        "queue_bytes",
    ];
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| fields.iter().map(|field| cell(one, field)).collect())
        .collect();
    table::write(&mut std::io::stdout().lock(), &columns, &rows)?;
    Ok(Exit::Ok)
}

fn show(args: &ShowArgs) -> Outcome {
    let path = format!("/v1/sessions/{}", escaped(&args.session));
    let found = args.api.asker()?.ask("GET", &path, None)?;
    if args.api.json {
        return print_lines([&found]);
    }
    let mut out = std::io::stdout().lock();
    for field in [
        "session",
        "user",
        "node",
        "state",
        "dialect",
        "expires_at",
        "epoch",
        "queue_bytes",
    ] {
        let value = cell(&found, field);
        if !value.is_empty() {
            writeln!(out, "{field:<12} {value}")?;
        }
    }
    let rows = |name: &str, fields: &[&str]| -> Vec<Vec<String>> {
        let items = found.get(name).and_then(Value::as_array);
        let row = |one: &Value| fields.iter().map(|field| cell(one, field)).collect();
        items.into_iter().flatten().map(row).collect()
    };
    writeln!(out)?;
    let topics = rows("subscriptions", &["topic", "start"]);
    table::write(&mut out, &[("TOPIC", 60), ("SINCE", 20)], &topics)?;
    writeln!(out)?;
    let columns = [("PARTITION", 9), ("ACKNOWLEDGED", 20), ("HEAD", 20)];
    let positions = rows("positions", &["partition", "acknowledged", "head"]);
    table::write(&mut out, &columns, &positions)?;
    Ok(Exit::Ok)
}

fn kick(args: &KickArgs) -> Outcome {
    let asker = args.api.asker()?;
    let how = json!({"reconnect": args.reconnect});
    let (whom, method, path) = match (&args.session, &args.user) {
        (Some(session), _) => (
            format!("session {session}"),
            "DELETE",
            format!("/v1/sessions/{}", escaped(session)),
        ),
        (None, Some(user)) => (
            format!("all sessions of {user}"),
            "POST",
            format!("/v1/users/{}/disconnect", escaped(user)),
        ),
        (None, None) => return Err(Failure::usage("name a session or --user")),
    };
    confirm(args.yes, &format!("end {whom}"))?;
    let mut sessions = 0;
    loop {
        let ended = asker.ask(method, &path, Some(&how))?;
        sessions += ended.get("sessions").and_then(Value::as_u64).unwrap_or(1);
        if ended.get("more") != Some(&Value::Bool(true)) {
            break;
        }
    }
    if args.api.json {
        return print_lines([&json!({"sessions": sessions})]);
    }
    writeln!(std::io::stdout(), "ended {sessions}")?;
    Ok(Exit::Ok)
}

/// Asks a person; a script has said it by calling.
///
/// # Errors
/// Failed: the person does not want it.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    write!(std::io::stderr(), "{what}? [y/N] ")?;
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::failed("not done"))
}
