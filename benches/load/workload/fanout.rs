//! W1 and W2: messages as fast as the server and its clients take them.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{PARALLEL, Spent, fields, finished, per, rounded};
use crate::crowd::Crowd;
use crate::payload::Stamp;
use crate::{Failure, Outcome, Target};

/// Options of the workload.
#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Subscribers
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Topics they are spread over. One: a publisher of its own; several: a member of each publishes
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Messages under way at once
    #[arg(long, default_value_t = 1)]
    window: u64,
    /// Messages of one write
    #[arg(long, default_value_t = 1)]
    burst: u64,
    /// Seconds before the measurement
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// Seconds of measurement
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// Keeps the window full.
#[derive(Debug)]
struct Source {
    /// Messages published so far per topic.
    topics: Vec<u64>,
    /// All of them.
    published: u64,
    turn: usize,
}

pub(super) fn run(args: &FanoutArgs, target: &Target) -> Outcome {
    let mut crowd = Crowd::new(target, args.clients, args.topics)?;
    crowd.open(0..args.clients + 1, PARALLEL)?;
    let mut source = Source {
        topics: vec![0; args.topics],
        published: 0,
        turn: 0,
    };
    source.run(args, target, &mut crowd, args.warm)?;
    crowd.tally.latency.clear();
    let (spent, delivered, reads) = (Spent::now(target), crowd.tally.delivered, crowd.tally.reads);
    let published = source.published;
    let began = Instant::now();
    source.run(args, target, &mut crowd, args.seconds)?;
    let (spent, seconds) = (spent.since(target), began.elapsed().as_secs_f64());
    let delivered = crowd.tally.delivered - delivered;
    let reads = crowd.tally.reads - reads;
    let published = source.published - published;
    let latency = |share| rounded(crowd.tally.latency.quantile_ms(share));
    let result = fields([
        ("deliveries", json!(delivered)),
        ("deliveries_per_s", rounded(delivered as f64 / seconds)),
        ("server_cpu_us", rounded(per(spent.server, delivered) / 1e3)),
        (
            "deliveries_per_cpu_s",
            rounded(1e9 / per(spent.server, delivered)),
        ),
        ("client_cpu_us", rounded(per(spent.client, delivered) / 1e3)),
        ("published", json!(published)),
        ("publishes_per_s", rounded(published as f64 / seconds)),
        (
            "publishes_per_cpu_s",
            rounded(1e9 / per(spent.server, published)),
        ),
        (
            "publish_cpu_us",
            rounded(per(spent.server, published) / 1e3),
        ),
        ("store_cpu_us", rounded(per(spent.apart, published) / 1e3)),
        ("server_busy", rounded(spent.server as f64 / seconds / 1e9)),
        ("reads_per_delivery", rounded(per(reads, delivered))),
        ("p50_ms", latency(0.5)),
        ("p99_ms", latency(0.99)),
        ("p999_ms", latency(0.999)),
    ]);
    source.settle(&mut crowd)?;
    Ok(finished(result, &crowd))
}

impl Source {
    fn run(
        &mut self,
        args: &FanoutArgs,
        target: &Target,
        crowd: &mut Crowd,
        seconds: f64,
    ) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        crowd.expect_news();
        while Instant::now() < until {
            while self.published + args.burst <= crowd.tally.complete + args.window {
                self.burst(args.burst, target.size, crowd)?;
            }
            crowd.progress(Duration::from_millis(100))?;
        }
        Ok(())
    }

    fn burst(&mut self, count: u64, size: usize, crowd: &mut Crowd) -> Result<(), Failure> {
        let turn = self.turn;
        self.turn = (turn + 1) % self.topics.len();
        let publisher = if self.topics.len() == 1 {
            crowd.publisher()
        } else {
            turn
        };
        let sent_ns = crowd.now_ns();
        let Some(next) = self.topics.get_mut(turn) else {
            return Ok(());
        };
        let topic = u32::try_from(turn).unwrap_or(0);
        let stamps: Vec<Stamp> = (*next..*next + count)
            .map(|number| Stamp {
                number,
                sent_ns,
                topic,
            })
            .collect();
        *next += count;
        self.published += count;
        crowd.publish(publisher, &stamps, size)
    }

    /// Waits for what is under way, and counts what never comes.
    fn settle(&self, crowd: &mut Crowd) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(5);
        while crowd.tally.complete < self.published && Instant::now() < until {
            crowd.turn(Duration::from_millis(20))?;
        }
        crowd.missing(&self.topics);
        Ok(())
    }
}
