//! `sparkway top`: the busiest nodes, topics and sessions, again and again.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::table::{self, cell};
use super::{Api, Asker, escaped, nodes, pause, print_lines};
use crate::arguments::duration;
use crate::exit::{Exit, Failure, Outcome};

/// Messages of a topic that its rate is taken from.
const SAMPLE: usize = 200;
/// How far back a message counts for the rate, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Topics whose rate is looked at: those with the newest messages.
const TOPICS: usize = 50;
/// Most topics and sessions that are listed to choose from.
const LISTED: usize = 10_000;
/// Clears the screen and goes to its first place.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Topics by messages per second
    Msgs,
    /// Topics by bytes per second
    Bytes,
    /// Sessions of the asked node by bytes that wait for their clients
    Queue,
    /// Nodes by connections
    Sessions,
}

/// What to show, and how often.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway top --sort msgs\n  \
    sparkway top --sort queue --count 1 --json")]
pub(crate) struct TopArgs {
    /// What to show first
    #[arg(long, value_enum, default_value_t = Sort::Msgs)]
    pub(crate) sort: Sort,
    /// Time between two looks
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) delay: Duration,
    /// So many looks; for ever on a terminal, else one
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Rows of the table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) rows: usize,
    #[command(flatten)]
    pub(crate) api: Api,
}

/// Shows until told to stop.
///
/// # Errors
/// As [`Asker::ask`].
pub(crate) fn run(args: &TopArgs) -> Outcome {
    let asker = args.api.asker()?;
    let is_seen = std::io::stdout().is_terminal() && !args.api.json;
    let looks = args.count.unwrap_or(if is_seen { u64::MAX } else { 1 });
    for look in 0..looks {
        if look > 0 {
            pause(args.delay);
        }
        let mut rows = read(&asker, args.sort)?;
        rows.truncate(args.rows);
        if args.api.json {
            print_lines(&rows)?;
            continue;
        }
        let mut out = std::io::stdout().lock();
        if is_seen {
            write!(out, "{CLEAR}")?;
        }
        write(&mut out, args.sort, &rows)?;
    }
    Ok(Exit::Ok)
}

fn read(asker: &Asker, sort: Sort) -> Result<Vec<Value>, Failure> {
    let (mut rows, by) = match sort {
        Sort::Msgs => (topics(asker)?, "messages_per_second"),
        Sort::Bytes => (topics(asker)?, "bytes_per_second"),
        Sort::Queue => (sessions(asker)?, "queue_bytes"),
        Sort::Sessions => (nodes::nodes(asker)?, "connections"),
    };
    let weight = |row: &Value| row.get(by).and_then(Value::as_f64).unwrap_or(0.0);
    rows.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
    Ok(rows)
}

fn sessions(asker: &Asker) -> Result<Vec<Value>, Failure> {
    let info = asker.ask("GET", "/v1/info", None)?;
    let path = format!("/v1/sessions?node={}", escaped(&cell(&info, "node")));
    asker.walk(&path, LISTED)
}

/// The rates of the topics in which something happened last, from their logs.
fn topics(asker: &Asker) -> Result<Vec<Value>, Failure> {
    let mut found = asker.walk("/v1/topics", LISTED)?;
    let last = |one: &Value| cell(one, "last_id").parse::<u64>().unwrap_or(0);
    found.sort_by_key(|one| std::cmp::Reverse(last(one)));
    found.truncate(TOPICS);
    let now = asker.ask("GET", "/v1/info", None)?;
    let now = now.get("now").and_then(Value::as_u64).unwrap_or(0);
    let mut rows = Vec::with_capacity(found.len());
    for one in found {
        let topic = cell(&one, "topic");
        let path = format!(
            "/v1/topics/{}/history?order=desc&limit={SAMPLE}",
            escaped(&topic)
        );
        let page = asker.ask("GET", &path, None)?;
        let (messages, bytes) = rate(&page, now);
        rows.push(json!({
            "topic": topic,
            "messages_per_second": messages,
            "bytes_per_second": bytes,
            "entries": one.get("entries"),
        }));
    }
    Ok(rows)
}

/// Messages and bytes per second of the newest messages, as far as they are young enough. Where
/// the sample is full the time that it covers counts, else the whole window.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(page: &Value, now_ms: u64) -> (f64, f64) {
    let messages = page.get("messages").and_then(Value::as_array);
    let age = |one: &Value| {
        let ts = one.get("ts").and_then(Value::as_u64).unwrap_or(0);
        now_ms.saturating_sub(ts)
    };
    let young: Vec<&Value> = messages
        .into_iter()
        .flatten()
        .filter(|one| age(one) < WINDOW_MS)
        .collect();
    let covered_ms = match young.last() {
        Some(oldest) if young.len() >= SAMPLE => age(oldest).max(1),
        Some(_) | None => WINDOW_MS,
    };
    let bytes: usize = young
        .iter()
        .filter_map(|one| Some(one.get("data")?.to_string().len()))
        .sum();
    let seconds = covered_ms as f64 / 1000.0;
    let round = |value: f64| (value * 10.0).round() / 10.0;
    (
        round(young.len() as f64 / seconds),
        round(bytes as f64 / seconds),
    )
}

fn write(out: &mut impl std::io::Write, sort: Sort, rows: &[Value]) -> Result<(), Failure> {
    let (columns, fields): (Vec<table::Column>, Vec<&str>) = match sort {
        Sort::Msgs | Sort::Bytes => (
            vec![("TOPIC", 60), ("MSG/S", 10), ("BYTES/S", 12), ("KEPT", 8)],
            vec![
                "topic",
                "messages_per_second",
                "bytes_per_second",
                "entries",
            ],
        ),
        Sort::Queue => (
            vec![("SESSION", 36), ("USER", 24), ("QUEUE", 10), ("TOPICS", 6)],
            vec!["session", "user", "queue_bytes", "topics"],
        ),
        Sort::Sessions => (
            vec![("NODE", 48), ("STATE", 9), ("CONNECTIONS", 11)],
            vec!["node", "state", "connections"],
        ),
    };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| fields.iter().map(|field| cell(row, field)).collect())
        .collect();
    Ok(table::write(out, &columns, &rows)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let page = |ages: &[u64]| {
            let messages: Vec<Value> = ages
                .iter()
                .map(|age| json!({"ts": 100_000 - age, "data": "12345678"}))
                .collect();
            json!({ "messages": messages })
        };
        assert_eq!(rate(&page(&[]), 100_000), (0.0, 0.0));
        assert_eq!(rate(&page(&[1, 5000, 20_000]), 100_000), (0.2, 2.0));
        let burst: Vec<u64> = (0..200).map(|at| at * 5).collect();
        assert_eq!(rate(&page(&burst), 100_000), (201.0, 2010.1));
    }
}
