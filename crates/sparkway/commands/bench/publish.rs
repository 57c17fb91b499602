//! How fast the gateway stores and acknowledges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use sparkway_client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::crowd::{Crowd, Stamp};
use super::fanout::rand_run;
use super::histogram::Histogram;
use super::report::Report;
use super::{Load, Messages};
use crate::arguments::rate;
use crate::exit::Outcome;

/// Options of the load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway bench publish -n 10 --in-flight 16\n  \
    sparkway bench publish -n 100 --rate 2000 --json\n\n\
    limits.frames_per_second of the gateway bounds each session.")]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) messages: Messages,
    /// Messages per second over all sessions; as fast as possible without
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Publishes of one session that wait for their answer at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) in_flight: u32,
}

#[derive(Debug)]
struct Tally {
    latency: Histogram,
    stored: AtomicU64,
    failed: AtomicU64,
}

pub(super) async fn run(args: PublishArgs) -> Outcome {
    let crowd = Crowd::open(&args.load).await?;
    let run = rand_run();
    let tally = Arc::new(Tally {
        latency: Histogram::new(),
        stored: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let writers = args.load.clients.saturating_mul(args.in_flight);
    let pause = args
        .rate
        .map(|rate| Duration::from_secs_f64(f64::from(writers) / rate));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (at, client) in (0_u32..).zip(&crowd.clients) {
        for lane in 0..args.in_flight {
            let writer = Writer {
                client: client.clone(),
                topic: args.messages.topic(run, at),
                size: args.messages.size,
                // Spread over one pause, so that writers do not beat together.
                first: pause.map(|pause| {
                    pause.mul_f64(f64::from(at * args.in_flight + lane) / f64::from(writers))
                }),
                pause,
                until: began + args.load.duration,
            };
            tasks.spawn(writer.write(began, Arc::clone(&tally)));
        }
    }
    while tasks.join_next().await.is_some() {}
    let seconds = began.elapsed().as_secs_f64();
    let mut report = Report::new("publish", &crowd);
    let stored = tally.stored.load(Ordering::Relaxed);
    report.put("stored", stored);
    report.rate("stored_per_second", stored, seconds);
    report.latency("latency", &tally.latency);
    report.must_be_zero("failed", tally.failed.load(Ordering::Relaxed));
    report.defects(&crowd);
    crowd.close().await;
    report.print(args.load.json)
}

struct Writer {
    client: Client,
    topic: String,
    size: usize,
    first: Option<Duration>,
    pause: Option<Duration>,
    until: Instant,
}

impl Writer {
    async fn write(self, began: Instant, tally: Arc<Tally>) {
        let mut due = began + self.first.unwrap_or_default();
        loop {
            if self.pause.is_some() {
                sleep_until(due).await;
            }
            let sent = Instant::now();
            if sent >= self.until {
                return;
            }
            let stamp = Stamp::now(began, self.size);
            match self.client.publish(&self.topic, &stamp).await {
                Ok(_) => {
                    tally.latency.record(sent.elapsed());
                    tally.stored.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            due += self.pause.unwrap_or_default();
        }
    }
}
