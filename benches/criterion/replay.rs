//! What a session missed: pages of several topics merged, and a ring read.

#![expect(clippy::unwrap_used, reason = "without its input a bench must stop")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sparkway_protocol::{Entry, MessageId, Payload, TopicName};
use sparkway_topic::{Part, Ring, RingBounds, merge};

fn id(number: u64) -> MessageId {
    MessageId::new(number * MessageId::STEP).unwrap()
}

/// Entries `first`, `first + step`, ... of one topic.
fn entries(topic: &TopicName, first: u64, step: u64, count: u64) -> Vec<Arc<Entry>> {
    (0..count)
        .map(|at| {
            let number = first + at * step;
            Arc::new(Entry {
                id: id(number),
                prev: id(number.saturating_sub(step)),
                topic: topic.clone(),
                from: None,
                origin: None,
                exclude_origin: false,
                trace: None,
                payload: Payload::json("1".into()),
            })
        })
        .collect()
}

fn merging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay merge");
    for (topics, each) in [(1, 20), (10, 20), (100, 100)] {
        let parts: Vec<Part> = (0..topics)
            .map(|at| {
                let topic = TopicName::parse(&format!("room:{at}")).unwrap();
                Part {
                    entries: entries(&topic, at + 1, topics, each),
                    more: false,
                }
            })
            .collect();
        group.throughput(Throughput::Elements(topics * each));
        group.bench_function(format!("{topics} topics x {each}"), |bencher| {
            bencher.iter_batched(
                || parts.clone(),
                |parts| {
                    let merged = merge(parts, id(1 << 40));
                    assert_eq!(merged.entries.len() as u64, topics * each);
                    merged
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn ring(criterion: &mut Criterion) {
    let topic = TopicName::parse("room:1").unwrap();
    let bounds = RingBounds {
        entries: 256,
        bytes: 1 << 20,
    };
    let mut ring = Ring::new(MessageId::ZERO);
    for entry in entries(&topic, 1, 1, 300) {
        ring.push(entry, bounds);
    }
    let last = ring.last();
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(20));
    group.bench_function("newest 20 of 256", |bencher| {
        bencher.iter(|| ring.between(id(280), last).cloned().collect::<Vec<_>>());
    });
    group.finish();
}

criterion_group!(benches, merging, ring);
criterion_main!(benches);
