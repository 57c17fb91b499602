//! An HTTP server as applications have them: it answers what the test says and keeps what it was
//! asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    head: String,
    pub(crate) text: String,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body.
    Status(u16, String),
    /// Nothing, for so long.
    Hang(Duration),
}

impl Reply {
    /// 200 with a JSON body.
    pub(crate) fn json(body: &Value) -> Self {
        Self::Status(200, body.to_string())
    }
}

type Answering = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The server. It ends with the handle.
pub(crate) struct Backend {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    answering: Arc<Mutex<Answering>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Backend {
    /// Starts a server that answers this way.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answering: Arc<Mutex<Answering>> = Arc::new(Mutex::new(Arc::new(answer)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&seen), Arc::clone(&answering)));
        Self {
            port,
            seen,
            answering,
            accepting,
        }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self
            .answering
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(answer);
    }

    /// The URL of a path, with the address in it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Everything that it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it was asked at a path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Request> {
        let all = self.seen().into_iter();
        all.filter(|request| request.path == path).collect()
    }
}

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Request>>>,
    answering: Arc<Mutex<Answering>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (seen, answering) = (Arc::clone(&seen), Arc::clone(&answering));
        tokio::spawn(async move {
            let mut stream = stream;
            while let Some(request) = read(&mut stream).await {
                let answer = Arc::clone(&answering.lock().unwrap_or_else(PoisonError::into_inner));
                let reply = answer(&request);
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(request);
                let (status, body) = match reply {
                    Reply::Status(status, body) => (status, body),
                    Reply::Hang(long) => {
                        super::time_passes(long).await;
                        return;
                    }
                };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nlocation: /elsewhere\r\n\r\n{body}"
                );
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let path = head.split_whitespace().nth(1)?.to_owned();
    let mut request = Request {
        path,
        head,
        text: String::new(),
    };
    let length: usize = request
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = &bytes[head_end + 4..head_end + 4 + length];
    request.text = String::from_utf8_lossy(body).into_owned();
    Some(request)
}
