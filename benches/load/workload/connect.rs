//! W4: how many clients a second of server CPU lets in.

use clap::Args;
use serde_json::json;

use super::{Spent, fields, finished, per, rounded};
use crate::crowd::Crowd;
use crate::{Outcome, Target};

/// Options of the workload.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Connections
    #[arg(long, default_value_t = 4000)]
    clients: usize,
    /// Connections being opened at once
    #[arg(long, default_value_t = 64)]
    parallel: usize,
    /// Clients of one topic
    #[arg(long, default_value_t = 10)]
    members: usize,
}

pub(super) fn run(args: &ConnectArgs, target: &Target) -> Outcome {
    let topics = (args.clients / args.members).max(1);
    let mut crowd = Crowd::new(target, args.clients, topics)?;
    // The first connection finds cold caches; it is not what is asked about.
    let publisher = crowd.publisher();
    crowd.open(publisher..publisher + 1, 1)?;
    let spent = Spent::now(target);
    let took = crowd.open(0..args.clients, args.parallel)?;
    let spent = spent.since(target);
    let count = args.clients as u64;
    let result = fields([
        ("connects", json!(count)),
        ("server_cpu_us", rounded(per(spent.server, count) / 1e3)),
        (
            "connects_per_cpu_s",
            rounded(1e9 / per(spent.server, count)),
        ),
        ("client_cpu_us", rounded(per(spent.client, count) / 1e3)),
        ("connects_per_s", rounded(count as f64 / took.as_secs_f64())),
    ]);
    crowd.leave()?;
    Ok(finished(result, &crowd))
}
