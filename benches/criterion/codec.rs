//! Spark frames of clients, and messages to them, in both encodings.

#![expect(clippy::unwrap_used, reason = "without its input a bench must stop")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sparkway_dialect::{Wire, decode, encode};
use sparkway_protocol::{Entry, Event, Format, MessageId, Payload, TopicName};

const PAYLOADS: [usize; 3] = [128, 4 * 1024, 32 * 1024];

/// A JSON object of about `bytes` bytes.
fn json(bytes: usize) -> String {
    let items = (bytes / 16).max(1);
    let fields: Vec<_> = (0..items)
        .map(|at| format!("\"k{at:04}\":{at:06}1"))
        .collect();
    let fields = fields.join(",").replace(":0", ":1");
    format!("{{{fields}}}")
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for bytes in PAYLOADS {
        let data = json(bytes);
        let frame = format!(
            "{{\"type\":\"topic:publish\",\"id\":\"p1\",\"topic\":\"room:1\",\"data\":{data}}}"
        );
        decode(Format::SparkJson, Wire::Text(&frame)).unwrap();
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(format!("publish json {bytes}"), |bencher| {
            bencher.iter(|| decode(Format::SparkJson, Wire::Text(black_box(&frame))));
        });
    }
    let ack = "{\"type\":\"ws:ack\",\"data\":{\"ackId\":\"241663180800016\"}}";
    group.throughput(Throughput::Bytes(ack.len() as u64));
    group.bench_function("ack json", |bencher| {
        bencher.iter(|| decode(Format::SparkJson, Wire::Text(black_box(ack))));
    });
    // {"type": "topic:publish", "topic": "room:1", "data": <128 bytes>}
    let mut packed = b"\x83\xa4type\xadtopic:publish\xa5topic\xa6room:1\xa4data\xc4\x80".to_vec();
    packed.resize(packed.len() + 128, 7);
    decode(Format::SparkMsgPack, Wire::Binary(&packed)).unwrap();
    group.throughput(Throughput::Bytes(packed.len() as u64));
    group.bench_function("publish msgpack 128", |bencher| {
        bencher.iter(|| decode(Format::SparkMsgPack, Wire::Binary(black_box(&packed))));
    });
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for bytes in PAYLOADS {
        let event = Event::Message(Arc::new(Entry {
            id: MessageId::new(241_663_180_800_016).unwrap(),
            prev: MessageId::ZERO,
            topic: TopicName::parse("room:1").unwrap(),
            from: None,
            origin: None,
            exclude_origin: false,
            trace: None,
            payload: Payload::json(json(bytes).into()),
        }));
        for (name, format) in [
            ("json", Format::SparkJson),
            ("msgpack", Format::SparkMsgPack),
        ] {
            let length = encode(format, &event).unwrap().len();
            group.throughput(Throughput::Bytes(length as u64));
            group.bench_function(format!("message {name} {bytes}"), |bencher| {
                bencher.iter(|| encode(format, black_box(&event)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decoding, encoding);
criterion_main!(benches);
