//! A node that says exactly what a test tells it to.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as RawMessage;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::{Backoff, Encoding, Options, ServerFrame};

/// Longer than anything takes here: only a failing test waits so long.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// Options that leave a test no long waits.
pub(crate) fn quick() -> Options {
    Options {
        backoff: Backoff {
            base: Duration::from_millis(5),
            cap: Duration::from_millis(20),
            spread: Duration::ZERO,
        },
        spread_nodes: false,
        answer_within: SOON,
        ack_after: Duration::from_millis(20),
        seed: Some(1),
        ..Options::default()
    }
}

pub(crate) struct Fake {
    listener: TcpListener,
}

impl Fake {
    pub(crate) async fn bind() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.listener.local_addr().unwrap())
    }

    /// The next TCP connection, before any handshake.
    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(SOON, self.listener.accept())
            .await
            .expect("nobody connects")
            .unwrap()
            .0
    }

    /// The next WebSocket.
    pub(crate) async fn accept(&self) -> Peer {
        #[expect(
            clippy::result_large_err,
            reason = "the callback's type is tungstenite's"
        )]
        let echo = |request: &Request, mut response: Response| {
            if let Some(offered) = request.headers().get("sec-websocket-protocol") {
                let first = offered.to_str().unwrap().split(',').next().unwrap().trim();
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", first.parse().unwrap());
            }
            Ok(response)
        };
        let tcp = self.tcp().await;
        let stream = tokio_tungstenite::accept_hdr_async(tcp, echo)
            .await
            .unwrap();
        Peer {
            stream,
            encoding: Encoding::Json,
        }
    }

    /// The next WebSocket, with a session begun on it.
    pub(crate) async fn begin(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.expect("ws:connect").await;
        peer.connect_ack("0").await;
        peer
    }

    /// The next WebSocket, with a session resumed on it, and the `data` of the resume.
    pub(crate) async fn resume(&self) -> (Peer, Value) {
        let mut peer = self.accept().await;
        let asked = peer.expect("ws:resume").await;
        peer.say(&json!({"type": "ws:resume_ack", "id": "c1", "data": {
            "session_id": "s-1", "heartbeat_token": "hb-2", "heartbeat_interval": 60_000,
            "last_message_id": "0", "gateway": {"node": "b"}, "replay_count": 0, "gaps": [],
            "dropped_topics": []}}))
            .await;
        (peer, asked["data"].clone())
    }

    /// Whether nobody connects for a while.
    pub(crate) async fn is_left_alone(&self) -> bool {
        timeout(Duration::from_millis(150), self.listener.accept())
            .await
            .is_err()
    }
}

pub(crate) struct Peer {
    stream: WebSocketStream<TcpStream>,
    pub(crate) encoding: Encoding,
}

impl Peer {
    pub(crate) async fn say(&mut self, frame: &Value) {
        let raw = self.encoding.encode(frame).unwrap();
        self.stream.send(raw).await.unwrap();
    }

    pub(crate) async fn connect_ack(&mut self, position: &str) {
        self.say(&json!({"type": "ws:connect_ack", "data": {
            "session_id": "s-1", "heartbeat_token": "hb-1", "heartbeat_interval": 60_000,
            "last_message_id": position, "gateway": {"node": "a"}}}))
            .await;
    }

    pub(crate) async fn message(&mut self, topic: &str, id: u64) {
        self.say(
            &json!({"type": "topic:message", "topic": topic, "id": id.to_string(),
            "data": {"n": id}, "ts": 1}),
        )
        .await;
    }

    pub(crate) async fn ack(&mut self, request: &Value, result: Value) {
        self.say(&json!({"type": "ws:ack", "data": {"ackId": request["id"], "result": result}}))
            .await;
    }

    /// Grants what a subscribe asked for, at this position.
    pub(crate) async fn grant(&mut self, position: &str) -> Value {
        let asked = self.expect("topic:subscribe").await;
        let topics: Vec<Value> = asked["data"]["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|topic| json!({"topic": topic, "position": position, "recovered": true}))
            .collect();
        self.ack(&asked, json!({"topics": topics})).await;
        asked
    }

    /// The next frame but heartbeats and acks.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
            assert!(
                frame["type"] == "ws:ack" || frame["type"] == "ws:heartbeat",
                "{frame} instead of {kind}"
            );
        }
    }

    /// The next frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.raw().await {
            RawMessage::Text(text) => serde_json::from_str(&text).unwrap(),
            RawMessage::Binary(bytes) => {
                self.encoding = Encoding::MsgPack;
                rmp_serde::from_slice(&bytes).unwrap()
            }
            other => panic!("{other:?} instead of a frame"),
        }
    }

    async fn raw(&mut self) -> RawMessage {
        timeout(SOON, self.stream.next())
            .await
            .expect("nothing comes")
            .expect("it ended")
            .unwrap()
    }

    /// How the client ends the connection: its close code, if it sends one. Frames are skipped.
    pub(crate) async fn ended(&mut self) -> Option<u16> {
        loop {
            match timeout(SOON, self.stream.next())
                .await
                .expect("it stays open")
            {
                Some(Ok(RawMessage::Close(frame))) => {
                    // The answer to the close is written by the next read.
                    let _ = self.stream.next().await;
                    return frame.map(|frame| frame.code.into());
                }
                Some(Ok(raw)) => assert!(ServerFrame::parse(&raw).is_some()),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        self.stream.close(Some(frame)).await.unwrap();
    }

    /// Breaks the line.
    pub(crate) fn cut(self) {
        self.stream.get_ref().set_zero_linger().unwrap();
    }
}
