//! The acceptor against raw TCP clients.

mod bad_input;
mod lifecycle;
mod tls;
mod upgrade;

use std::{future::poll_fn, sync::Mutex, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    Closed, Inbound, Link, LinkEvent, LinkSettings, Outbox, decode_segment, listen, retry_later,
    text_response,
};

/// Every wait of these tests ends by an event; this only turns a hang into a failure.
const HANG: Duration = Duration::from_secs(20);
/// The key and its answer from RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Clone)]
struct Spawner;

impl Spawn for Spawner {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) {
        tokio::spawn(future);
    }
}

/// A small node: an echo session, a REST endpoint, and a place to wait.
#[derive(Default)]
struct Node {
    events: watch::Sender<Vec<AcceptEvent>>,
    closed: Arc<Mutex<Vec<Closed>>>,
    /// `/wait` answers when this is notified.
    release: Arc<Notify>,
    refuse_all: bool,
}

impl Routes for Node {
    type Accepted = &'static str;

    fn admit(&self, _peer: SocketAddr) -> bool {
        !self.refuse_all
    }

    fn route(&self, head: &RequestHead<'_>) -> Decision<&'static str> {
        match head.path() {
            "/ws" => Decision::Upgrade {
                accepted: "echo",
                protocol: head
                    .subprotocols()
                    .any(|offer| offer == "spark.v1.json")
                    .then_some("spark.v1.json"),
                deflate: None,
            },
            "/busy" => Decision::Respond(retry_later(3, "draining")),
            "/hello" => {
                let who = head.query_value("who").unwrap_or_default();
                assert!(decode_segment(&who).len() < 100);
                Decision::Respond(Response::new(who.into_owned().into()))
            }
            "/echo" => Decision::Serve(Box::new(|request| {
                Box::pin(async move { Response::new(request.into_body()) })
            })),
            "/wait" => {
                let release = Arc::clone(&self.release);
                Decision::Serve(Box::new(move |_| {
                    Box::pin(async move {
                        release.notified().await;
                        text_response(StatusCode::OK, "waited")
                    })
                }))
            }
            _ => Decision::Respond(text_response(StatusCode::NOT_FOUND, "unknown path")),
        }
    }

    fn connected(&self, upgraded: Upgraded<&'static str>) {
        assert_eq!(upgraded.accepted, "echo");
        let closed = Arc::clone(&self.closed);
        tokio::spawn(async move {
            let settings = LinkSettings::default();
            let mut link = Link::new(upgraded.stream, &upgraded.read_ahead, &settings);
            let outbox = Outbox::new(64 * 1024);
            loop {
                match poll_fn(|cx| link.poll(cx, &outbox, true)).await {
                    LinkEvent::Frame(Inbound::Text(text)) => {
                        outbox.push(sparkway_frame::Framed::text(text.as_bytes()));
                    }
                    LinkEvent::Closed(reason) => {
                        closed.lock().unwrap().push(reason);
                        link.finish(HANG).await;
                        return;
                    }
                    _ => {}
                }
            }
        });
    }

    fn observe(&self, event: AcceptEvent) {
        self.events.send_modify(|events| events.push(event));
    }
}

struct Server {
    node: Arc<Node>,
    addr: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<io::Result<()>>,
}

impl Server {
    fn start() -> Self {
        Self::with(AcceptSettings::default(), Node::default(), None)
    }

    fn quick() -> Self {
        let settings = AcceptSettings {
            handshake_deadline: Duration::from_millis(400),
            ..AcceptSettings::default()
        };
        Self::with(settings, Node::default(), None)
    }

    fn with(settings: AcceptSettings, node: Node, tls: Option<Arc<Tls>>) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let node = Arc::new(node);
        let mut acceptor = Acceptor::new(settings, Arc::clone(&node), Spawner);
        if let Some(tls) = tls {
            acceptor = acceptor.with_tls(tls);
        }
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(acceptor.run(listener, shutdown.clone()));
        Self {
            node,
            addr,
            shutdown,
            running,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends `request` on a new connection and reads until the server ends it.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(request.as_ref()).await.unwrap();
        read_all(&mut tcp).await
    }

    async fn seen(&self, wanted: impl Fn(&[AcceptEvent]) -> bool) {
        let mut events = self.node.events.subscribe();
        timeout(HANG, events.wait_for(|events| wanted(events)))
            .await
            .expect("the event")
            .unwrap();
    }
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end too.
    let _ = timeout(HANG, stream.read_to_end(&mut bytes))
        .await
        .expect("an end");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer without a body, or the head of one with a body.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(HANG, stream.read_u8()).await.expect("a byte");
        head.push(byte.expect("an answer"));
    }
    String::from_utf8(head).unwrap()
}

fn status(answer: &str) -> u16 {
    let code = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    code.unwrap_or_else(|| panic!("no answer: {answer:?}"))
        .parse()
        .unwrap()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// An upgrade of `/ws` with `extra` header lines.
fn upgrade(extra: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extra}\r\n"
    )
}

/// A masked text frame, with a mask of zeros.
fn text_frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    bytes.extend(text.as_bytes());
    bytes
}

async fn expect_text(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut frame = vec![0; 2 + text.len()];
    timeout(HANG, stream.read_exact(&mut frame))
        .await
        .expect("a frame")
        .unwrap();
    assert_eq!(frame[0], 0x81);
    assert_eq!(std::str::from_utf8(&frame[2..]).unwrap(), text);
}
