//! Does one thing a number of times against a node in the same thread and without sockets, so
//! that valgrind can count what each costs: `bench-gate publish 100`.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;
use sparkway_gateway::settings::Settings;
use sparkway_gateway::simulated::SimulatedNode;
use sparkway_store::memory::{MemorySettings, MemoryStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bytes of a pipe in each direction: no answer here waits for room.
const PIPE: usize = 256 * 1024;
/// Subscribers of a fan-out.
const SUBSCRIBERS: usize = 100;
/// Messages that a resumed session has missed.
const MISSED: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, count] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let count = count.parse().unwrap_or(0);
    match runtime.block_on(run(what, count)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(what: &str, count: usize) -> Result<()> {
    let mut settings = Settings::default();
    settings.auth.mode = sparkway_auth::Mode::Off;
    settings.limits.frames_per_second = 0;
    let store = Arc::new(MemoryStore::new(MemorySettings::default()));
    let node = SimulatedNode::unpaced(settings, store).await?;
    match what {
        "connect" => connect(&node, count).await,
        "publish" => publish(&node, 1, count).await,
        "deliver" => publish(&node, SUBSCRIBERS, count).await,
        "heartbeat" => heartbeat(&node, count).await,
        "resume" => resume(&node, count).await,
        "hold" => hold(&node, count).await,
        _ => Err("connect, publish, deliver, heartbeat, resume or hold".into()),
    }
}

/// Session and subscription, and the end of both.
async fn connect(node: &SimulatedNode, count: usize) -> Result<()> {
    // The topic stays live: most clients come to one that is.
    let _other = Client::on_topic(node).await?;
    for _ in 0..count {
        drop(Client::on_topic(node).await?);
    }
    Ok(())
}

/// Sessions with a subscription, all at once.
async fn hold(node: &SimulatedNode, count: usize) -> Result<()> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(Client::on_topic(node).await?);
    }
    drop(clients);
    Ok(())
}

/// A message from a client to `subscribers`, each alone.
async fn publish(node: &SimulatedNode, subscribers: usize, count: usize) -> Result<()> {
    let mut publisher = Client::connected(node).await?;
    let mut clients = Vec::new();
    for _ in 0..subscribers {
        clients.push(Client::on_topic(node).await?);
    }
    for number in 0..count {
        publisher.publish(number).await?;
        for client in &mut clients {
            client.hear().await?;
        }
    }
    Ok(())
}

async fn heartbeat(node: &SimulatedNode, count: usize) -> Result<()> {
    let mut client = Client::connected(node).await?;
    let beat = format!(
        r#"{{"type":"ws:heartbeat","data":{{"heartbeat_token":"{}"}}}}"#,
        client.token
    );
    for _ in 0..count {
        client.say(&beat).await?;
        client.hear().await?;
    }
    Ok(())
}

/// A connection lost, its session taken up again, and what was missed, from the ring.
async fn resume(node: &SimulatedNode, count: usize) -> Result<()> {
    let mut publisher = Client::connected(node).await?;
    let _other = Client::on_topic(node).await?;
    let mut client = Client::on_topic(node).await?;
    publisher.publish(0).await?;
    let mut last = client.hear().await?;
    for round in 0..count {
        let (session, token) = (client.session.clone(), client.token.clone());
        drop(client);
        for number in 0..MISSED {
            publisher.publish(1 + round * MISSED + number).await?;
        }
        client = Client::new(node);
        let id = last.get("id").and_then(Value::as_str).unwrap_or_default();
        client
            .say(&format!(
                r#"{{"type":"ws:resume","data":{{"session_id":"{session}","heartbeat_token":"{token}","last_message_id":"{id}"}}}}"#
            ))
            .await?;
        let answer = client.hear().await?;
        client.note(&answer)?;
        for _ in 0..MISSED {
            last = client.hear().await?;
        }
        client.hear().await?;
    }
    Ok(())
}

/// The other end of a connection.
struct Client {
    stream: DuplexStream,
    buffer: Vec<u8>,
    session: String,
    token: String,
}

impl Client {
    fn new(node: &SimulatedNode) -> Self {
        let (ours, stream) = tokio::io::duplex(PIPE);
        node.connect(0, ours);
        Self {
            stream,
            buffer: Vec::new(),
            session: String::new(),
            token: String::new(),
        }
    }

    async fn connected(node: &SimulatedNode) -> Result<Self> {
        let mut client = Self::new(node);
        client.say(r#"{"type":"ws:connect"}"#).await?;
        let answer = client.hear().await?;
        client.note(&answer)?;
        Ok(client)
    }

    async fn on_topic(node: &SimulatedNode) -> Result<Self> {
        let mut client = Self::connected(node).await?;
        client
            .say(r#"{"type":"topic:subscribe","id":"s","data":{"topics":["room:1"]}}"#)
            .await?;
        client.hear().await?;
        Ok(client)
    }

    fn note(&mut self, answer: &Value) -> Result<()> {
        let field = |name: &str| {
            let value = answer.get("data").and_then(|data| data.get(name));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        self.session = field("session_id").ok_or("no session")?;
        self.token = field("heartbeat_token").ok_or("no token")?;
        Ok(())
    }

    async fn publish(&mut self, number: usize) -> Result<()> {
        self.say(&format!(
            r#"{{"type":"topic:publish","id":"{number}","topic":"room:1","data":"{:0128}"}}"#,
            0
        ))
        .await?;
        let answer = self.hear().await?;
        let stored = answer.get("type").and_then(Value::as_str) == Some("ws:ack");
        stored.then_some(()).ok_or_else(|| "not stored".into())
    }

    /// Sends a text in one frame, masked with zeros.
    async fn say(&mut self, text: &str) -> Result<()> {
        let mut frame = vec![0x81];
        if let Ok(length @ 0..126) = u8::try_from(text.len()) {
            frame.push(0x80 | length);
        } else {
            frame.push(0xfe);
            frame.extend(u16::try_from(text.len())?.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next text.
    async fn hear(&mut self) -> Result<Value> {
        loop {
            if let Some((end, start)) = self.frame() {
                let said = serde_json::from_slice(self.buffer.get(start..end).unwrap_or_default());
                self.buffer.drain(..end);
                return Ok(said?);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("closed".into());
            }
        }
    }

    /// Where the payload of the first frame ends and begins, once all of it is there.
    fn frame(&self) -> Option<(usize, usize)> {
        let (start, length) = match self.buffer.as_slice() {
            [_, 126, high, low, ..] => (4, u16::from_be_bytes([*high, *low]).into()),
            [_, length, ..] if *length < 126 => (2, usize::from(*length)),
            _ => return None,
        };
        (self.buffer.len() >= start + length).then_some((start + length, start))
    }
}
