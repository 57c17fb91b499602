//! One WebSocket, with nothing between the caller and the bytes: what tests speak to a gateway.

mod dial;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub use dial::{Dial, TokenPlace, Trust};
pub use tokio_tungstenite::tungstenite::Message as RawMessage;

use crate::error::OpenError;
use crate::frame::{FrameType, ServerFrame};
use crate::{Encoding, Error};

/// How a connection ended, as this side saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Code of the close frame; `None` when the line broke without one.
    pub code: Option<u16>,
    /// Its text, or what broke the line.
    pub reason: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(out, "closed with {code} {}", self.reason),
            None => write!(out, "line broke: {}", self.reason),
        }
    }
}

/// What came next. WebSocket pings are answered and not shown.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A frame of Spark.
    Frame(ServerFrame),
    /// A WebSocket message that is no frame of Spark (another dialect, or a defect).
    Other(RawMessage),
    /// The end; every later call says the same.
    Closed(Closed),
}

/// A frame that was waited for and did not come.
#[derive(Clone, Debug)]
pub struct Missed {
    /// What was waited for.
    pub wanted: String,
    /// How long, at the most.
    pub within: Duration,
    /// How the connection ended meanwhile, if it did.
    pub closed: Option<Closed>,
    /// Everything that came instead, in order, as text.
    pub seen: Vec<String>,
}

impl fmt::Display for Missed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "no {} within {:?}", self.wanted, self.within)?;
        if let Some(closed) = &self.closed {
            write!(out, "; {closed}")?;
        }
        write!(out, "; seen: {:?}", self.seen)
    }
}

impl std::error::Error for Missed {}

/// One open WebSocket to a node.
#[derive(Debug)]
pub struct Wire {
    stream: WebSocketStream<dial::Line>,
    encoding: Encoding,
    subprotocol: Option<String>,
    ended: Option<Closed>,
    skipped: VecDeque<ServerFrame>,
}

impl Wire {
    /// Opens a WebSocket at `url` (`ws://` or `wss://`, with its path).
    ///
    /// # Errors
    /// [`OpenError`] names the step that failed; trying again makes sense for `Io`, `TimedOut` and
    /// `Http` with a status of 429 or 503.
    ///
    /// # Cancel safety
    /// Dropping the future drops the half-open connection.
    pub async fn open(url: &str, dial: &Dial) -> Result<Self, OpenError> {
        let (stream, subprotocol) = dial.open(url).await?;
        Ok(Self {
            stream,
            encoding: dial.encoding,
            subprotocol,
            ended: None,
            skipped: VecDeque::new(),
        })
    }

    /// The subprotocol that the node chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Sends a frame in this socket's encoding.
    ///
    /// # Errors
    /// [`Error::Encode`], or [`Error::Closed`] when the socket does not take it any more: read on
    /// to learn why.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may be on the line.
    pub async fn send<T: Serialize + ?Sized>(&mut self, frame: &T) -> Result<(), Error> {
        let raw = self.encoding.encode(frame)?;
        self.send_raw(raw).await
    }

    /// Sends any WebSocket message: text, binary, ping, or a frame built by hand.
    ///
    /// # Errors
    /// [`Error::Closed`] when the socket does not take it any more: read on to learn why.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may be on the line.
    pub async fn send_raw(&mut self, raw: RawMessage) -> Result<(), Error> {
        self.stream.send(raw).await.map_err(|error| broken(&error))
    }

    /// Sends text, whatever it is.
    ///
    /// # Errors
    /// As [`Wire::send_raw`].
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may be on the line.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), Error> {
        self.send_raw(RawMessage::text(text.into())).await
    }

    /// Writes bytes past the WebSocket layer: unmasked or reserved frames, half a header.
    ///
    /// # Errors
    /// What the line says.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the bytes may be on the line.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let line = self.stream.get_mut();
        line.write_all(bytes).await?;
        line.flush().await
    }

    /// The next thing that comes, without a deadline.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Incoming {
        if let Some(frame) = self.skipped.pop_front() {
            return Incoming::Frame(frame);
        }
        self.read().await
    }

    async fn read(&mut self) -> Incoming {
        if let Some(closed) = &self.ended {
            return Incoming::Closed(closed.clone());
        }
        loop {
            let raw = match self.stream.next().await {
                Some(Ok(RawMessage::Close(frame))) => {
                    return self.end(frame.map_or_else(
                        || Closed {
                            code: Some(1005),
                            reason: String::new(),
                        },
                        |frame| Closed {
                            code: Some(frame.code.into()),
                            reason: frame.reason.to_string(),
                        },
                    ));
                }
                Some(Ok(RawMessage::Ping(_) | RawMessage::Pong(_))) => continue,
                Some(Ok(raw)) => raw,
                Some(Err(error)) => {
                    return self.end(Closed {
                        code: None,
                        reason: error.to_string(),
                    });
                }
                None => {
                    return self.end(Closed {
                        code: None,
                        reason: "end of stream".to_owned(),
                    });
                }
            };
            return match ServerFrame::parse(&raw) {
                Some(frame) => Incoming::Frame(frame),
                None => Incoming::Other(raw),
            };
        }
    }

    fn end(&mut self, closed: Closed) -> Incoming {
        self.ended = Some(closed.clone());
        Incoming::Closed(closed)
    }

    /// The first frame for which `wanted` holds. Frames before it are kept for [`Wire::next`].
    ///
    /// # Errors
    /// [`Missed`] lists what came instead; those frames are still there for [`Wire::next`].
    ///
    /// # Cancel safety
    /// Dropping the future loses the frames that it skipped so far.
    pub async fn wait(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&ServerFrame) -> bool,
    ) -> Result<ServerFrame, Missed> {
        let until = Instant::now() + within;
        let mut before = std::mem::take(&mut self.skipped);
        if let Some(at) = before.iter().position(&wanted)
            && let Some(frame) = before.remove(at)
        {
            self.skipped = before;
            return Ok(frame);
        }
        let mut others = Vec::new();
        let closed = loop {
            match tokio::time::timeout_at(until, self.read()).await {
                Ok(Incoming::Frame(frame)) if wanted(&frame) => {
                    self.skipped = before;
                    return Ok(frame);
                }
                Ok(Incoming::Frame(frame)) => before.push_back(frame),
                Ok(Incoming::Other(raw)) => others.push(show(&raw)),
                Ok(Incoming::Closed(closed)) => break Some(closed),
                Err(_) => break None,
            }
        };
        let seen = before
            .iter()
            .map(|frame| show(&frame.raw))
            .chain(others)
            .collect();
        self.skipped = before;
        Err(Missed {
            wanted: what.to_owned(),
            within,
            closed,
            seen,
        })
    }

    /// The first frame of this type.
    ///
    /// # Errors
    /// As [`Wire::wait`].
    ///
    /// # Cancel safety
    /// As [`Wire::wait`].
    pub async fn wait_for(
        &mut self,
        kind: FrameType,
        within: Duration,
    ) -> Result<ServerFrame, Missed> {
        let what = kind.to_string();
        self.wait(&what, within, |frame| frame.kind == kind).await
    }

    /// The answer (`ws:ack` or `ws:error`) to the frame with this id.
    ///
    /// # Errors
    /// As [`Wire::wait`].
    ///
    /// # Cancel safety
    /// As [`Wire::wait`].
    pub async fn answer(&mut self, id: &str, within: Duration) -> Result<ServerFrame, Missed> {
        let what = format!("answer to {id}");
        self.wait(&what, within, |frame| {
            matches!(frame.kind, FrameType::Ack | FrameType::Error)
                && frame.ack_id().as_deref() == Some(id)
        })
        .await
    }

    /// How the node ends the connection. Frames before it are kept for [`Wire::next`].
    ///
    /// # Errors
    /// [`Missed`] when the connection is still open after `within`.
    ///
    /// # Cancel safety
    /// As [`Wire::wait`].
    pub async fn wait_closed(&mut self, within: Duration) -> Result<Closed, Missed> {
        match self.wait("close", within, |_| false).await {
            Err(Missed {
                closed: Some(closed),
                ..
            }) => Ok(closed),
            Err(missed) => Err(missed),
            Ok(frame) => Err(Missed {
                wanted: "close".to_owned(),
                within,
                closed: None,
                seen: vec![show(&frame.raw)],
            }),
        }
    }

    /// Sends a close frame with this code and text; read on for the node's answer.
    ///
    /// # Errors
    /// [`Error::Closed`] when the socket does not take it any more.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the frame may be on the line.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        self.stream
            .close(Some(frame))
            .await
            .map_err(|error| broken(&error))
    }

    /// Drops the TCP connection with a reset, as a crash of the peer's machine or a firewall does.
    /// Dropping the [`Wire`] instead ends it with a plain FIN and without a close frame.
    pub fn cut(self) {
        // Nothing else can be done when the option is refused: the drop then sends a FIN.
        let _ = self.stream.get_ref().tcp().set_zero_linger();
    }
}

fn broken(error: &tungstenite::Error) -> Error {
    Error::Closed {
        code: None,
        reason: error.to_string().into(),
    }
}

fn show(raw: &RawMessage) -> String {
    match raw {
        RawMessage::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
