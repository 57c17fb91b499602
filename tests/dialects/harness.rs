//! One or two nodes of the real binary, and clients that know nothing but WebSocket.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sparkway_auth::{NewToken, mint};
use sparkway_protocol::UserId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Longest wait for anything that should come at once. Generous: the machine may be busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);
const SECRET: &str = "a-secret-of-the-tests-with-enough-bytes-in-it";

/// Where a row has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One node with the embedded store.
    Embedded,
    /// One node with Redis.
    OneRedis,
    /// Two nodes over one Redis.
    TwoNodes,
    /// Two nodes over a Redis Cluster of three masters: what must be in one place is.
    RedisCluster,
}

thread_local! {
    static LAYOUT: Cell<Option<Layout>> = const { Cell::new(None) };
}

impl Layout {
    /// Runs a test whose nodes are laid out like this, whatever it says itself.
    pub(crate) fn holds(self, test: fn()) {
        LAYOUT.set(Some(self));
        test();
        LAYOUT.set(None);
    }

    /// Where the test that asks runs, if that is said.
    pub(crate) fn wanted() -> Option<Self> {
        LAYOUT.get()
    }
}

/// Tests of a module, again in other layouts: a module for each, with tests of the same names.
macro_rules! also_in {
    ($($module:ident: $layout:ident),*; $names:tt) => {
        $(also_in!(@ $module $layout $names);)*
    };
    (@ $module:ident $layout:ident [$($name:ident),* $(,)?]) => {
        mod $module {
            $(#[test]
            fn $name() {
                crate::harness::Layout::$layout.holds(super::$name);
            })*
        }
    };
}
pub(crate) use also_in;

/// A process that dies with its handle, and what it needs.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
    /// Of what is for operators and backends.
    pub(crate) internal: u16,
    _directory: tempfile::TempDir,
    /// Another node of the same cluster: connections go to both in turn.
    partner: Option<Box<Process>>,
    turn: AtomicU16,
    redis: Option<Redis>,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago, below those that the system gives to outgoing connections:
/// thousands of clients come and go while the tests run.
fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin in different places, so that they seldom want the same.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below the count");
    loop {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + offset) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A node with these settings, ready for clients; with the store, and beside the other node, that
/// the layout wants.
pub(crate) async fn node(settings: &[(&str, &str)]) -> Process {
    let here = Ipv4Addr::LOCALHOST.into();
    let layout = Layout::wanted().unwrap_or(Layout::Embedded);
    if layout == Layout::Embedded || settings.iter().any(|(key, _)| *key == "store.url") {
        return node_on(here, settings).await;
    }
    let redis = redis().await;
    let settings = [&[("store.url", redis.url.as_str())], settings].concat();
    let mut node = node_on(here, &settings).await;
    if matches!(layout, Layout::TwoNodes | Layout::RedisCluster) {
        node.partner = Some(Box::new(node_on(here, &settings).await));
    }
    node.redis = Some(redis);
    node
}

/// A node whose clients come to this address.
pub(crate) async fn node_on(address: IpAddr, settings: &[(&str, &str)]) -> Process {
    for _ in 0..PORT_RACES {
        if let Some(process) = try_node(address, settings).await {
            return process;
        }
    }
    panic!("no free ports after {PORT_RACES} attempts");
}

/// How often a node is started again because somebody took one of its ports in between.
const PORT_RACES: usize = 5;

/// None when it ended because it could not listen. What it says itself counts: at its ports
/// somebody else may answer.
async fn try_node(address: IpAddr, settings: &[(&str, &str)]) -> Option<Process> {
    let (port, internal) = (free_port(), free_port());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let log = std::fs::File::create(&path).expect("a log");
    let usual = [
        ("server.listen", SocketAddr::new(address, port).to_string()),
        ("internal.listen", format!("127.0.0.1:{internal}")),
        ("auth.mode", "off".to_owned()),
        ("auth.hs256_secret", SECRET.to_owned()),
        ("limits.frames_per_second", "0".to_owned()),
    ];
    let usual = usual.iter().map(|(key, value)| (*key, value.as_str()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparkway"));
    command
        .arg("serve")
        .env_clear()
        .current_dir(directory.path());
    for (key, value) in usual.chain(settings.iter().copied()) {
        command.args(["--set", &format!("{key}={value}")]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a handle"))
        .stderr(log)
        .spawn()
        .expect("the binary was built");
    let mut process = Process {
        child,
        port,
        internal,
        _directory: directory,
        partner: None,
        turn: AtomicU16::new(0),
        redis: None,
    };
    let end = Instant::now() + 3 * SOON;
    loop {
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        if log.contains("\"message\":\"ready\"") && status(internal, "/readyz").await == Some(200) {
            return Some(process);
        }
        if let Some(status) = process.child.try_wait().expect("a child") {
            assert!(log.contains("cannot listen"), "ended with {status}: {log}");
            return None;
        }
        assert!(Instant::now() < end, "the node becomes ready: {log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Process {
    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// kill -9, and waits for its end.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub(crate) async fn open(&self, path: &str) -> Client {
        self.open_with(path, &[]).await
    }

    pub(crate) async fn open_with(&self, path: &str, headers: &[(&str, &str)]) -> Client {
        let port = match &self.partner {
            Some(partner) if self.turn.fetch_add(1, Ordering::Relaxed) % 2 == 1 => partner.port,
            _ => self.port,
        };
        let url = format!("ws://127.0.0.1:{port}{path}");
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().insert(name, value);
        }
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("it listens");
        let (socket, answer) = client_async(request, stream).await.expect("a handshake");
        assert_eq!(answer.status(), 101);
        Client { socket }
    }
}

/// The status of a plain HTTP request; none when nobody answers.
pub(crate) async fn status(port: u16, path: &str) -> Option<u16> {
    request(
        port,
        &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    )
    .await
}

/// The status that a raw request is answered with.
pub(crate) async fn request(port: u16, request: &str) -> Option<u16> {
    request_to((Ipv4Addr::LOCALHOST.into(), port), request).await
}

pub(crate) async fn request_to(to: (IpAddr, u16), request: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(to).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 64];
    let read = timeout(SOON, stream.read(&mut answer)).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(answer.get(..read)?).into_owned();
    text.split(' ').nth(1)?.parse().ok()
}

/// A request with JSON: status and body.
pub(crate) async fn request_json(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let (status, _, body) = exchange(port, method, path, token, body).await;
    (status, body)
}

/// The same, with the head of the answer.
pub(crate) async fn exchange(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> (u16, String, Value) {
    let text = answer(port, method, path, token, body).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a status");
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        body.lines().nth(1).unwrap_or_default()
    } else {
        body
    };
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (status, head.to_lowercase(), body)
}

/// The whole answer to a request with JSON.
async fn answer(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("it listens");
    let body = body.map_or(String::new(), ToString::to_string);
    let auth = token.map_or(String::new(), |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{auth}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until a node counts something under this name and labels.
pub(crate) async fn until_counted(node: &Process, series: &str) {
    let end = Instant::now() + SOON;
    loop {
        let text = answer(node.internal, "GET", "/metrics", None, None).await;
        let counts = text.lines().find_map(|line| line.strip_prefix(series));
        let count = counts.and_then(|count| count.trim().parse::<f64>().ok());
        if count.is_some_and(|count| count > 0.0) {
            return;
        }
        assert!(Instant::now() < end, "{series} {count:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub(crate) async fn message(&mut self) -> Message {
        self.message_within(SOON).await
    }

    pub(crate) async fn message_within(&mut self, within: Duration) -> Message {
        let next = timeout(within, self.socket.next()).await;
        next.expect("a frame comes")
            .expect("open")
            .expect("a frame")
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.message().await {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no text: {other:?}"),
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("sent");
    }

    /// Sends a JSON frame and reads the next one.
    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        self.say(&frame.to_string()).await;
        self.json().await
    }

    /// Code and reason of the close, and every text before it.
    pub(crate) async fn closed(&mut self) -> (u16, String, Vec<String>) {
        let mut texts = Vec::new();
        loop {
            match self.message().await {
                Message::Close(frame) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (u16::from(frame.code), frame.reason.as_str().to_owned())
                    });
                    return (code, reason, texts);
                }
                Message::Text(text) => texts.push(text.as_str().to_owned()),
                _ => {}
            }
        }
    }

    /// Closes with a code, and waits for the answer.
    pub(crate) async fn close(&mut self, code: u16, reason: &str) -> u16 {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        self.socket.close(Some(frame)).await.expect("sent");
        self.closed().await.0
    }

    /// As a topics client: subscribes to one topic.
    pub(crate) async fn subscribe(&mut self, topic: &str) {
        let answer = self
            .ask(json!({"type": "subscribe", "topics": [topic]}))
            .await;
        assert_eq!(answer, json!({"subscribed": [topic]}));
    }

    /// As a topics client: nothing has come but answers.
    pub(crate) async fn hears_nothing(&mut self) {
        assert_eq!(
            self.ask(json!({"type": "ping"})).await,
            json!({"type": "pong"})
        );
    }
}

/// One frame of a text message, whatever is in it: the first, or a further one.
fn piece(bytes: &[u8], is_first: bool, is_last: bool) -> Message {
    let kind = if is_first { Data::Text } else { Data::Continue };
    let frame = Frame::message(bytes.to_vec(), OpCode::Data(kind), is_last);
    Message::Frame(frame)
}

/// A dialect of JSON texts keeps the rules of frames. `open` gives a client that may talk,
/// and `question` is answered with a frame of the type `answer`.
pub(crate) async fn keeps_the_rules_of_frames(
    open: impl AsyncFn() -> Client,
    question: &Value,
    answer: &str,
) {
    let closes = async |message: Message| {
        let mut client = open().await;
        client.send(message).await;
        client.closed().await.0
    };
    assert_eq!(closes(Message::binary(vec![1, 2])).await, 1003);
    let long = " ".repeat(64 * 1024 + 1);
    assert_eq!(closes(Message::text(long)).await, 1009);
    assert_eq!(closes(piece(&[b'"', 0xff, b'"'], true, true)).await, 1007);
    // In pieces, with a ping between them that is answered at once.
    let mut client = open().await;
    let text = question.to_string();
    let (first, rest) = text.as_bytes().split_at(text.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    client.send(piece(first, true, false)).await;
    client.send(piece(second, false, false)).await;
    client.send(Message::Ping(vec![7].into())).await;
    loop {
        match client.message().await {
            Message::Pong(payload) => break assert_eq!(&payload[..], [7]),
            other => assert!(!other.is_close(), "{other:?}"),
        }
    }
    client.send(piece(third, false, true)).await;
    while client.json().await["type"] != answer {}
}

/// A token for everything, that lasts so many seconds (or ended so long ago).
pub(crate) fn token(user: &str, lasts_s: i64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let mut token = NewToken::new(UserId::parse(user).expect("a user"), now)
        .subscribing(&["*"])
        .publishing(&["*"]);
    token.issued_at_s = now - 3600;
    token.expires_at_s = Some(now.checked_add_signed(lasts_s).expect("a time"));
    mint(&token, &SECRET.to_owned().into()).expect("a token")
}

/// A Redis that dies with its handle: one server, or a cluster.
pub(crate) struct Redis {
    servers: Vec<Server>,
    pub(crate) url: String,
}

struct Server {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Runs `redis-cli` and answers what it prints.
    fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .output()
            .expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Redis {
    /// Sends a signal such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        for server in &self.servers {
            let sent = Command::new("kill")
                .args([&format!("-{name}"), &server.child.id().to_string()])
                .status();
            assert!(sent.expect("kill runs").success());
        }
    }

    /// Runs `redis-cli` on the first server and answers what it prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.servers[0].cli(arguments).trim().to_owned()
    }

    /// Loses everything, as a server does that starts anew without what it had saved, and cuts its
    /// connections.
    pub(crate) fn lose_everything(&self) {
        for server in &self.servers {
            assert_eq!(server.cli(&["FLUSHALL"]).trim(), "OK");
            server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
            server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
    }
}

/// The Redis that the layout wants.
pub(crate) async fn redis() -> Redis {
    if Layout::wanted() == Some(Layout::RedisCluster) {
        return redis_cluster().await;
    }
    let server = server(&[]).await;
    Redis {
        url: format!("redis://127.0.0.1:{}", server.port),
        servers: vec![server],
    }
}

/// Three masters that know each other.
async fn redis_cluster() -> Redis {
    const RANGES: [[&str; 2]; 3] = [["0", "5461"], ["5462", "10922"], ["10923", "16383"]];
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
    let mut servers = Vec::new();
    for (at, [first, last]) in RANGES.iter().enumerate() {
        let server = server(&options).await;
        server.cli(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        server.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        servers.push(server);
    }
    for other in &servers[1..] {
        let (port, bus) = (other.port.to_string(), bus_of(other));
        servers[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }
    let end = Instant::now() + SOON;
    let agrees = |server: &Server| {
        let state = server.cli(&["CLUSTER", "INFO"]);
        state.contains("cluster_state:ok") && state.contains("cluster_known_nodes:3")
    };
    while !servers.iter().all(agrees) {
        assert!(Instant::now() < end, "the cluster agrees");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hosts = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.port));
    let url = format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","));
    Redis { servers, url }
}

fn bus_of(server: &Server) -> String {
    let answer = server.cli(&["CONFIG", "GET", "cluster-port"]);
    answer.lines().nth(1).expect("a port").trim().to_owned()
}

async fn server(options: &[&str]) -> Server {
    for _ in 0..PORT_RACES {
        if let Some(server) = try_server(options).await {
            return server;
        }
    }
    panic!("no free port after {PORT_RACES} attempts");
}

/// None when somebody else had its port: a server that is not ours answers there.
async fn try_server(options: &[&str]) -> Option<Server> {
    let (port, bus) = (free_port(), free_port());
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .args(["--cluster-port", &bus.to_string()])
        .args(options)
        .arg("--logfile")
        .arg(&log)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let end = Instant::now() + SOON;
    loop {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        if log.contains("Ready to accept connections") {
            return Some(Server {
                child,
                port,
                _directory: directory,
            });
        }
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        assert!(Instant::now() < end, "redis-server starts: {log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
