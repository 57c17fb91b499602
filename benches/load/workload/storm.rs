//! W5: everybody is thrown out at once, comes back, and wants what was missed.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::{PARALLEL, Spent, fields, finished, per, rounded};
use crate::crowd::Crowd;
use crate::payload::Stamp;
use crate::{Failure, Outcome, Target};

/// Options of the workload.
#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    /// Connections that are reset
    #[arg(long, default_value_t = 4000)]
    clients: usize,
    /// Topics they are spread over
    #[arg(long, default_value_t = 10)]
    topics: usize,
    /// Messages per second over all topics, before, during and after
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Connections that come back at once
    #[arg(long, default_value_t = 256)]
    parallel: usize,
    /// Milliseconds that everybody stays away
    #[arg(long, default_value_t = 0)]
    away: u64,
    /// Seconds of messages before and after the storm
    #[arg(long, default_value_t = 2.0)]
    calm: f64,
}

/// Publishes at a steady rate, round over the topics.
#[derive(Debug)]
struct Source {
    topics: Vec<u64>,
    published: u64,
    pause: Duration,
    due: Instant,
    size: usize,
}

pub(super) fn run(args: &StormArgs, target: &Target) -> Outcome {
    let mut crowd = Crowd::new(target, args.clients, args.topics)?;
    crowd.open(0..args.clients + 1, PARALLEL)?;
    let mut source = Source {
        topics: vec![0; args.topics],
        published: 0,
        pause: Duration::from_secs_f64(1.0 / args.rate),
        due: Instant::now(),
        size: target.size,
    };
    source.run(&mut crowd, args.calm / 2.0)?;
    let (calm, began) = (Spent::now(target), Instant::now());
    source.run(&mut crowd, args.calm / 2.0)?;
    let calm = calm.since(target).server as f64 / began.elapsed().as_secs_f64();

    let (spent, began) = (Spent::now(target), Instant::now());
    crowd.reset(0..args.clients);
    source.run(&mut crowd, args.away as f64 / 1e3)?;
    let back = Instant::now();
    crowd.come_back(0..args.clients);
    while crowd.tally.live <= args.clients {
        crowd.open_more(args.parallel)?;
        source.turn(&mut crowd)?;
        if back.elapsed() > Duration::from_mins(2) {
            return Err(Failure::new("not everybody came back within two minutes"));
        }
    }
    let (took, storm) = (back.elapsed(), began.elapsed().as_secs_f64());
    let spent = spent.since(target);
    source.run(&mut crowd, args.calm)?;
    source.settle(&mut crowd)?;
    let count = args.clients as u64;
    let net = spent.server as f64 - calm * storm;
    let result = fields([
        ("recovered_ms", rounded(took.as_secs_f64() * 1e3)),
        ("server_cpu_us", rounded(per(spent.server, count) / 1e3)),
        ("server_cpu_us_net", rounded(net / count as f64 / 1e3)),
        ("resumes_per_cpu_s", rounded(1e9 / per(spent.server, count))),
        ("client_cpu_us", rounded(per(spent.client, count) / 1e3)),
        ("resumed", json!(crowd.tally.resumed)),
        ("replayed", json!(crowd.tally.replayed)),
        ("published", json!(source.published)),
        ("p99_ms", rounded(crowd.tally.latency.quantile_ms(0.99))),
    ]);
    Ok(finished(result, &crowd))
}

impl Source {
    fn run(&mut self, crowd: &mut Crowd, seconds: f64) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until {
            self.turn(crowd)?;
        }
        Ok(())
    }

    /// Publishes what is due, then one turn of the loop.
    fn turn(&mut self, crowd: &mut Crowd) -> Result<(), Failure> {
        while self.due <= Instant::now() {
            self.due += self.pause;
            let count = self.topics.len() as u64;
            let turn = usize::try_from(self.published % count.max(1)).unwrap_or(0);
            self.published += 1;
            if let Some(next) = self.topics.get_mut(turn) {
                let stamp = Stamp {
                    number: *next,
                    sent_ns: crowd.now_ns(),
                    topic: u32::try_from(turn).unwrap_or(0),
                };
                *next += 1;
                crowd.publish(crowd.publisher(), &[stamp], self.size)?;
            }
        }
        crowd.turn(Duration::from_millis(1))
    }

    fn settle(&self, crowd: &mut Crowd) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(5);
        while crowd.behind(&self.topics) > 0 && Instant::now() < until {
            crowd.turn(Duration::from_millis(20))?;
        }
        crowd.missing(&self.topics);
        Ok(())
    }
}
