//! A subscriber that does not read.

use serde_json::{Value, json};
use sparkway_client::{Client, Encoding, Options};

use crate::harness::SOON;
use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;

/// Payload of one message in bytes.
const MESSAGE: usize = 16 * 1024;
/// Subscribers that do not read.
const SLOW: usize = 4;
/// Publishes under way at once.
const IN_FLIGHT: usize = 32;

/// Publishes so many messages and answers their ids in order; `between` runs now and then.
async fn publish(client: &Client, count: usize, mut between: impl FnMut()) -> Vec<String> {
    let payload = "x".repeat(MESSAGE);
    let mut under_way = std::collections::VecDeque::new();
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        under_way.push_back(client.publish("firehose", &payload).start().await.unwrap());
        if under_way.len() == IN_FLIGHT {
            ids.push(under_way.pop_front().unwrap().done().await.unwrap());
        }
        if number % 100 == 0 {
            between();
        }
    }
    for rest in under_way {
        ids.push(rest.done().await.unwrap());
    }
    ids.iter()
        .map(|published| published.id.unwrap().to_string())
        .collect()
}

/// A subscriber that reads all the time; the ids that it saw once it saw so many.
fn reading(mut peer: Peer, count: usize) -> tokio::task::JoinHandle<(Peer, Vec<String>)> {
    tokio::spawn(async move {
        let ids = peer
            .messages(count)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        (peer, ids)
    })
}

/// Nobody reads for long while 50 MB pass: each of those who do not costs what its outbox may
/// hold, however much passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_costs_bounded_memory_delays_nobody_and_learns_what_is_gone() {
    const STALLED: usize = 50 * 1024 * 1024 / MESSAGE;
    const WARM: usize = 300;
    let cluster = Cluster::redis(&[("topics.history_entries", "500")]).await;
    let publisher = Client::connect([cluster.second()], Options::default())
        .await
        .unwrap();
    let mut slow = Vec::new();
    for at in 0..SLOW {
        let encoding = if at % 2 == 0 {
            Encoding::Json
        } else {
            Encoding::MsgPack
        };
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.subscribe(&["firehose"]).await;
        slow.push(peer);
    }
    let mut fast = Peer::connect(cluster.first(), Encoding::Json).await;
    fast.subscribe(&["firehose"]).await;

    // Everybody reads: buffers, rings and pools have their usual size afterwards.
    let fast = reading(fast, WARM);
    let warming: Vec<_> = slow.into_iter().map(|peer| reading(peer, WARM)).collect();
    let ids = publish(&publisher, WARM, || {}).await;
    let (fast, _) = fast.await.unwrap();
    let mut slow = Vec::new();
    for peer in warming {
        slow.push(peer.await.unwrap().0);
    }
    let before = cluster.processes[0].memory();
    let last_read = ids.last().unwrap().clone();

    let fast = reading(fast, STALLED);
    let mut most = before;
    let ids = publish(&publisher, STALLED, || {
        most = most.max(cluster.processes[0].memory());
    })
    .await;
    let (_, fast_saw) = tokio::time::timeout(SOON, fast)
        .await
        .expect("it is not delayed")
        .unwrap();
    assert_eq!(fast_saw, ids);
    most = most.max(cluster.processes[0].memory());
    let grown = most.saturating_sub(before);
    eprintln!(
        "{SLOW} slow subscribers, {STALLED} messages: {} KiB more",
        grown / 1024
    );
    // Four outboxes of 256 KiB, a page of 64 messages each on its way into them, and slack for
    // the allocator: far from the 200 MB that passed them.
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");

    for mut peer in slow {
        let seen = read_on(&mut peer, ids.last().unwrap()).await;
        check_what_is_gone(&seen, &last_read, &ids);
        peer.is_alive().await;
    }
}

/// What came, and what was said to be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(String),
    Gap { after: String, before: String },
}

/// Each gap lies between two messages that came and names them, and all others came, in order.
fn check_what_is_gone(seen: &[Seen], last_read: &str, published: &[String]) {
    let number = |id: &str| id.parse::<u64>().unwrap();
    let mut last = last_read;
    let mut rest = published.iter();
    let mut gone = 0;
    for (at, step) in seen.iter().enumerate() {
        match step {
            Seen::Message(id) => {
                assert_eq!(rest.next(), Some(id));
                last = id;
            }
            Seen::Gap { after, before } => {
                assert_eq!(after, last, "the gap begins behind the last message");
                assert_eq!(seen.get(at + 1), Some(&Seen::Message(before.clone())));
                let left = rest.len();
                while rest
                    .as_slice()
                    .first()
                    .is_some_and(|id| number(id) < number(before))
                {
                    rest.next();
                }
                assert!(rest.len() < left, "a gap that is none");
                gone += left - rest.len();
            }
        }
    }
    assert_eq!(rest.len(), 0);
    // Neither everything is gone, nor nothing: the window was used.
    let came = published.len() - gone;
    assert!(gone > 0 && came >= 400, "{gone} gone, {came} came");
}

/// Everything up to this message.
async fn read_on(peer: &mut Peer, until: &str) -> Vec<Seen> {
    let mut seen = Vec::new();
    while seen.last() != Some(&Seen::Message(until.to_owned())) {
        let frame = peer.next().await;
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        seen.push(match frame["type"].as_str() {
            Some("topic:message") => Seen::Message(text(&frame["id"])),
            Some("topic:gap") => {
                let (after, before) = (&frame["data"]["after"], &frame["data"]["before"]);
                let data = json!({"reason": "trimmed", "after": after, "before": before});
                assert_eq!(
                    frame,
                    json!({"type": "topic:gap", "topic": "firehose", "data": data})
                );
                Seen::Gap {
                    after: text(after),
                    before: text(before),
                }
            }
            _ => panic!("unexpected {frame}"),
        });
    }
    seen
}

fn messages(ids: &[String]) -> Vec<Seen> {
    ids.iter().cloned().map(Seen::Message).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_receives_everything_that_is_still_in_the_window() {
    // More than what the kernel's buffers of both ends can hold.
    const STALLED: usize = 20 * 1024 * 1024 / MESSAGE;
    let cluster = Cluster::redis(&[("topics.history_entries", "5000")]).await;
    let publisher = Client::connect([cluster.second()], Options::default())
        .await
        .unwrap();
    let mut slow = Peer::connect(cluster.first(), Encoding::Json).await;
    slow.subscribe(&["firehose"]).await;
    let ids = publish(&publisher, STALLED, || {}).await;
    // It reads a little, dawdles again, then reads the rest.
    let begun = slow.messages(100).await;
    let begun: Vec<String> = begun.into_iter().map(|(id, _)| id).collect();
    let more = publish(&publisher, 100, || {}).await;
    let ids = [ids, more].concat();
    assert_eq!(begun, ids[..100]);
    assert_eq!(
        read_on(&mut slow, ids.last().unwrap()).await,
        messages(&ids[100..])
    );
    // It is among the live ones again.
    let id = publish(&publisher, 1, || {}).await;
    assert_eq!(slow.message().await["id"], json!(id[0]));
}

/// Its connection breaks while most of what it missed is still on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_that_leaves_is_resumed_where_it_stopped_reading() {
    const STALLED: usize = 20 * 1024 * 1024 / MESSAGE;
    let cluster = Cluster::redis(&[("topics.history_entries", "5000")]).await;
    let publisher = Client::connect([cluster.second()], Options::default())
        .await
        .unwrap();
    let mut slow = Peer::connect(cluster.first(), Encoding::Json).await;
    slow.subscribe(&["firehose"]).await;
    let ids = publish(&publisher, STALLED, || {}).await;
    let read = slow.messages(10).await.len();
    let ticket = slow.cut();
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(again.welcome["data"]["gaps"], json!([]));
    assert_eq!(
        read_on(&mut again, ids.last().unwrap()).await,
        messages(&ids[read..])
    );
    let done = again.next().await;
    assert_eq!(done["data"]["replayed"], ids.len() - read);
}
