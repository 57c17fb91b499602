//! W3: what connections cost that do nothing.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, json};

use super::{PARALLEL, Spent, fields, finished, rounded};
use crate::crowd::Crowd;
use crate::{Failure, Outcome, Target, measure};

/// Options of the workload.
#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    /// Numbers of connections to stop at, rising
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,15000")]
    clients: Vec<usize>,
    /// Clients of one topic
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Seconds at each number before memory is read
    #[arg(long, default_value_t = 2.0)]
    settle: f64,
    /// Seconds of heartbeats at the last number, for the CPU of idle connections; 0 leaves it out
    #[arg(long, default_value_t = 0.0)]
    hold: f64,
    /// Seconds after all have gone before memory is read again
    #[arg(long, default_value_t = 10.0)]
    after: f64,
}

pub(super) fn run(args: &IdleArgs, target: &Target) -> Outcome {
    let most = args.clients.last().copied().unwrap_or(0);
    let topics = (most / args.members).max(1);
    let mut crowd = Crowd::new(target, most, topics)?;
    let base = measure::rss_anon(&target.pid);
    let mut steps = Map::new();
    let mut open = 0;
    let mut peak = base;
    for &wanted in &args.clients {
        crowd.open(open..wanted, PARALLEL)?;
        open = wanted;
        stay(&mut crowd, args.settle)?;
        peak = measure::rss_anon(&target.pid);
        let each = peak.saturating_sub(base) as f64 / wanted as f64;
        steps.insert(wanted.to_string(), rounded(each));
    }
    let mut result = fields([
        ("base_bytes", json!(base)),
        ("bytes_per_connection", json!(steps)),
        ("peak_bytes", json!(peak)),
    ]);
    if args.hold > 0.0 {
        crowd.keep_alive();
        let (spent, began) = (Spent::now(target), Instant::now());
        stay(&mut crowd, args.hold)?;
        let held = open as f64 * began.elapsed().as_secs_f64();
        let each = spent.since(target).server as f64 / 1e3 / held;
        result.insert("idle_us_per_s".into(), rounded(each));
    }
    crowd.leave()?;
    stay(&mut crowd, args.after)?;
    let kept = measure::rss_anon(&target.pid);
    result.insert("kept_bytes".into(), json!(kept));
    result.insert("kept_share".into(), rounded(kept as f64 / peak as f64));
    Ok(finished(result, &crowd))
}

fn stay(crowd: &mut Crowd, seconds: f64) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < until {
        crowd.turn(Duration::from_millis(20))?;
    }
    Ok(())
}
