//! Close handshakes in both directions.

use super::*;
use crate::Push;

#[tokio::test]
async fn own_close_follows_everything_queued_and_ends_with_the_answer() {
    let mut pair = Pair::new(4096);
    pair.outbox.push(Framed::text(b"last"));
    pair.link.start_close(&pair.outbox, 1012, "Service restart");
    assert_eq!(pair.outbox.push(Framed::text(b"late")), Push::Closed);
    let peer = async {
        let mut received = vec![0; 6 + 2 + 17];
        pair.peer.read_exact(&mut received).await.unwrap();
        // Data that was under way is ignored, the close behind it counts.
        pair.peer
            .write_all(&client_frame(0x81, b"late"))
            .await
            .unwrap();
        pair.peer
            .write_all(&client_frame(0x88, &1012_u16.to_be_bytes()))
            .await
            .unwrap();
        assert_eq!(
            pair.peer.read(&mut [0]).await.unwrap(),
            0,
            "the server ends first"
        );
        pair.peer.shutdown().await.unwrap();
        received
    };
    let (in_time, received) = tokio::join!(pair.link.finish(HANG), peer);
    assert!(in_time);
    let frames = server_frames(&received);
    assert_eq!(frames[0], (Opcode::Text, b"last".to_vec()));
    assert_eq!(close_code(&frames), 1012);
}

#[tokio::test]
async fn close_crossing_the_peers_close_needs_no_second_one() {
    let mut pair = Pair::new(4096);
    let both = [client_frame(0x81, b"one"), client_frame(0x88, b"")].concat();
    pair.send(&both).await;
    assert_eq!(pair.text().await, "one");
    // The peer's close is read but not yet reported.
    pair.link.start_close(&pair.outbox, 1000, "");
    assert_eq!(close_code(&server_frames(&pair.finish().await)), 1000);
}

#[tokio::test]
async fn peers_close_is_answered_at_once_and_unsent_frames_are_dropped() {
    let mut pair = Pair::new(8);
    pair.outbox
        .push(Framed::text(b"begun, but longer than the pipe"));
    pair.outbox.push(Framed::text(b"never begun"));
    assert!(pair.poll_once().is_pending());
    pair.send(&client_frame(0x88, &1000_u16.to_be_bytes()))
        .await;
    let closed = pair.closed().await;
    assert!(matches!(
        closed,
        Closed::Peer {
            code: Some(1000),
            ..
        }
    ));
    assert!(pair.outbox.is_closed());
    let frames = server_frames(&pair.finish().await);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].0, Opcode::Text);
    assert_eq!(close_code(&frames), 1000);
}

#[tokio::test]
async fn close_without_a_code_is_answered_without_one() {
    let mut pair = Pair::new(64);
    pair.send(&client_frame(0x88, b"")).await;
    assert!(matches!(
        pair.closed().await,
        Closed::Peer { code: None, .. }
    ));
    assert_eq!(pair.finish().await, [0x88, 0]);
}

#[tokio::test]
async fn data_after_the_peers_close_is_ignored() {
    let mut pair = Pair::new(4096);
    let bytes = [
        client_frame(0x88, b""),
        client_frame(0x81, b"late"),
        vec![0xff; 100],
    ]
    .concat();
    pair.send(&bytes).await;
    assert!(matches!(pair.closed().await, Closed::Peer { .. }));
    assert_eq!(pair.finish().await, [0x88, 0]);
}

#[tokio::test]
async fn unanswered_close_ends_at_the_deadline() {
    let mut pair = Pair::new(4096);
    pair.link.start_close(&pair.outbox, 1000, "");
    assert!(!pair.link.finish(Duration::from_millis(20)).await);
    // Nor does a peer that keeps talking hold it open.
    let chatter = client_frame(0x81, b"still here");
    let (in_time, ()) = tokio::join!(pair.link.finish(Duration::from_millis(20)), async {
        for _ in 0..100 {
            pair.peer.write_all(&chatter).await.unwrap();
        }
    });
    assert!(!in_time);
}

#[tokio::test]
async fn stream_that_ends_without_a_close_is_gone() {
    let mut pair = Pair::new(64);
    pair.peer.shutdown().await.unwrap();
    assert_eq!(
        pair.closed().await,
        Closed::Gone(io::ErrorKind::UnexpectedEof)
    );
    assert!(pair.outbox.is_closed());
    assert!(pair.link.finish(HANG).await);
    // A stray poll does not hang.
    assert!(matches!(pair.closed().await, Closed::Gone(_)));
}

#[tokio::test]
async fn reset_while_writing_is_gone() {
    let mut pair = Pair::new(64);
    drop(pair.peer);
    pair.outbox.push(Framed::text(b"to nobody"));
    (pair.peer, _) = tokio::io::duplex(1);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(LinkEvent::Closed(closed)) = pair.link.poll(&mut cx, &pair.outbox, false)
    else {
        panic!("not closed");
    };
    assert_eq!(closed, Closed::Gone(io::ErrorKind::BrokenPipe));
}
