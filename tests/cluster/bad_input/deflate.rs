//! permessage-deflate: what is agreed, what comes, and what a bomb does.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::frames::frame;
use crate::harness::SOON;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::http::{Answer, upgrade};

const ON: (&str, &str) = ("server.compression", "deflate");
const DEFLATED_TEXT: u8 = 0x80 | 0x40 | 1;

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(plain.len() + 1000);
    compress
        .compress_vec(plain, &mut out, FlushCompress::Sync)
        .unwrap();
    out.truncate(out.len() - 4);
    out
}

fn inflated(short: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let input = [short, &[0, 0, 0xff, 0xff]].concat();
    let mut inflater = Decompress::new(false);
    inflater
        .decompress_vec(&input, &mut out, FlushDecompress::Sync)
        .unwrap();
    out
}

/// A connection on which every byte is under control.
struct Raw {
    stream: TcpStream,
    bytes: Vec<u8>,
    head: Answer,
}

impl Raw {
    async fn open(port: u16, offer: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = upgrade(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "no answer");
        };
        let rest = bytes.split_off(end);
        let head = Answer::parse(&String::from_utf8(bytes).unwrap()).unwrap();
        Self {
            stream,
            bytes: rest,
            head,
        }
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        self.stream.write_all(&frame(first, payload)).await.unwrap();
    }

    /// The next frame: first byte and payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [first, length, rest @ ..] = &self.bytes[..] {
                let (length, head) = match (length, rest) {
                    (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 4),
                    (126, _) => (usize::MAX, 4),
                    (short, _) => (usize::from(*short), 2),
                };
                if self.bytes.len() - head.min(self.bytes.len()) >= length {
                    let first = *first;
                    let payload = self.bytes[head..head + length].to_vec();
                    self.bytes.drain(..head + length);
                    return (first, payload);
                }
            }
            let read = self.stream.read_buf(&mut self.bytes);
            let read = tokio::time::timeout(SOON, read)
                .await
                .expect("a frame")
                .unwrap();
            assert!(read > 0, "closed");
        }
    }

    /// The next text, whether it was deflated, and its length on the wire.
    async fn text(&mut self) -> (Value, bool, usize) {
        let (first, payload) = self.frame().await;
        let short = first == DEFLATED_TEXT;
        assert!(short || first == 0x81, "{first:#x}");
        let plain = if short {
            inflated(&payload)
        } else {
            payload.clone()
        };
        (
            serde_json::from_slice(&plain).unwrap(),
            short,
            payload.len(),
        )
    }

    async fn begin(&mut self) {
        self.send(DEFLATED_TEXT, &deflated(br#"{"type":"ws:connect"}"#))
            .await;
        assert_eq!(self.text().await.0["type"], "ws:connect_ack");
    }

    async fn ask(&mut self, frame: Value) -> Value {
        self.send(DEFLATED_TEXT, &deflated(frame.to_string().as_bytes()))
            .await;
        self.text().await.0
    }
}

#[tokio::test]
async fn messages_are_deflated_both_ways_where_it_was_agreed() {
    let cluster = Cluster::memory(&[ON]).await;
    let offer = "permessage-deflate; client_max_window_bits";
    let mut raw = Raw::open(cluster.port(), offer).await;
    let agreed = raw.head.header("sec-websocket-extensions").expect("agreed");
    assert!(
        agreed.contains("server_no_context_takeover")
            && agreed.contains("client_no_context_takeover")
    );
    raw.begin().await;
    let subscribe = json!({"type": "topic:subscribe", "id": "s", "data": {"topics": ["t"]}});
    assert_eq!(raw.ask(subscribe).await["type"], "ws:ack");
    let text = "the same again and again, ".repeat(100);
    let publish = json!({"type": "topic:publish", "topic": "t", "data": text});
    // Plain messages may be mixed in.
    raw.send(0x81, publish.to_string().as_bytes()).await;
    let (message, short, length) = raw.text().await;
    assert!(short && length < 300, "{length} bytes, deflated: {short}");
    assert_eq!(message["data"], text);
    // A client with a small window is sent plain messages, and may deflate its own.
    let mut small = Raw::open(
        cluster.port(),
        "permessage-deflate; server_max_window_bits=10",
    )
    .await;
    assert!(
        small
            .head
            .header("sec-websocket-extensions")
            .unwrap()
            .ends_with("server_max_window_bits=10")
    );
    small.begin().await;
    let subscribe = json!({"type": "topic:subscribe", "id": "s", "data": {"topics": ["t"]}});
    assert_eq!(small.ask(subscribe).await["type"], "ws:ack");
    raw.send(0x81, publish.to_string().as_bytes()).await;
    let (message, short, _) = small.text().await;
    assert!(!short);
    assert_eq!(message["data"], text);
}

#[tokio::test]
async fn a_compression_bomb_closes_1009_and_costs_no_memory() {
    let cluster = Cluster::memory(&[ON]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let before = cluster.processes[0].memory();
    let bomb = deflated(&vec![b' '; 60 << 20]);
    assert!(bomb.len() < 65_536, "{}", bomb.len());
    for _ in 0..20 {
        let mut raw = Raw::open(cluster.port(), "permessage-deflate").await;
        raw.begin().await;
        raw.send(DEFLATED_TEXT, &bomb).await;
        let (told, ..) = raw.text().await;
        assert_eq!(
            (&told["type"], &told["data"]["code"]),
            (&json!("ws:close"), &json!(1009))
        );
        let (first, payload) = raw.frame().await;
        assert_eq!((first, &payload[..2]), (0x88, &1009_u16.to_be_bytes()[..]));
    }
    let grown = cluster.processes[0].memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    bystander.noticed_nothing().await;
}

#[tokio::test]
async fn by_default_deflate_is_not_agreed_and_a_deflated_frame_closes_1002() {
    let cluster = Cluster::memory(&[]).await;
    let mut raw = Raw::open(cluster.port(), "permessage-deflate").await;
    assert_eq!(raw.head.status, 101);
    assert!(raw.head.header("sec-websocket-extensions").is_none());
    raw.send(DEFLATED_TEXT, &deflated(br#"{"type":"ws:connect"}"#))
        .await;
    let (told, ..) = raw.text().await;
    assert_eq!(told["data"]["code"], 1002);
    // Garbage where it was agreed is no text.
    let agreed = Cluster::memory(&[ON]).await;
    let mut raw = Raw::open(agreed.port(), "permessage-deflate").await;
    raw.begin().await;
    raw.send(DEFLATED_TEXT, &[0xff; 40]).await;
    let (told, ..) = raw.text().await;
    assert_eq!(told["data"]["code"], 1007);
}
