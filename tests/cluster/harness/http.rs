//! Plain HTTP, as raw as a test wants it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request that a WebSocket client would send; tests replace parts of it.
pub(crate) const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The upgrade request with more header lines (each ending in CRLF).
pub(crate) fn upgrade(more: &str) -> String {
    UPGRADE.replace("\r\n\r\n", &format!("\r\n{more}\r\n"))
}

/// Status of a GET, or `None` when there is no answer.
pub(crate) async fn status(port: u16, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = try_ask(port, request.as_bytes()).await?;
    Answer::parse(&answer).map(|answer| answer.status)
}

/// The body of a GET.
pub(crate) async fn body(port: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = try_ask(port, request.as_bytes()).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

/// Sends bytes and reads the answer until the node closes, or has answered an upgrade.
pub(crate) async fn ask(port: u16, request: impl AsRef<[u8]>) -> Option<Answer> {
    let text = try_ask(port, request.as_ref())
        .await
        .expect("the node accepts");
    Answer::parse(&text)
}

async fn try_ask(port: u16, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    // A node that refuses may have closed before everything was sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let reading = async {
        let mut piece = vec![0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
            if answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n") {
                return;
            }
        }
    };
    let _ = timeout(Duration::from_secs(8), reading).await;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let status = text.split_whitespace().nth(1)?.parse().ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some(Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Everything that was said.
    pub(crate) fn whole(&self) -> String {
        format!("{}\n{}\n", self.head, self.body)
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}
