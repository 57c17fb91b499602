//! Fan-out to a thousand seats without sockets: what the gateway adds to the kernel's cost.

#![expect(clippy::unwrap_used, reason = "without its input a bench must stop")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sparkway_hub::{Batch, BatchBuilder, Hub, Seat};
use sparkway_protocol::{Entry, Format, MessageId, Partition, Payload, SessionId, TopicName};
use sparkway_socket::Outbox;

const SEATS: usize = 1000;
const OUTBOX: usize = 256 * 1024;

fn id(number: u64) -> MessageId {
    MessageId::new(number * MessageId::STEP).unwrap()
}

/// A worker with all seats on one topic, and their outboxes empty.
fn hub(topic: &TopicName) -> Hub {
    let partition = Partition::default();
    let mut hub = Hub::new([MessageId::ZERO; Partition::MAX_COUNT]);
    for _ in 0..SEATS {
        let session = SessionId::from_random(same_bytes(), partition);
        let outbox = Arc::new(Outbox::new(OUTBOX));
        let seat = Arc::new(Seat::new(outbox, Format::SparkJson, session));
        seat.hook(partition);
        hub.join(topic, &seat, MessageId::ZERO, true);
    }
    hub
}

/// Which session is whose makes no difference here.
const fn same_bytes() -> [u8; 16] {
    [0x5a; 16]
}

fn batch(topic: &TopicName, messages: u64) -> Arc<Batch> {
    let mut builder = BatchBuilder::new(Partition::default(), MessageId::ZERO);
    for number in 1..=messages {
        builder.entry(Arc::new(Entry {
            id: id(number),
            prev: id(number - 1),
            topic: topic.clone(),
            from: None,
            origin: None,
            exclude_origin: false,
            trace: None,
            payload: Payload::json(vec![b'1'; 128].into()),
        }));
    }
    builder.take()
}

fn fan_out(criterion: &mut Criterion) {
    let topic = TopicName::parse("room:1").unwrap();
    let mut group = criterion.benchmark_group("hub");
    for messages in [1, 8] {
        group.throughput(Throughput::Elements(SEATS as u64 * messages));
        group.bench_function(format!("{messages} to {SEATS} seats"), |bencher| {
            bencher.iter_batched(
                || (hub(&topic), batch(&topic, messages)),
                |(mut hub, batch)| {
                    let delivered = hub.apply(&batch);
                    assert_eq!(delivered.queued, SEATS as u64 * messages);
                    // Dropped outside of the measurement.
                    (hub, batch)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
