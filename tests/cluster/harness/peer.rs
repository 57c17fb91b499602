//! A client that shows every frame as it came.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{Closed, Dial, Encoding, FrameType, Incoming, RawMessage, ServerFrame, Wire};
use tokio::time::Instant;

use super::SOON;

/// How a connection in this encoding is opened; JSON is what a client gets that asks for nothing.
pub(crate) fn dial(encoding: Encoding) -> Dial {
    let mut dial = Dial::default();
    dial.encoding = encoding;
    dial
}

/// A connection without a session.
pub(crate) async fn open(url: &str, encoding: Encoding) -> Wire {
    Wire::open(url, &dial(encoding))
        .await
        .expect("the handshake succeeds")
}

/// The whole of a frame as a value, the same for both encodings.
pub(crate) fn whole(frame: &ServerFrame) -> Value {
    match &frame.raw {
        RawMessage::Text(text) => serde_json::from_str(text).expect("JSON"),
        RawMessage::Binary(bytes) => rmp_serde::from_slice(bytes).expect("MessagePack"),
        other => panic!("no frame of Spark: {other:?}"),
    }
}

/// The next frame of any type.
pub(crate) async fn next(wire: &mut Wire) -> Value {
    match tokio::time::timeout(SOON, wire.next())
        .await
        .expect("a frame comes")
    {
        Incoming::Frame(frame) => whole(&frame),
        other => panic!("no frame: {other:?}"),
    }
}

/// Everything until the end of the connection: all frames, and how it closed.
pub(crate) async fn last_words(wire: &mut Wire) -> (Vec<Value>, Closed) {
    let mut frames = Vec::new();
    let end = Instant::now() + SOON;
    loop {
        let Ok(incoming) = tokio::time::timeout_at(end, wire.next()).await else {
            panic!("still open; seen: {frames:?}");
        };
        match incoming {
            Incoming::Frame(frame) => frames.push(whole(&frame)),
            Incoming::Other(raw) => panic!("no frame of Spark: {raw:?}"),
            Incoming::Closed(closed) => return (frames, closed),
        }
    }
}

/// Asserts that the connection ends now with these frames and this close.
pub(crate) async fn ends_with(wire: &mut Wire, expected: &[Value], code: u16, reason: &str) {
    let (frames, closed) = last_words(wire).await;
    assert_eq!(frames, expected);
    assert_eq!((closed.code, closed.reason.as_str()), (Some(code), reason));
}

/// The frame that goes before a close by the gateway.
pub(crate) fn close_frame(code: u16, reason: &str, resume: bool) -> Value {
    json!({"type": "ws:close", "data": {"code": code, "reason": reason, "resume": resume}})
}

/// What a client keeps to come back with.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) session: String,
    pub(crate) token: String,
    /// Id of the last message, or where the session began.
    pub(crate) last: Value,
}

impl Ticket {
    /// `data` of a resume.
    pub(crate) fn data(&self) -> Value {
        json!({
            "session_id": self.session,
            "heartbeat_token": self.token,
            "last_message_id": self.last,
        })
    }

    /// Reads a welcome.
    pub(crate) fn of(welcome: &Value) -> Self {
        let data = &welcome["data"];
        let text = |name: &str| data[name].as_str().expect("a string").to_owned();
        Self {
            session: text("session_id"),
            token: text("heartbeat_token"),
            last: data["last_message_id"].clone(),
        }
    }
}

/// A connection with a session.
pub(crate) struct Peer {
    pub(crate) wire: Wire,
    pub(crate) ticket: Ticket,
    /// The welcome: `ws:connect_ack` or `ws:resume_ack`.
    pub(crate) welcome: Value,
    frames: u32,
}

impl Peer {
    /// A new session.
    pub(crate) async fn connect(url: &str, encoding: Encoding) -> Self {
        Self::connect_with(url, encoding, json!({})).await
    }

    /// A new session with a credential.
    pub(crate) async fn connect_as(url: &str, token: &str) -> Self {
        Self::connect_with(url, Encoding::Json, json!({"token": token})).await
    }

    async fn connect_with(url: &str, encoding: Encoding, data: Value) -> Self {
        Self::begin(open(url, encoding).await, data).await
    }

    /// A new session on a connection that is open.
    pub(crate) async fn over(wire: Wire) -> Self {
        Self::begin(wire, json!({})).await
    }

    /// A session that was taken up on this connection.
    pub(crate) fn taken(wire: Wire, ticket: Ticket) -> Self {
        Self {
            wire,
            ticket,
            welcome: Value::Null,
            frames: 1000,
        }
    }

    async fn begin(mut wire: Wire, data: Value) -> Self {
        wire.send(&json!({"type": "ws:connect", "id": "connect", "data": data}))
            .await
            .unwrap();
        let welcome = next(&mut wire).await;
        assert_eq!(welcome["type"], "ws:connect_ack", "{welcome}");
        Self {
            ticket: Ticket::of(&welcome),
            wire,
            welcome,
            frames: 0,
        }
    }

    /// The same session on a new connection.
    pub(crate) async fn resume(url: &str, encoding: Encoding, ticket: &Ticket) -> Self {
        Self::resume_over(open(url, encoding).await, ticket).await
    }

    /// The same session on a connection that is open.
    pub(crate) async fn resume_over(mut wire: Wire, ticket: &Ticket) -> Self {
        wire.send(&json!({"type": "ws:resume", "data": ticket.data()}))
            .await
            .unwrap();
        let welcome = next(&mut wire).await;
        assert_eq!(welcome["type"], "ws:resume_ack", "{welcome}");
        let ticket = Ticket {
            last: ticket.last.clone(),
            ..Ticket::of(&welcome)
        };
        Self {
            ticket,
            wire,
            welcome,
            frames: 0,
        }
    }

    /// Sends a frame with a fresh id; its id.
    pub(crate) async fn send(&mut self, kind: &str, data: Value) -> String {
        self.frames += 1;
        let id = format!("f{}", self.frames);
        self.wire
            .send(&json!({"type": kind, "id": id, "data": data}))
            .await
            .unwrap();
        id
    }

    /// Sends a frame and returns the whole answer, with `ackId` checked and taken out.
    pub(crate) async fn ask(&mut self, kind: &str, data: Value) -> Value {
        let id = self.send(kind, data).await;
        self.answer(&id).await
    }

    /// The answer to a frame, with `ackId` checked and taken out.
    pub(crate) async fn answer(&mut self, id: &str) -> Value {
        let frame = self
            .wire
            .wait(&format!("answer to {id}"), SOON, |frame| {
                frame.ack_id().as_deref() == Some(id)
            })
            .await
            .unwrap_or_else(|missed| panic!("{missed}"));
        let mut answer = whole(&frame);
        let data = answer["data"].as_object_mut().expect("an object");
        assert_eq!(data.remove("ackId"), Some(json!(id)));
        answer
    }

    /// Sends a frame that is carried out; its `result` (null where there is none).
    pub(crate) async fn done(&mut self, kind: &str, data: Value) -> Value {
        let answer = self.ask(kind, data).await;
        assert_eq!(answer["type"], "ws:ack", "{answer}");
        answer["data"]["result"].clone()
    }

    /// Sends a frame that is refused; its code.
    pub(crate) async fn refused(&mut self, kind: &str, data: Value) -> String {
        let answer = self.ask(kind, data).await;
        code_of(&answer)
    }

    /// Receives topics from now on.
    pub(crate) async fn subscribe(&mut self, topics: &[&str]) {
        let result = self
            .done("topic:subscribe", json!({"topics": topics}))
            .await;
        assert_eq!(result["rejected"], json!([]), "{result}");
    }

    /// Publishes, and waits until it is stored; its message id.
    pub(crate) async fn publish(&mut self, topic: &str, data: Value) -> String {
        self.frames += 1;
        let id = format!("f{}", self.frames);
        let answer = self.publish_as(&id, topic, data).await;
        assert_eq!(answer["type"], "ws:ack", "{answer}");
        answer["data"]["result"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Publishes under an id of the test's choice; the whole answer without `ackId`.
    pub(crate) async fn publish_as(&mut self, id: &str, topic: &str, data: Value) -> Value {
        let frame = json!({"type": "topic:publish", "id": id, "topic": topic, "data": data});
        self.wire.send(&frame).await.unwrap();
        self.answer(id).await
    }

    /// Sends a publish under an id of the test's choice and does not wait; its frame id.
    pub(crate) async fn send_publish(&mut self, id: &str, topic: &str, data: Value) -> String {
        let frame = json!({"type": "topic:publish", "id": id, "topic": topic, "data": data});
        self.wire.send(&frame).await.unwrap();
        id.to_owned()
    }

    /// The next message, past all other frames; the ticket notes its id.
    pub(crate) async fn message(&mut self) -> Value {
        let frame = self
            .wire
            .wait_for(FrameType::Message, SOON)
            .await
            .unwrap_or_else(|missed| panic!("{missed}"));
        let message = whole(&frame);
        if let Some(id) = message.get("id") {
            self.ticket.last = id.clone();
        }
        message
    }

    /// Receives messages until this one has come: this node knows of all that are older.
    pub(crate) async fn saw(&mut self, id: &str) {
        while self.message().await["id"] != json!(id) {}
    }

    /// The ids and the payloads of the next messages.
    pub(crate) async fn messages(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut messages = Vec::new();
        for _ in 0..count {
            let message = self.message().await;
            let id = message["id"].as_str().expect("an id").to_owned();
            messages.push((id, message["data"].clone()));
        }
        messages
    }

    /// The next frame, of whatever type.
    pub(crate) async fn next(&mut self) -> Value {
        next(&mut self.wire).await
    }

    /// Everything missed, up to `ws:replay_done`.
    pub(crate) async fn replay(&mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            let frame = self.next().await;
            match frame["type"].as_str() {
                Some("topic:message") => messages.push(frame),
                Some("ws:replay_done") => return messages,
                _ => panic!("unexpected {frame}"),
            }
        }
    }

    /// Waits until everything missed has come.
    pub(crate) async fn replayed(&mut self) {
        let done = self.wire.wait_for(FrameType::ReplayDone, SOON).await;
        done.unwrap_or_else(|missed| panic!("{missed}"));
    }

    /// Asserts that nothing came but answers: a ping is answered next.
    pub(crate) async fn hears_nothing(&mut self) {
        self.frames += 1;
        let id = format!("quiet{}", self.frames);
        self.wire
            .send(&json!({"type": "ws:ping", "id": id}))
            .await
            .unwrap();
        let frame = self.next().await;
        assert_eq!(frame, json!({"type": "ws:ack", "data": {"ackId": id}}));
    }

    /// Asserts that the connection still serves its session.
    pub(crate) async fn is_alive(&mut self) {
        assert_eq!(self.ask("ws:ping", json!({})).await["type"], "ws:ack");
    }

    /// Breaks the connection with a reset and keeps what is needed to come back.
    pub(crate) fn cut(self) -> Ticket {
        self.wire.cut();
        self.ticket
    }

    /// The newest entries of a topic's log, oldest first: ids and payloads.
    pub(crate) async fn log(&mut self, topic: &str) -> Vec<(String, Value)> {
        let mut log = Vec::new();
        let mut after = json!(null);
        loop {
            let data = json!({"topic": topic, "limit": 1000, "after": after});
            let page = self.done("topic:history", data).await;
            for message in page["messages"].as_array().expect("messages") {
                let id = message["id"].as_str().expect("an id").to_owned();
                log.push((id, message["data"].clone()));
            }
            if page["messages"]
                .as_array()
                .is_none_or(|page| page.len() < 1000)
            {
                return log;
            }
            after = json!(log.last().expect("entries").0);
        }
    }
}

/// The code of a refusal.
pub(crate) fn code_of(answer: &Value) -> String {
    assert_eq!(answer["type"], "ws:error", "{answer}");
    assert!(answer["data"]["message"].is_string(), "{answer}");
    assert!(answer["data"]["retryable"].is_boolean(), "{answer}");
    answer["data"]["code"].as_str().expect("a code").to_owned()
}

/// How long a wait may take that ends with something that must not happen.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
