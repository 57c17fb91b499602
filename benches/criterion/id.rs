//! Message ids: made, read and told for every message.

#![expect(clippy::unwrap_used, reason = "without its input a bench must stop")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sparkway_protocol::{MessageId, Partition, Partitions, SessionId};

fn ids(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("id");
    let partition = Partition::default();
    let now_ms = 1_795_000_000_000;
    let mut clock = MessageId::ZERO;
    group.bench_function("next", |bencher| {
        bencher.iter(|| {
            clock = MessageId::next(clock, black_box(now_ms), MessageId::ZERO, partition);
            clock
        });
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| MessageId::parse(black_box("241663180800016")));
    });
    let id = MessageId::parse("241663180800016").unwrap();
    group.bench_function("tell", |bencher| {
        bencher.iter(|| black_box(id).to_string());
    });
    let session = SessionId::from_random([0x5a; 16], partition).to_string();
    group.bench_function("session parse", |bencher| {
        bencher.iter(|| SessionId::parse(black_box(&session)));
    });
    let layout = Partitions::new(16).unwrap();
    group.bench_function("partition of a topic", |bencher| {
        bencher.iter(|| layout.of(black_box("gift-list:123456")));
    });
    group.finish();
}

criterion_group!(benches, ids);
criterion_main!(benches);
