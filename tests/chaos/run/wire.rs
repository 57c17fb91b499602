//! One WebSocket connection of a client, as a task of its own.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// What came on a connection.
#[derive(Debug)]
pub(crate) enum Heard {
    Frame(Value),
    /// It ended, with the server's close code if there was one.
    Closed(Option<u16>),
}

/// What the client does with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Will {
    Read,
    /// Reads no more and says nothing: half-open.
    Freeze,
    /// Gone, with a reset.
    Reset,
}

/// Frames that wait for the socket.
const OUTGOING: usize = 1024;

/// A connection, seen from its client.
pub(crate) struct Wire {
    pub(crate) number: u32,
    out: mpsc::Sender<String>,
    will: watch::Sender<Will>,
}

impl Wire {
    /// Connects, and reads into `heard` from then on.
    ///
    /// # Errors
    /// Nobody answered in time.
    pub(crate) async fn dial(
        port: u16,
        number: u32,
        heard: mpsc::Sender<(u32, Heard)>,
    ) -> anyhow::Result<Self> {
        let dialling = async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.set_nodelay(true)?;
            stream.set_zero_linger()?;
            let url = format!("ws://127.0.0.1:{port}/ws");
            let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
            anyhow::Ok(socket)
        };
        let socket = timeout(Duration::from_secs(3), dialling)
            .await
            .context("no handshake in time")??;
        let (out, outgoing) = mpsc::channel(OUTGOING);
        let (will, willed) = watch::channel(Will::Read);
        tokio::spawn(run(socket, number, heard, outgoing, willed));
        Ok(Self { number, out, will })
    }

    /// Sends a frame; if the connection is gone, [`Heard::Closed`] says so.
    pub(crate) fn send(&self, frame: &Value) {
        if self.out.try_send(frame.to_string()).is_err() {
            // A server that took nothing of so much takes nothing more.
            self.reset();
        }
    }

    /// Half-open from now on.
    pub(crate) fn freeze(&self) {
        self.will.send_replace(Will::Freeze);
    }

    /// Gone, with a reset.
    pub(crate) fn reset(&self) {
        self.will.send_replace(Will::Reset);
    }
}

async fn run(
    mut socket: WebSocketStream<TcpStream>,
    number: u32,
    heard: mpsc::Sender<(u32, Heard)>,
    mut outgoing: mpsc::Receiver<String>,
    mut will: watch::Receiver<Will>,
) {
    let code = loop {
        let wish = *will.borrow_and_update();
        if wish == Will::Reset {
            break None;
        }
        tokio::select! {
            changed = will.changed() => if changed.is_err() { break None },
            text = outgoing.recv() => {
                let Some(text) = text else { break None };
                // A server that reads nothing is found out by its silence.
                let sent = timeout(Duration::from_secs(5), socket.send(Message::text(text))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break None;
                }
            }
            message = socket.next(), if wish == Will::Read => match message {
                Some(Ok(Message::Text(text))) => {
                    let Ok(frame) = serde_json::from_str(text.as_str()) else { continue };
                    if heard.send((number, Heard::Frame(frame))).await.is_err() {
                        break None;
                    }
                }
                Some(Ok(Message::Close(frame))) => break frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break None,
            },
        }
    };
    drop(heard.send((number, Heard::Closed(code))).await);
}
