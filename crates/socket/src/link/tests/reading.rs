//! Frames in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use super::*;

#[tokio::test]
async fn fragments_are_joined_and_control_frames_between_them_are_seen() {
    let mut pair = Pair::new(4096);
    let bytes = [
        client_frame(0x01, "gr\u{fc}".as_bytes().split_at(3).0),
        client_frame(0x89, b"now"),
        client_frame(0x00, "gr\u{fc}".as_bytes().split_at(3).1),
        client_frame(0x8a, b""),
        client_frame(0x80, b"n"),
        client_frame(0x02, &[1]),
        client_frame(0x80, &[2]),
    ]
    .concat();
    pair.send(&bytes).await;
    assert!(matches!(pair.next().await, LinkEvent::Frame(Inbound::Ping)));
    assert!(matches!(pair.next().await, LinkEvent::Frame(Inbound::Pong)));
    assert_eq!(pair.text().await, "gr\u{fc}n");
    let LinkEvent::Frame(Inbound::Binary(binary)) = pair.next().await else {
        panic!("no binary");
    };
    assert_eq!(binary[..], [1, 2]);
    // Written when nothing more is at hand.
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.receive(5).await, [0x8a, 3, b'n', b'o', b'w']);
    let traffic = pair.link.traffic();
    assert_eq!((traffic.messages, traffic.control_frames), (2, 2));
    assert_eq!(
        (traffic.bytes_read, traffic.bytes_written),
        (bytes.len() as u64, 5)
    );
}

#[tokio::test]
async fn frames_read_ahead_come_first() {
    let mut ahead = [client_frame(0x81, b"one"), client_frame(0x81, b"two")].concat();
    let rest = ahead.split_off(ahead.len() - 4);
    let (ours, mut peer) = tokio::io::duplex(64);
    let mut link = Link::new(ours, &ahead, &LinkSettings::default());
    peer.write_all(&rest).await.unwrap();
    let outbox = Outbox::new(64);
    for expected in ["one", "two"] {
        let event = poll_fn(|cx| link.poll(cx, &outbox, true)).await;
        let LinkEvent::Frame(Inbound::Text(text)) = event else {
            panic!("{event:?}");
        };
        assert_eq!(text, expected);
    }
}

#[tokio::test]
async fn violation_read_ahead_is_refused_after_the_frames_before_it() {
    let ahead = [client_frame(0x81, b"one"), vec![0x81, 0x01, b'x']].concat();
    let (ours, _peer) = tokio::io::duplex(64);
    let mut link = Link::new(ours, &ahead, &LinkSettings::default());
    let outbox = Outbox::new(64);
    let first = poll_fn(|cx| link.poll(cx, &outbox, true)).await;
    assert!(matches!(first, LinkEvent::Frame(Inbound::Text(_))));
    let second = poll_fn(|cx| link.poll(cx, &outbox, true)).await;
    assert!(matches!(second, LinkEvent::Closed(Closed::Violation(_))));
}

#[tokio::test]
async fn messages_of_all_sizes_survive_every_cut_and_the_release_of_the_buffer() {
    let sizes = [
        0, 1, 125, 126, 511, 512, 513, 5000, 3, 65_535, 65_536, 7, 20_000, 1,
    ];
    let payload = |size: usize, at: usize| vec![u8::try_from(at).unwrap(); size];
    let bytes: Vec<u8> = sizes
        .iter()
        .enumerate()
        .flat_map(|(at, size)| client_frame(0x82, &payload(*size, at)))
        .collect();
    // One poll after the other without a pause would exhaust the runtime's budget.
    tokio::task::coop::unconstrained(async {
        for step in [bytes.len(), 60_001, 1500, 514, 512, 100, 15, 7] {
            let mut pair = Pair::new(bytes.len());
            let mut received = 0;
            for piece in bytes.chunks(step) {
                pair.send(piece).await;
                // Until the link is idle, which is when it releases its buffer.
                loop {
                    match pair.poll_once() {
                        Poll::Ready(LinkEvent::Frame(Inbound::Binary(binary))) => {
                            assert_eq!(binary, payload(sizes[received], received), "{step}");
                            received += 1;
                        }
                        Poll::Ready(other) => panic!("{other:?}"),
                        Poll::Pending if pair.link.input_idle => break,
                        Poll::Pending => {}
                    }
                }
            }
            assert_eq!(received, sizes.len(), "{step}");
            assert!(
                pair.link.scanner.largest() <= 512,
                "the buffer was released"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_read_while_reading_is_not_wanted() {
    let mut pair = Pair::new(4096);
    pair.send(&client_frame(0x81, b"wait")).await;
    pair.outbox.push(Framed::text(b"out"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pair.link.poll(&mut cx, &pair.outbox, false).is_pending());
    assert_eq!(pair.link.traffic().bytes_read, 0);
    assert_eq!(&pair.receive(5).await[2..], b"out");
    assert_eq!(pair.text().await, "wait");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn flooding_client_yields_after_its_share_of_frames() {
    let mut pair = Pair::new(64 * 1024);
    pair.send(&client_frame(0x81, b"x").repeat(100)).await;
    let wakes = Arc::new(Wakes::default());
    let owner = Waker::from(Arc::clone(&wakes));
    let mut turns = Vec::new();
    for _ in 0..4 {
        let mut frames = 0;
        while pair
            .link
            .poll(&mut Context::from_waker(&owner), &pair.outbox, true)
            .is_ready()
        {
            frames += 1;
        }
        turns.push((frames, wakes.0.load(Ordering::Relaxed)));
    }
    assert_eq!(turns, [(32, 1), (64 - 32, 2), (96 - 64, 3), (4, 3)]);
}

#[tokio::test]
async fn endless_fragments_yield_within_a_message() {
    let settings = LinkSettings {
        fragments: u32::MAX,
        ..LinkSettings::default()
    };
    let mut pair = Pair::with(256 * 1024, settings);
    pair.send(&client_frame(0x02, b"")).await;
    pair.send(&client_frame(0x00, b"").repeat(20_000)).await;
    let wakes = Arc::new(Wakes::default());
    let owner = Waker::from(Arc::clone(&wakes));
    let polled = pair
        .link
        .poll(&mut Context::from_waker(&owner), &pair.outbox, true);
    assert!(polled.is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert!(pair.link.traffic().bytes_read <= 32 * 512);
}

#[tokio::test]
async fn wake_reports_before_frames_and_once() {
    let mut pair = Pair::new(4096);
    pair.send(&client_frame(0x81, b"x")).await;
    pair.outbox.wake();
    pair.outbox.wake();
    assert!(matches!(pair.next().await, LinkEvent::Woken));
    assert_eq!(pair.text().await, "x");
    assert!(pair.poll_once().is_pending());
}

#[tokio::test]
async fn answers_to_a_burst_leave_in_one_write() {
    let mut pair = Pair::new(4096);
    pair.send(&client_frame(0x81, b"x").repeat(10)).await;
    for _ in 0..10 {
        assert_eq!(pair.text().await, "x");
        pair.outbox.push(Framed::text(b"y"));
        assert_eq!(pair.link.traffic().bytes_written, 0);
    }
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.receive(30).await, [0x81, 1, b'y'].repeat(10));
}
