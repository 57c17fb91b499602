//! One message, many receivers.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sparkway_client::{Client, Subscribe};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::crowd::{Crowd, Ears, Stamp};
use super::report::Report;
use super::{Load, Messages};
use crate::arguments::rate;
use crate::exit::{Failure, Outcome};

/// Options of the load.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway bench fanout -n 1000 --rate 50\n  \
    sparkway bench fanout -n 5000 --topics 100 --rate 500 --size 1KiB --json")]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) messages: Messages,
    /// Messages published per second over all topics
    #[arg(long, value_name = "N", default_value = "10", value_parser = rate)]
    pub(crate) rate: f64,
}

pub(super) async fn run(args: FanoutArgs) -> Outcome {
    let load = &args.load;
    let crowd = Crowd::open(load).await?;
    let run = rand_run();
    let began = Instant::now();
    let ears = Ears::new(began);
    subscribe(&crowd, &args.messages, run, &ears).await?;
    let publisher = load.target.connect().await?;
    let stored = publish(&publisher, &args, run, began).await;
    let expected: u64 = stored
        .iter()
        .enumerate()
        .map(|(topic, &count)| count * listeners(crowd.clients.len(), args.messages.topics, topic))
        .sum();
    ears.wait(expected, Duration::from_secs(5)).await;
    let sent: u64 = stored.iter().sum();
    let seconds = load.duration.as_secs_f64();
    let mut report = Report::new("fanout", &crowd);
    report.put("topics", args.messages.topics);
    report.put("published", sent);
    report.rate("published_per_second", sent, seconds);
    report.put("expected", expected);
    report.put("delivered", ears.heard());
    report.rate("delivered_per_second", ears.heard(), seconds);
    report.latency("latency", &ears.latency);
    report.must_be_zero("missing", expected.saturating_sub(ears.heard()));
    report.defects(&crowd);
    publisher.close().await;
    crowd.close().await;
    report.print(load.json)
}

/// Subscribes client i to topic i modulo the number of topics.
pub(super) async fn subscribe(
    crowd: &Crowd,
    messages: &Messages,
    run: u32,
    ears: &Arc<Ears>,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for (at, client) in (0_u32..).zip(&crowd.clients) {
        let (client, topic) = (client.clone(), messages.topic(run, at));
        tasks.spawn(async move { client.subscribe([topic], Subscribe::default()).await });
    }
    while let Some(subscription) = tasks.join_next().await {
        ears.listen(subscription.map_err(Failure::failed)??);
    }
    Ok(())
}

/// Clients that listen to topic number `topic`.
pub(super) fn listeners(clients: usize, topics: u32, topic: usize) -> u64 {
    let topics = topics as usize;
    let whole = clients / topics;
    (whole + usize::from(topic < clients % topics)) as u64
}

/// Publishes at the rate for the duration; returns how many were stored per topic.
async fn publish(publisher: &Client, args: &FanoutArgs, run: u32, began: Instant) -> Vec<u64> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    let mut number = 0_u32;
    loop {
        let due = start + Duration::from_secs_f64(f64::from(number) / args.rate);
        if due >= start + args.load.duration {
            break;
        }
        sleep_until(due).await;
        let topic = args.messages.topic(run, number);
        let stamp = Stamp::now(began, args.messages.size);
        if let Ok(started) = publisher.publish(&topic, &stamp).start().await {
            let topic = number % args.messages.topics;
            tasks.spawn(async move { started.done().await.map(|_| topic) });
        }
        number = number.wrapping_add(1);
    }
    let mut stored = vec![0; args.messages.topics as usize];
    while let Some(done) = tasks.join_next().await {
        if let Ok(Ok(topic)) = done
            && let Some(count) = stored.get_mut(topic as usize)
        {
            *count += 1;
        }
    }
    stored
}

/// A number that keeps this run's topics apart from those of others.
pub(super) fn rand_run() -> u32 {
    std::process::id()
        ^ std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_all_topics_are_all_clients() {
        for (clients, topics) in [(10, 3), (3, 10), (1, 1), (7, 7)] {
            let sum: u64 = (0..topics as usize)
                .map(|at| listeners(clients, topics, at))
                .sum();
            assert_eq!(sum, clients as u64);
        }
        assert_eq!(listeners(10, 3, 0), 4);
        assert_eq!(listeners(10, 3, 2), 3);
    }
}
