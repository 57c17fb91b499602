//! Rows B01-B12 of the bad-input matrix, at this layer.

use super::*;

/// Sends `bytes` whole and then byte by byte: both ways the peer must be told `code`.
async fn refused(bytes: &[u8], code: u16) {
    for step in [bytes.len(), 1] {
        let mut pair = Pair::new(4096);
        for piece in bytes.chunks(step) {
            pair.send(piece).await;
            if matches!(pair.link.phase, Phase::Open)
                && let Poll::Ready(event) = pair.poll_once()
            {
                let LinkEvent::Closed(Closed::Violation(violation)) = event else {
                    panic!("{bytes:x?}: {event:?}");
                };
                assert_eq!(violation.reason.code(), code, "{bytes:x?}: {violation:?}");
            }
        }
        assert!(
            !matches!(pair.link.phase, Phase::Open),
            "{bytes:x?} was not refused"
        );
        let received = server_frames(&pair.finish().await);
        assert_eq!(received.len(), 1);
        assert_eq!(close_code(&received), code, "{bytes:x?}");
    }
}

#[tokio::test]
async fn unmasked_frame_is_refused_with_1002() {
    refused(&[0x81, 0x02, b'h', b'i'], 1002).await;
    refused(&[0x81, 0x00], 1002).await;
}

#[tokio::test]
async fn where_deflate_was_agreed_nothing_behind_a_fault_is_delivered() {
    // "Hello", deflated (RFC 7692, 7.2.3.1): masked, without a mask, and masked again.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let good = client_frame(0xc1, &hello);
    let bytes = [&good[..], &[0xc1, 0x07], &hello, &good].concat();
    let settings = LinkSettings {
        deflate: true,
        ..LinkSettings::default()
    };
    for step in [bytes.len(), 5, 1] {
        let mut pair = Pair::with(4096, settings);
        for piece in bytes.chunks(step) {
            pair.send(piece).await;
        }
        assert_eq!(pair.text().await, "Hello");
        let Closed::Violation(violation) = pair.closed().await else {
            panic!("not refused");
        };
        assert_eq!(violation.detail, "frame not masked");
    }
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_refused_with_1002() {
    for first in [0xc1, 0xa1, 0x91, 0xc9] {
        refused(&client_frame(first, b"x"), 1002).await;
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        refused(&client_frame(0x80 | opcode, b""), 1002).await;
    }
}

#[tokio::test]
async fn fragmented_or_long_control_frame_is_refused_with_1002() {
    for opcode in [0x8, 0x9, 0xa] {
        refused(&client_frame(opcode, b""), 1002).await;
        refused(&client_frame(0x80 | opcode, &[b'a'; 126]), 1002).await;
    }
}

#[tokio::test]
async fn broken_fragmentation_is_refused_with_1002() {
    refused(&client_frame(0x80, b"x"), 1002).await;
    refused(&client_frame(0x00, b"x"), 1002).await;
    let inside = [client_frame(0x01, b"a"), client_frame(0x81, b"b")].concat();
    refused(&inside, 1002).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_with_1007() {
    for text in [
        &[0xff][..],
        &[0xc0, 0x80],
        &[0xed, 0xa0, 0x80],
        &[0xe2, 0x82],
    ] {
        refused(&client_frame(0x81, text), 1007).await;
    }
    // Fail fast: the message is not complete yet.
    let split = [client_frame(0x01, &[0xe2]), client_frame(0x00, &[0x28])].concat();
    refused(&split, 1007).await;
    refused(&client_frame(0x88, &[0x03, 0xe8, 0xff]), 1007).await;
}

#[tokio::test]
async fn frame_over_the_limit_is_refused_with_1009_from_its_header() {
    for length in [64 * 1024 + 1, (1 << 63) - 1, 1 << 63, u64::MAX] {
        let mut header = vec![0x82, 0xff];
        header.extend(length.to_be_bytes());
        header.extend([0; 4]);
        refused(&header, 1009).await;
    }
}

#[tokio::test]
async fn message_over_the_limit_is_refused_with_1009_over_its_fragments() {
    let settings = LinkSettings {
        message_bytes: 1000,
        ..LinkSettings::default()
    };
    let mut pair = Pair::with(8192, settings);
    pair.send(&client_frame(0x01, &[b'a'; 600])).await;
    pair.send(&client_frame(0x80, &[b'a'; 401])).await;
    let Closed::Violation(violation) = pair.closed().await else {
        panic!("accepted");
    };
    assert_eq!(violation.reason.code(), 1009);
}

#[tokio::test]
async fn announced_but_unsent_message_can_be_timed_by_its_number() {
    let mut pair = Pair::new(4096);
    assert_eq!(pair.link.unfinished(), None);
    pair.send(&client_frame(0x81, b"first")).await;
    pair.text().await;
    assert_eq!(pair.link.unfinished(), None);
    let mut header = vec![0x82, 0xff];
    header.extend((64_u64 * 1024).to_be_bytes());
    pair.send(&header).await;
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.link.unfinished(), Some(1));
    pair.send(&[0; 100]).await;
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.link.unfinished(), Some(1));
}

#[tokio::test]
async fn fragments_without_end_are_refused_with_1008() {
    let mut pair = Pair::new(8192);
    let empty = client_frame(0x00, b"");
    let flood = [client_frame(0x01, b"")]
        .into_iter()
        .chain((0..200_000).map(|_| empty.clone()));
    let flood = flood.collect::<Vec<_>>().concat();
    let (mut peer, link_end) = tokio::io::duplex(8192);
    pair.link = Link::new(link_end, &[], &LinkSettings::default());
    let sending = tokio::spawn(async move { peer.write_all(&flood).await });
    let Closed::Violation(violation) = pair.closed().await else {
        panic!("accepted");
    };
    assert_eq!(violation.reason.code(), 1008);
    assert!(pair.link.traffic().bytes_read < 10_000);
    drop(pair);
    assert!(sending.await.unwrap().is_err());
}

#[tokio::test]
async fn nothing_that_comes_after_a_fault_is_handed_out_though_it_was_read_with_it() {
    let settings = LinkSettings {
        fragments: 2,
        ..LinkSettings::default()
    };
    for step in [1, 7, 1000] {
        let mut pair = Pair::with(8192, settings);
        let bytes = [
            client_frame(0x81, b"before"),
            client_frame(0x01, b"a"),
            client_frame(0x00, b"b"),
            client_frame(0x80, b"c"),
            client_frame(0x89, b"after"),
        ];
        for piece in bytes.concat().chunks(step) {
            pair.send(piece).await;
        }
        assert_eq!(pair.text().await, "before");
        let Closed::Violation(violation) = pair.closed().await else {
            panic!("accepted");
        };
        assert_eq!(violation.detail, "too many fragments", "in steps of {step}");
        assert_eq!(pair.link.traffic().messages, 1);
        assert_eq!(pair.link.traffic().control_frames, 0);
    }
}

#[tokio::test]
async fn as_many_fragments_as_allowed_are_joined() {
    let mut pair = Pair::new(16_384);
    pair.send(&client_frame(0x01, b"a")).await;
    for _ in 0..1022 {
        pair.send(&client_frame(0x00, b"a")).await;
    }
    pair.send(&client_frame(0x80, b"a")).await;
    assert_eq!(pair.text().await, "a".repeat(1024));
}

#[tokio::test]
async fn length_in_a_longer_form_than_needed_is_accepted() {
    let mut pair = Pair::new(4096);
    pair.send(&[0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'h', b'i']).await;
    pair.send(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, b'h', b'o'])
        .await;
    assert_eq!(pair.text().await, "hi");
    assert_eq!(pair.text().await, "ho");
}

#[tokio::test]
async fn close_codes_that_may_not_be_sent_are_answered_with_1002() {
    for code in [
        0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65_535,
    ] {
        let mut pair = Pair::new(4096);
        pair.send(&client_frame(0x88, &u16::to_be_bytes(code)))
            .await;
        let closed = pair.closed().await;
        assert!(
            matches!(
                closed,
                Closed::Peer {
                    code: Some(1002),
                    ..
                }
            ),
            "{code}: {closed:?}"
        );
        assert_eq!(
            close_code(&server_frames(&pair.finish().await)),
            1002,
            "{code}"
        );
    }
    refused(&client_frame(0x88, &[3]), 1002).await;
}

#[tokio::test]
async fn close_codes_that_may_be_sent_are_echoed() {
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        let mut pair = Pair::new(4096);
        let payload = [&u16::to_be_bytes(code)[..], b"bye"].concat();
        pair.send(&client_frame(0x88, &payload)).await;
        let expected = Closed::Peer {
            code: Some(code),
            reason: Utf8Bytes::from_static("bye"),
        };
        assert_eq!(pair.closed().await, expected);
        assert_eq!(close_code(&server_frames(&pair.finish().await)), code);
    }
}

#[tokio::test]
async fn ping_flood_costs_a_few_pongs() {
    let mut pair = Pair::new(1024);
    // The peer's pipe is full: nothing can be written, as for a peer that does not read.
    pair.outbox.push(Framed::binary(&[0; 2000]));
    assert!(pair.poll_once().is_pending());
    let mut pings = 0_u32;
    while pings < 100_000 {
        pair.send(&client_frame(0x89, &pings.to_be_bytes())).await;
        assert!(matches!(pair.next().await, LinkEvent::Frame(Inbound::Ping)));
        pings += 1;
        assert!(pair.link.egress.capacity() <= 4);
    }
    assert_eq!(pair.link.traffic().control_frames, 100_000);
    pair.link.start_close(&pair.outbox, 1008, "pings");
    pair.send(&client_frame(0x88, &1008_u16.to_be_bytes()))
        .await;
    let received = server_frames(&pair.finish().await);
    let opcodes: Vec<_> = received.iter().map(|(opcode, _)| *opcode).collect();
    let (first, answers, last) = (opcodes[0], &opcodes[1..17], opcodes[17]);
    assert_eq!((first, last), (Opcode::Binary, Opcode::Close));
    assert!(answers.iter().all(|opcode| *opcode == Opcode::Pong) && opcodes.len() == 18);
    assert_eq!(received[16].1, 99_999_u32.to_be_bytes());
}

#[tokio::test]
async fn frames_before_a_violation_are_delivered() {
    let mut pair = Pair::new(4096);
    let bytes = [client_frame(0x81, b"good"), vec![0x81, 0x01, b'x']].concat();
    pair.send(&bytes).await;
    assert_eq!(pair.text().await, "good");
    assert!(matches!(pair.closed().await, Closed::Violation(_)));
}
