//! The link against a peer that is a raw byte stream.

mod bad_input;
mod closing;
mod cuts;
mod reading;
mod writing;

use std::{future::poll_fn, mem::size_of, time::Duration};

use sparkway_frame::{Framed, Opcode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use super::*;

/// Every wait of these tests ends by an event; this only turns a hang into a failure.
const HANG: Duration = Duration::from_secs(20);

/// A frame as a client sends it.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..65_536 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0xff);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x5a, 0x01, 0xff, 0x33];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

/// A link and the other end of its stream.
struct Pair {
    link: Link<DuplexStream>,
    outbox: Outbox,
    peer: DuplexStream,
}

impl Pair {
    /// `pipe`: bytes the stream holds in each direction.
    fn new(pipe: usize) -> Self {
        Self::with(pipe, LinkSettings::default())
    }

    fn with(pipe: usize, settings: LinkSettings) -> Self {
        let (ours, peer) = tokio::io::duplex(pipe);
        Self {
            link: Link::new(ours, &[], &settings),
            outbox: Outbox::new(64 * 1024),
            peer,
        }
    }

    async fn next(&mut self) -> LinkEvent {
        timeout(HANG, poll_fn(|cx| self.link.poll(cx, &self.outbox, true)))
            .await
            .expect("an event")
    }

    async fn send(&mut self, bytes: &[u8]) {
        timeout(HANG, self.peer.write_all(bytes))
            .await
            .expect("room in the pipe")
            .unwrap();
    }

    async fn receive(&mut self, bytes: usize) -> Vec<u8> {
        let mut received = vec![0; bytes];
        timeout(HANG, self.peer.read_exact(&mut received))
            .await
            .expect("bytes from the link")
            .unwrap();
        received
    }

    /// Polls once; the waker is not called.
    fn poll_once(&mut self) -> Poll<LinkEvent> {
        self.link.poll(
            &mut Context::from_waker(std::task::Waker::noop()),
            &self.outbox,
            true,
        )
    }

    async fn text(&mut self) -> String {
        match self.next().await {
            LinkEvent::Frame(Inbound::Text(text)) => text.as_str().to_owned(),
            other => panic!("not a text: {other:?}"),
        }
    }

    async fn closed(&mut self) -> Closed {
        match self.next().await {
            LinkEvent::Closed(closed) => closed,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Ends the link while the peer reads everything. Answers what the peer received.
    async fn finish(mut self) -> Vec<u8> {
        let mut received = Vec::new();
        let peer = async {
            self.peer.read_to_end(&mut received).await.unwrap();
            self.peer.shutdown().await.unwrap();
        };
        let (in_time, ()) = tokio::join!(self.link.finish(HANG), peer);
        assert!(in_time);
        received
    }
}

/// The frames of server bytes, which must be whole.
fn server_frames(bytes: &[u8]) -> Vec<(Opcode, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let [first, length, ..] = *rest {
        let (payload_bytes, header_bytes) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 => panic!("no frame here is that long"),
            short => (usize::from(short), 2),
        };
        let opcode = match first {
            0x81 => Opcode::Text,
            0x82 => Opcode::Binary,
            0x88 => Opcode::Close,
            0x89 => Opcode::Ping,
            0x8a => Opcode::Pong,
            other => panic!("no server frame begins with {other:#x}"),
        };
        let end = header_bytes + payload_bytes;
        frames.push((opcode, rest[header_bytes..end].to_vec()));
        rest = &rest[end..];
    }
    assert!(rest.is_empty(), "half a frame");
    frames
}

fn close_code(frames: &[(Opcode, Vec<u8>)]) -> u16 {
    match frames {
        [.., (Opcode::Close, payload)] => u16::from_be_bytes([payload[0], payload[1]]),
        other => panic!("does not end with a close: {other:?}"),
    }
}

#[test]
fn link_and_its_task_stay_small() {
    let stream = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    };
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    let stream = Stream::Tcp(tokio::net::TcpStream::from_std(stream).unwrap());
    let mut link = Link::new(stream, &[], &LinkSettings::default());
    let outbox = std::sync::Arc::new(Outbox::new(1));
    // A block, for an `async fn` would hold its parameters twice.
    let task = async move {
        while let LinkEvent::Frame(_) = poll_fn(|cx| link.poll(cx, &outbox, true)).await {}
    };
    println!(
        "link {} task {} outbox {}",
        size_of::<Link>(),
        size_of_val(&task),
        size_of::<Outbox>()
    );
    assert!(size_of::<Link>() <= 528);
    assert!(size_of_val(&task) < 700);
    assert!(size_of::<Outbox>() <= 96);
}
