//! Many idle sessions: how fast they open, and whether they stay.

use clap::Args;

use super::Load;
use super::crowd::Crowd;
use super::report::Report;
use crate::exit::Outcome;

/// Options of the load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway bench conn -n 5000 --open-rate 1000 --duration 60s\n  \
    sparkway bench conn -n 1000 --json | jq .connect.p99_ms")]
pub(crate) struct ConnArgs {
    #[command(flatten)]
    pub(crate) load: Load,
}

pub(super) async fn run(args: ConnArgs) -> Outcome {
    let load = args.load;
    let crowd = Crowd::open(&load).await?;
    tokio::time::sleep(load.duration).await;
    let mut report = Report::new("conn", &crowd);
    report.rate(
        "opened_per_second",
        crowd.clients.len() as u64,
        crowd.took.as_secs_f64(),
    );
    report.put("held_s", load.duration.as_secs_f64());
    let counts = crowd.counts();
    report.put("online_at_the_end", crowd.online());
    report.must_be_zero(
        "dropped",
        counts
            .connections
            .saturating_sub(crowd.clients.len() as u64),
    );
    report.must_be_zero("sessions_lost", counts.sessions_lost);
    report.put("heartbeats", counts.heartbeats);
    crowd.close().await;
    report.print(load.json)
}
