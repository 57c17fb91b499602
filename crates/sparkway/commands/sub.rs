//! `sparkway sub`: follow topics on the command line, and test resuming while at it.

use std::io::{BufWriter, Stdout, Write as _};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sparkway_client::{Client, Counts, Cut, Event, Loss, Message, MessageId, Start, Subscribe};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::arguments::{Target, duration};
use crate::exit::{Exit, Failure, Outcome};

/// How often the state is reported while something happens.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What to follow, and how.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway sub room:1 room:2 --json\n  \
    sparkway sub room:1 --cut-every 5s --count 1000\n\n\
    One line per message: TOPIC, ID and DATA, separated by tabs.\n\
    Exit code 1 when something was lost, came twice or out of order.")]
pub(crate) struct SubArgs {
    /// The topics
    #[arg(required = true, num_args = 1..)]
    pub(crate) topics: Vec<String>,
    /// Begin after this message id
    #[arg(long, value_name = "ID", value_parser = message_id)]
    pub(crate) since: Option<MessageId>,
    /// Begin with the newest N messages
    #[arg(long, value_name = "N", conflicts_with = "since", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) rewind: Option<u32>,
    /// Stop after N messages
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Break the own connection this often, and resume
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) cut_every: Option<Duration>,
    /// Show who comes and goes, too
    #[arg(long)]
    pub(crate) presence: bool,
    /// Print one JSON object per message, and reports as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: Target,
}

fn message_id(text: &str) -> Result<MessageId, String> {
    MessageId::parse(text).ok_or_else(|| format!("{text:?} is no message id (a string of digits)"))
}

/// Prints messages until told to stop, or until `--count`.
///
/// # Errors
/// Cannot connect or subscribe, or the gateway ended the session.
///
/// # Cancel safety
/// Dropping the future drops the session.
pub(crate) async fn run(args: SubArgs) -> Outcome {
    let how = Subscribe {
        start: match (args.since, args.rewind) {
            (Some(id), _) => Start::Since(id),
            (None, Some(newest)) => Start::Rewind(newest),
            (None, None) => Start::Now,
        },
        presence: args.presence,
        echo: true,
    };
    let client = args.target.connect().await?;
    let mut subscription = client.subscribe(&args.topics, how).await?;
    for refused in subscription.rejected() {
        talk(&format!(
            "topic {} is refused: {}",
            refused.topic, refused.code
        ));
    }
    let mut printer = Printer::new(&args);
    let mut cuts = args.cut_every.filter(|every| !every.is_zero()).map(every);
    let mut reports = every(REPORT_EVERY);
    let mut reported = client.counts();
    let mut stop = Stop::new()?;
    while args.count.is_none_or(|count| printer.messages < count) {
        let waiting = subscription.take();
        if waiting.is_none() {
            printer.flush()?;
        }
        tokio::select! {
            event = async { match waiting { some @ Some(_) => some, None => subscription.next().await } } => {
                match event {
                    Some(event) => printer.print(&event)?,
                    None => break,
                }
            }
            () = next_tick(&mut cuts) => {
                client.cut(Cut::Reset, Duration::ZERO).await;
                report(&client.counts(), args.json);
            }
            _ = reports.tick() => {
                let counts = client.counts();
                if counts != reported {
                    report(&counts, args.json);
                    reported = counts;
                }
            }
            () = stop.wait() => break,
        }
        if printer.ended >= subscription.topics().len() {
            break;
        }
    }
    printer.flush()?;
    finish(&client, &printer, subscription.topics().len(), args.json).await
}

async fn finish(client: &Client, printer: &Printer, topics: usize, is_json: bool) -> Outcome {
    let counts = client.counts();
    let status = client.status().borrow().clone();
    client.close().await;
    report(&counts, is_json);
    if let sparkway_client::Status::Closed(error) = status {
        return Err(error.into());
    }
    if printer.ended >= topics {
        return Err(Failure::new(Exit::Auth, "the gateway ended every topic"));
    }
    let is_clean = counts.losses == 0 && counts.duplicates == 0 && counts.reordered == 0;
    Ok(if is_clean { Exit::Ok } else { Exit::Failed })
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn next_tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

fn talk(text: &str) {
    let _ = writeln!(std::io::stderr(), "sparkway: {text}");
}

fn report(counts: &Counts, is_json: bool) {
    let mut err = std::io::stderr().lock();
    let _ = if is_json {
        let line = json!({"received": counts.delivered, "lost": counts.losses,
            "duplicate": counts.duplicates, "reordered": counts.reordered,
            "replayed": counts.replayed, "connections": counts.connections,
            "resumed": counts.resumes, "sessions_lost": counts.sessions_lost});
        writeln!(err, "{line}")
    } else {
        writeln!(
            err,
            "received {}, lost {}, duplicate {}, out of order {}, replayed {}, resumed {}, sessions lost {}",
            counts.delivered,
            counts.losses,
            counts.duplicates,
            counts.reordered,
            counts.replayed,
            counts.resumes,
            counts.sessions_lost
        )
    };
}

/// SIGINT or SIGTERM.
struct Stop {
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self, Failure> {
        let kind = tokio::signal::unix::SignalKind::terminate();
        Ok(Self {
            terminate: tokio::signal::unix::signal(kind)?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Writes events: data to stdout, talk to stderr.
struct Printer {
    out: BufWriter<Stdout>,
    is_json: bool,
    messages: u64,
    ended: usize,
}

impl Printer {
    fn new(args: &SubArgs) -> Self {
        Self {
            out: BufWriter::new(std::io::stdout()),
            is_json: args.json,
            messages: 0,
            ended: 0,
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    fn print(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Message(message) => {
                self.messages += 1;
                self.message(message)?;
            }
            Event::Loss(loss) => self.loss(loss),
            Event::Joined { topic, who } => self.presence("join", topic, who)?,
            Event::Left { topic, who } => self.presence("leave", topic, who)?,
            Event::Ended { topic, code } => {
                self.ended += 1;
                talk(&format!("topic {topic} ended: {code}"));
            }
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<(), Failure> {
        let id = message.id.map(|id| id.to_string());
        if self.is_json {
            let mut line = json!({"topic": *message.topic, "id": id, "data": message.data(),
                "from": message.from, "ts": message.ts, "replayed": message.replayed});
            if message.is_base64
                && let Some(fields) = line.as_object_mut()
            {
                fields.insert("encoding".to_owned(), json!("base64"));
            }
            writeln!(self.out, "{line}")?;
        } else {
            let id = id.as_deref().unwrap_or("-");
            writeln!(self.out, "{}\t{id}\t{}", message.topic, message.text())?;
        }
        Ok(())
    }

    fn loss(&self, loss: &Loss) {
        let id = |id: Option<MessageId>| id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        if self.is_json {
            let line = json!({"topic": *loss.topic, "lost": format!("{:?}", loss.reason).to_lowercase(),
                "after": loss.after.map(|id| id.to_string()),
                "before": loss.before.map(|id| id.to_string())});
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            let (after, before) = (id(loss.after), id(loss.before));
            talk(&format!(
                "lost in {}: {:?}, after {after}, before {before}",
                loss.topic, loss.reason
            ));
        }
    }

    fn presence(
        &mut self,
        what: &str,
        topic: &str,
        who: &serde_json::Value,
    ) -> Result<(), Failure> {
        if self.is_json {
            writeln!(
                self.out,
                "{}",
                json!({"topic": topic, "presence": what, "who": who})
            )?;
        } else {
            writeln!(self.out, "{topic}\t{what}\t{who}")?;
        }
        Ok(())
    }
}
