//! Frames out.

use std::{io::IoSlice, sync::Arc};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::Push;

/// Frames of many lengths whose payload tells their number.
fn numbered(at: u16) -> Framed {
    let length = usize::from(at) * 37 % 700;
    let payload: Vec<u8> = at
        .to_be_bytes()
        .into_iter()
        .cycle()
        .take(2 + length)
        .collect();
    Framed::binary(&payload)
}

fn number(payload: &[u8]) -> u16 {
    u16::from_be_bytes([payload[0], payload[1]])
}

#[tokio::test]
async fn partial_writes_keep_frames_whole_and_in_order_with_pongs_between() {
    for pipe in [1, 7, 64, 1500] {
        let mut pair = Pair::new(pipe);
        let frames = 200;
        for at in 0..frames {
            assert_eq!(pair.outbox.push_control(numbered(at)), Push::Accepted);
        }
        let (mut reader, mut writer) = tokio::io::split(pair.peer);
        let pinging = tokio::spawn(async move {
            for at in 0..50_u8 {
                writer.write_all(&client_frame(0x89, &[at])).await.unwrap();
            }
            writer
                .write_all(&client_frame(0x81, b"done"))
                .await
                .unwrap();
            writer
        });
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            received
        });
        loop {
            match poll_fn(|cx| pair.link.poll(cx, &pair.outbox, true)).await {
                LinkEvent::Frame(Inbound::Text(_)) => break,
                LinkEvent::Frame(_) | LinkEvent::Drained => {}
                other => panic!("{other:?}"),
            }
        }
        pair.link.start_close(&pair.outbox, 1000, "");
        let mut writer = pinging.await.unwrap();
        let (in_time, ()) = tokio::join!(pair.link.finish(HANG), async {
            writer.write_all(&client_frame(0x88, b"")).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        assert!(in_time);
        let received = server_frames(&reading.await.unwrap());
        let data: Vec<_> = received.iter().filter(|f| f.0 == Opcode::Binary).collect();
        assert!(
            data.iter().map(|f| number(&f.1)).eq(0..frames),
            "pipe {pipe}"
        );
        let pongs: Vec<_> = received.iter().filter(|f| f.0 == Opcode::Pong).collect();
        assert_eq!(pongs.last().unwrap().1, [49], "the latest ping is answered");
        assert!(pongs.is_sorted_by_key(|f| f.1[0]));
        assert_eq!(close_code(&received), 1000);
    }
}

#[tokio::test]
async fn slow_consumer_is_told_full_and_the_feeder_drained() {
    let mut pair = Pair::new(100);
    pair.outbox = Outbox::new(1000);
    let frame = Framed::binary(&[0; 98]);
    for _ in 0..10 {
        assert_eq!(pair.outbox.push(frame.clone()), Push::Accepted);
    }
    assert_eq!(pair.outbox.push(frame.clone()), Push::Full);
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.outbox.bytes(), 900, "100 bytes are in the pipe");
    let mut read = vec![0; 400];
    let (event, _) = tokio::join!(
        poll_fn(|cx| pair.link.poll(cx, &pair.outbox, true)),
        pair.peer.read_exact(&mut read)
    );
    assert!(matches!(event, LinkEvent::Drained), "{event:?}");
    assert!(pair.outbox.bytes() <= 500);
    assert!(pair.poll_once().is_pending(), "reported once");
    assert_eq!(pair.outbox.push(frame), Push::Accepted);
}

/// From the bound on the owner reads nothing: nobody else would tell it to go on.
#[tokio::test]
async fn outbox_that_was_exactly_full_is_reported_as_drained() {
    let mut pair = Pair::new(4096);
    pair.outbox = Outbox::new(100);
    pair.outbox.push_control(Framed::binary(&[0; 98]));
    assert!(pair.outbox.is_full() && pair.outbox.bytes() == 100);
    assert!(matches!(pair.next().await, LinkEvent::Drained));
    assert!(!pair.outbox.is_full());
}

#[tokio::test]
async fn wake_and_drain_are_both_reported() {
    let mut pair = Pair::new(4096);
    pair.outbox = Outbox::new(100);
    pair.outbox.push_control(Framed::binary(&[0; 198]));
    pair.outbox.wake();
    assert!(matches!(pair.next().await, LinkEvent::Woken));
    assert!(matches!(pair.next().await, LinkEvent::Drained));
    assert!(pair.poll_once().is_pending());
}

/// A stream that keeps what each write brought.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>, Hold);

/// Whether a stream keeps back what it took, as one does that encrypts into a full socket.
#[derive(Clone, Default)]
struct Hold(Arc<std::sync::atomic::AtomicBool>);

impl Hold {
    fn set(&self, holds: bool) {
        self.0.store(holds, std::sync::atomic::Ordering::Relaxed);
    }
}

impl AsyncRead for Writes {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let length = bytes.len();
        self.0.push(bytes);
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.1.0.load(std::sync::atomic::Ordering::Relaxed) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl LinkStream for Writes {}

#[test]
fn what_mail_causes_leaves_in_one_write_with_what_was_queued_before() {
    let mut link = Link::new(Writes::default(), &[], &LinkSettings::default());
    let outbox = Outbox::new(1000);
    let mut poll = || {
        let mut context = Context::from_waker(std::task::Waker::noop());
        link.poll(&mut context, &outbox, true)
    };
    outbox.push(Framed::text(b"message"));
    outbox.wake();
    assert!(matches!(poll(), Poll::Ready(LinkEvent::Woken)));
    outbox.push_control(Framed::text(b"answer"));
    assert!(poll().is_pending());
    let [written] = link.stream().0.as_slice() else {
        panic!("one write: {:?}", link.stream().0);
    };
    let frames = server_frames(written);
    assert_eq!(frames[0].1, b"message");
    assert_eq!(frames[1].1, b"answer");
}

#[test]
fn what_an_encrypting_stream_holds_back_is_not_flushed() {
    let hold = Hold::default();
    hold.set(true);
    let stream = Writes(Vec::new(), hold.clone());
    let mut link = Link::new(stream, &[], &LinkSettings::default());
    let outbox = Outbox::new(1000);
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(link.is_flushed(), "nothing was written");
    outbox.push(Framed::text(b"message"));
    assert!(link.poll(&mut context, &outbox, true).is_pending());
    assert_eq!((outbox.bytes(), link.is_flushed()), (0, false));
    hold.set(false);
    assert!(link.poll(&mut context, &outbox, true).is_pending());
    assert!(link.is_flushed());
}

#[tokio::test]
async fn nothing_stays_allocated_after_the_drain() {
    let mut pair = Pair::new(64 * 1024);
    for at in 0..100 {
        pair.outbox.push(numbered(at));
    }
    assert!(pair.outbox.capacity() >= 100);
    assert!(pair.poll_once().is_pending());
    assert_eq!(pair.outbox.bytes(), 0);
    assert_eq!(
        (pair.outbox.capacity(), pair.link.egress.capacity()),
        (0, 0)
    );
}

#[tokio::test]
async fn push_from_another_thread_is_written() {
    let (ours, mut peer) = tokio::io::duplex(64);
    let mut link = Link::new(ours, &[], &LinkSettings::default());
    let outbox = Arc::new(Outbox::new(1000));
    let owner = Arc::clone(&outbox);
    let task = tokio::spawn(async move { poll_fn(|cx| link.poll(cx, &owner, true)).await });
    // Parked: the only way on is the wake of the push.
    tokio::task::yield_now().await;
    let pusher = std::thread::spawn(move || outbox.push(Framed::text(b"hello")));
    let mut received = [0; 7];
    timeout(HANG, peer.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&received[2..], b"hello");
    assert_eq!(pusher.join().unwrap(), Push::Accepted);
    drop(peer);
    assert!(matches!(
        task.await.unwrap(),
        LinkEvent::Closed(Closed::Gone(_))
    ));
}

#[tokio::test]
async fn small_socket_buffer_keeps_frames_whole_on_real_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap());
    let (peer, accepted) = tokio::join!(peer, listener.accept());
    let (mut peer, (stream, _)) = (peer.unwrap(), accepted.unwrap());
    SockRef::from(&stream)
        .set_send_buffer_size(8 * 1024)
        .unwrap();
    let mut link = Link::new(stream, &[], &LinkSettings::default());
    let outbox = Outbox::new(256 * 1024);
    let mut pushed = 0;
    let mut received = Vec::new();
    while pushed < 5000 {
        while pushed < 5000 && outbox.push(numbered(pushed)) == Push::Accepted {
            pushed += 1;
        }
        let mut piece = [0; 3001];
        tokio::select! {
            event = poll_fn(|cx| link.poll(cx, &outbox, true)) => {
                assert!(matches!(event, LinkEvent::Drained), "{event:?}");
            }
            read = peer.read(&mut piece) => received.extend(&piece[..read.unwrap()]),
        }
    }
    link.start_close(&outbox, 1000, "");
    let (in_time, ()) = tokio::join!(link.finish(HANG), async {
        peer.write_all(&client_frame(0x88, b"")).await.unwrap();
        peer.read_to_end(&mut received).await.unwrap();
        peer.shutdown().await.unwrap();
    });
    assert!(in_time);
    let frames = server_frames(&received);
    let data = frames.iter().filter(|f| f.0 == Opcode::Binary);
    assert!(data.map(|f| number(&f.1)).eq(0..5000));
    assert_eq!(close_code(&frames), 1000);
}
