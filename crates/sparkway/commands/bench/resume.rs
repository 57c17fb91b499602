//! Sessions that lose their connection again and again while messages flow: nothing may be missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use sparkway_client::{Client, Cut, Status};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::crowd::{Crowd, Ears, Stamp};
use super::fanout::{listeners, rand_run, subscribe};
use super::histogram::Histogram;
use super::report::Report;
use super::{Load, Messages};
use crate::arguments::{duration, rate};
use crate::exit::Outcome;

/// Options of the load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway bench resume -n 500 --cut-every 1s\n  \
    sparkway bench resume -n 100 --url ws://a:8000/ws,ws://b:8000/ws --json\n\n\
    With several URLs every session resumes on another node each time.")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) messages: Messages,
    /// Messages published per second over all topics
    #[arg(long, value_name = "N", default_value = "20", value_parser = rate)]
    pub(crate) rate: f64,
    /// How long a session lives between two cuts, on average
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) cut_every: Duration,
    /// How long it stays away
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    pub(crate) away: Duration,
}

pub(super) async fn run(args: ResumeArgs) -> Outcome {
    let load = &args.load;
    let crowd = Crowd::open(load).await?;
    let run = rand_run();
    let began = Instant::now();
    let ears = Ears::new(began);
    subscribe(&crowd, &args.messages, run, &ears).await?;
    let publisher = load.target.connect().await?;
    let resumed = Arc::new(Histogram::new());
    let mut cutters = JoinSet::new();
    let until = Instant::now() + load.duration;
    for (at, client) in (0_u32..).zip(&crowd.clients) {
        // Cuts are spread evenly over the crowd, and differ from round to round.
        let phase = args
            .cut_every
            .mul_f64(f64::from(at) / f64::from(load.clients));
        let cutter = Cutter {
            client: client.clone(),
            phase,
            every: args.cut_every,
            away: args.away,
            until,
            resumed: Arc::clone(&resumed),
        };
        cutters.spawn(cutter.cut());
    }
    let stored = publish(&publisher, &args, run, (began, until)).await;
    while cutters.join_next().await.is_some() {}
    let topics = args.messages.topics;
    let expected: u64 = stored
        .iter()
        .enumerate()
        .map(|(topic, count)| {
            count.load(Ordering::Relaxed) * listeners(crowd.clients.len(), topics, topic)
        })
        .sum();
    ears.wait(expected, Duration::from_secs(5)).await;
    let counts = crowd.counts();
    let mut report = Report::new("resume", &crowd);
    report.put("cuts", resumed.count());
    report.put("resumes", counts.resumes);
    report.latency("resume", &resumed);
    report.put("expected", expected);
    report.put("delivered", ears.heard());
    report.put("replayed", counts.replayed);
    report.latency("latency", &ears.latency);
    report.must_be_zero("missing", expected.saturating_sub(ears.heard()));
    report.defects(&crowd);
    publisher.close().await;
    crowd.close().await;
    report.print(load.json)
}

/// Publishes at the rate until the end; returns how many were stored per topic.
async fn publish(
    publisher: &Client,
    args: &ResumeArgs,
    run: u32,
    (began, until): (Instant, Instant),
) -> Arc<[AtomicU64]> {
    let stored: Arc<[AtomicU64]> = (0..args.messages.topics)
        .map(|_| AtomicU64::new(0))
        .collect();
    let mut tasks = JoinSet::new();
    let pause = Duration::from_secs_f64(1.0 / args.rate);
    let mut number = 0_u32;
    while Instant::now() < until {
        let topic = args.messages.topic(run, number);
        let stamp = Stamp::now(began, args.messages.size);
        if let Ok(started) = publisher.publish(&topic, &stamp).start().await {
            let (stored, at) = (Arc::clone(&stored), number % args.messages.topics);
            tasks.spawn(async move {
                if let (Ok(_), Some(count)) = (started.done().await, stored.get(at as usize)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        number = number.wrapping_add(1);
        sleep(pause).await;
    }
    while tasks.join_next().await.is_some() {}
    stored
}

struct Cutter {
    client: Client,
    phase: Duration,
    every: Duration,
    away: Duration,
    until: Instant,
    resumed: Arc<Histogram>,
}

impl Cutter {
    async fn cut(self) {
        sleep(self.phase).await;
        while Instant::now() + self.every < self.until {
            let mut status = self.client.status();
            self.client.cut(Cut::Reset, self.away).await;
            let back = Instant::now() + self.away;
            let is_online = |status: &Status| matches!(status, Status::Online { .. });
            if timeout(Duration::from_secs(30), status.wait_for(is_online))
                .await
                .is_ok_and(|back| back.is_ok())
            {
                self.resumed.record(back.elapsed());
            }
            sleep(self.every).await;
        }
    }
}
