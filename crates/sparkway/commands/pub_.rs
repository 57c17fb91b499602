//! `sparkway pub`: publish from the command line.

use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use sparkway_client::{Client, Started};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::arguments::{Target, bytes, rate};
use crate::exit::{Exit, Failure, Outcome};

/// Publishes under way at once; their order is kept.
const UNDER_WAY: usize = 32;

/// What to publish, and where.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway pub room:1 '{\"text\":\"hello\"}'\n  \
    seq 1000 | sparkway pub room:1 - --rate 100\n\n\
    DATA that is JSON is sent as such, anything else as a JSON string.\n\
    {{count}} in it becomes the number of the message.")]
pub(crate) struct PubArgs {
    /// The topic
    pub(crate) topic: String,
    /// The message; - reads one message per line from stdin
    #[arg(allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// How often to publish it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u64,
    /// Messages per second at most
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Publish a text of this many bytes instead of DATA
    #[arg(long, value_name = "BYTES", value_parser = bytes, conflicts_with = "data")]
    pub(crate) size: Option<usize>,
    /// Wait until the message is replicated
    #[arg(long, conflicts_with = "ephemeral")]
    pub(crate) replicated: bool,
    /// Do not keep the message: who is away misses it
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Print one JSON object per message
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// Publishes, and prints the id of each stored message.
///
/// # Errors
/// The first message that could not be stored; those before it are.
///
/// # Cancel safety
/// Dropping the future gives answers up; messages may be stored.
pub(crate) async fn run(args: PubArgs) -> Outcome {
    let mut source = Source::of(&args)?;
    let client = args.target.connect().await?;
    let began = Instant::now();
    let mut under_way: VecDeque<Started> = VecDeque::new();
    let mut sent = 0_u64;
    let result = loop {
        let Some(payload) = source.next(sent).await else {
            break Ok(());
        };
        if let Some(rate) = args.rate {
            tokio::time::sleep_until(began + Duration::from_secs_f64(count_f64(sent) / rate)).await;
        }
        if under_way.len() >= UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
            && let Err(failure) = print(oldest, &args).await
        {
            break Err(failure);
        }
        match start(&client, &args, &payload).await {
            Ok(started) => under_way.push_back(started),
            Err(failure) => break Err(failure),
        }
        sent += 1;
    };
    let result = match result {
        Ok(()) => finish(under_way, &args).await,
        failed => failed,
    };
    let counts = client.counts();
    client.close().await;
    let seconds = began.elapsed().as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "published {} in {seconds:.3} s, {} known already, {} sent again",
        counts.published,
        counts.publish_duplicates,
        counts.retries
    );
    result.map(|()| Exit::Ok)
}

async fn start(client: &Client, args: &PubArgs, payload: &Value) -> Result<Started, Failure> {
    let mut publish = client
        .publish(&args.topic, payload)
        .within(args.target.timeout);
    if args.ephemeral {
        publish = publish.ephemeral();
    }
    if args.replicated {
        publish = publish.replicated();
    }
    Ok(publish.start().await?)
}

async fn finish(under_way: VecDeque<Started>, args: &PubArgs) -> Result<(), Failure> {
    for started in under_way {
        print(started, args).await?;
    }
    Ok(())
}

async fn print(started: Started, args: &PubArgs) -> Result<(), Failure> {
    let published = started.done().await?;
    let id = published.id.map(|id| id.to_string());
    let mut out = std::io::stdout().lock();
    if args.json {
        let line = json!({"topic": args.topic, "id": id, "duplicate": published.duplicate});
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{}", id.as_deref().unwrap_or("-"))?;
    }
    Ok(())
}

/// Where messages come from.
enum Source {
    /// The same text, so many times.
    Text(String, u64),
    /// Lines of stdin.
    Lines(mpsc::Receiver<String>),
}

impl Source {
    fn of(args: &PubArgs) -> Result<Self, Failure> {
        match (args.data.as_deref(), args.size) {
            (Some("-"), _) => Ok(Self::Lines(stdin_lines())),
            (Some(text), _) => Ok(Self::Text(text.to_owned(), args.count)),
            (None, Some(size)) => Ok(Self::Text("x".repeat(size), args.count)),
            (None, None) => Err(Failure::usage("DATA, - or --size is needed")),
        }
    }

    /// Message number `number`, counted from 0.
    async fn next(&mut self, number: u64) -> Option<Value> {
        let text = match self {
            Self::Text(_, count) if number >= *count => return None,
            Self::Text(text, _) => text.clone(),
            Self::Lines(lines) => lines.recv().await?,
        };
        let text = text.replace("{{count}}", &number.to_string());
        Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

/// Lines of stdin, read on a thread of their own: a terminal cannot be waited for otherwise.
fn stdin_lines() -> mpsc::Receiver<String> {
    let (lines, lines_end) = mpsc::channel(UNDER_WAY);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines_end
}

/// A count as a float: exact below 2^53, and no command runs that long.
fn count_f64(count: u64) -> f64 {
    count as f64
}
