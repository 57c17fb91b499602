//! From the listening socket to an upgraded stream.

mod body;
mod http1;
mod lines;
mod spare;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    fmt,
    future::Future,
    io,
    net::{self, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    spare::{Spare, is_exhausted, turn_away},
    waiting::Waiting,
};
use crate::{AcceptSettings, Deflate, RequestHead, Response, Stream, Tls};

/// Starts tasks. The node passes one in that counts them, so that nothing outlives a drain
/// unnoticed.
pub trait Spawn: Clone + Send + Sync + 'static {
    /// Starts `future` as a task of the current runtime.
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F);
}

/// What the node wants done with requests. Called on the accepting thread: nothing here blocks.
pub trait Routes: Send + Sync + 'static {
    /// What the decision hands to the session of an upgraded connection.
    type Accepted: Send + 'static;

    /// Whether a new connection may be served at all. A refused one is closed without an answer.
    fn admit(&self, peer: SocketAddr) -> bool {
        let _ = peer;
        true
    }

    /// Decides on one request. Upgrade headers were checked before when the client
    /// [wants an upgrade](RequestHead::wants_upgrade); origin, path, credentials and quota are
    /// decided here.
    fn route(&self, head: &RequestHead<'_>) -> Decision<Self::Accepted>;

    /// Takes over an upgraded connection. Start a new task for it, for the current one holds the
    /// memory of the HTTP connection.
    fn connected(&self, upgraded: Upgraded<Self::Accepted>);

    /// Learns what happened before a connection became a session, for counting.
    fn observe(&self, event: AcceptEvent) {
        let _ = event;
    }
}

/// A future of an HTTP answer.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;
/// Answers a request once its whole body is there.
pub type Serve = Box<dyn FnOnce(Request<Bytes>) -> ResponseFuture + Send>;

/// Why a body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It has more bytes than the route takes.
    TooLarge,
    /// It did not come within the deadline.
    TooLate,
    /// It broke off, or is no body in HTTP.
    Broken,
}

/// Answers a request with the whole body, or with why it is not there.
pub type AnswerBody = Box<dyn FnOnce(Result<Request<Bytes>, BodyError>) -> ResponseFuture + Send>;

/// A request whose body is read within a bound of its own.
pub struct Receive {
    /// Longest body, in bytes.
    pub body_bytes: usize,
    /// Answers it. After a missing body the connection ends.
    pub answer: AnswerBody,
}

impl fmt::Debug for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receive({} bytes)", self.body_bytes)
    }
}

/// An answer whose body goes on for as long as somebody has something to say. The connection ends
/// with it.
#[derive(Debug)]
pub struct Streamed {
    /// Status and headers.
    pub head: http::Response<()>,
    /// The body, piece by piece; the answer ends when the sender is dropped. The reader's pace is
    /// the channel's: who sends decides what becomes of one that does not keep up.
    pub pieces: mpsc::Receiver<Bytes>,
    /// Cancelled when the reader was given up: what is not written within the handshake deadline
    /// is not written at all.
    pub given_up: CancellationToken,
}

/// What becomes of a request.
pub enum Decision<A> {
    /// 101; answered with 426 when the client did not ask for a WebSocket.
    Upgrade {
        /// Handed to [`Routes::connected`].
        accepted: A,
        /// The subprotocol to name: one that the client offered.
        protocol: Option<&'static str>,
        /// What the client [offered](RequestHead::offered_deflate) and is agreed to.
        deflate: Option<Deflate>,
    },
    /// Answered at once, without reading a body.
    Respond(Response),
    /// Answered by a future, with the body read up to [`AcceptSettings::body_bytes`].
    Serve(Serve),
    /// Answered by a future that learns of a missing body, too.
    Receive(Receive),
    /// Answered at once, without reading a body, with one that has no end yet.
    Stream(Streamed),
}

impl<A> fmt::Debug for Decision<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade { protocol, .. } => write!(f, "Upgrade({protocol:?})"),
            Self::Respond(response) => write!(f, "Respond({})", response.status()),
            Self::Serve(_) => f.write_str("Serve"),
            Self::Receive(receive) => receive.fmt(f),
            Self::Stream(streamed) => write!(f, "Stream({})", streamed.head.status()),
        }
    }
}

/// A connection that speaks WebSocket from here on.
#[derive(Debug)]
pub struct Upgraded<A> {
    /// What [`Routes::route`] handed over.
    pub accepted: A,
    /// The stream, for [`Link::new`](crate::Link::new).
    pub stream: Stream,
    /// What the client sent right behind its request: the first frames, also for `Link::new`.
    pub read_ahead: Bytes,
    /// The TCP peer.
    pub peer: SocketAddr,
    /// When the TCP connection was accepted.
    pub since: std::time::Instant,
}

/// What happened to a connection before it was a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptEvent {
    /// A TCP connection was accepted.
    Accepted,
    /// [`Routes::admit`] refused it.
    NotAdmitted,
    /// The accept itself failed.
    AcceptFailed(io::ErrorKind),
    /// There was no file descriptor left; the client was told to come again, or has to wait.
    NoDescriptor,
    /// Too many connections were not upgraded yet, and this one was the oldest.
    GaveWay,
    /// The TLS handshake failed.
    TlsFailed,
    /// The TLS handshake, or the head of the first request, was not there at the deadline.
    TooLate,
    /// A request was answered with this status, 101 included.
    Answered(StatusCode),
    /// The HTTP connection ended with an error: no HTTP, a head that is too large, or a peer that
    /// left.
    HttpFailed,
}

/// Accepts connections, answers plain HTTP and upgrades to WebSocket.
#[derive(Debug)]
pub struct Acceptor<R, P> {
    settings: AcceptSettings,
    routes: Arc<R>,
    spawn: P,
    tls: Option<Arc<Tls>>,
}

impl<R: Routes, P: Spawn> Acceptor<R, P> {
    /// An acceptor of plain TCP.
    pub const fn new(settings: AcceptSettings, routes: Arc<R>, spawn: P) -> Self {
        Self {
            settings,
            routes,
            spawn,
            tls: None,
        }
    }

    /// Ends TLS in this process.
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Accepts from `listener` (see [`listen`](crate::listen())) until `shutdown`. Run one per
    /// runtime, each with its own clone of the listener and of the acceptor's parts. Connections
    /// that are not upgraded by then answer the request they are at and end within the handshake
    /// deadline.
    ///
    /// # Errors
    /// Only when the listener cannot be used in this runtime: report it and end the process.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the connections in progress go on.
    pub async fn run(
        self,
        listener: net::TcpListener,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let shared = Arc::new(self);
        let mut waiting = Waiting::new(shared.settings.handshakes);
        let mut spare = Spare::take();
        let accepting = async {
            loop {
                let Some((tcp, peer)) = shared.accept(&listener, &mut spare).await else {
                    continue;
                };
                let connection = Arc::clone(&shared);
                let shutdown = shutdown.clone();
                let under_way = waiting.begin();
                shared.spawn.spawn(async move {
                    let serving = connection.serve(tcp, peer, shutdown);
                    let served = under_way.run_until_cancelled(serving).await;
                    drop(under_way);
                    match served {
                        Some(Some(upgraded)) => connection.routes.connected(upgraded),
                        Some(None) => {}
                        None => connection.routes.observe(AcceptEvent::GaveWay),
                    }
                });
            }
        };
        let _: Option<()> = shutdown.run_until_cancelled(accepting).await;
        Ok(())
    }

    /// One accepted and admitted connection, or none after a failure.
    async fn accept(
        &self,
        listener: &TcpListener,
        spare: &mut Spare,
    ) -> Option<(TcpStream, SocketAddr)> {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                self.routes.observe(AcceptEvent::Accepted);
                if !self.routes.admit(peer) {
                    self.routes.observe(AcceptEvent::NotAdmitted);
                    return None;
                }
                Some((tcp, peer))
            }
            Err(error) if is_exhausted(&error) => {
                self.routes.observe(AcceptEvent::NoDescriptor);
                self.do_without(listener, spare).await;
                None
            }
            Err(error) => {
                self.routes.observe(AcceptEvent::AcceptFailed(error.kind()));
                // A peer that left early says nothing about the next one; everything else would
                // fail again at once.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) {
                    sleep(self.settings.accept_backoff).await;
                }
                None
            }
        }
    }

    /// Turns one client away with the descriptor in reserve. Where that is gone, or nobody comes,
    /// the loop pauses: an accept would fail again at once.
    async fn do_without(&self, listener: &TcpListener, spare: &mut Spare) {
        let pause = self.settings.accept_backoff;
        if spare.give_up()
            && let Ok(Ok((tcp, _))) = timeout(pause, listener.accept()).await
        {
            // Behind TLS there is no answer that the client could read.
            if self.tls.is_none() {
                turn_away(tcp).await;
            }
        } else {
            sleep(pause).await;
        }
        spare.refill();
    }

    async fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) -> Option<Upgraded<R::Accepted>> {
        let since = std::time::Instant::now();
        let stream = match &self.tls {
            None => Stream::Tcp(tcp),
            Some(tls) => {
                let handshake = Box::pin(tls.acceptor().accept(tcp));
                match timeout(self.settings.handshake_deadline, handshake).await {
                    Ok(Ok(tls)) => Stream::Tls(Box::new(tls)),
                    Ok(Err(_)) => {
                        self.routes.observe(AcceptEvent::TlsFailed);
                        return None;
                    }
                    Err(_) => {
                        self.routes.observe(AcceptEvent::TooLate);
                        return None;
                    }
                }
            }
        };
        let upgraded = http1::serve(&self.settings, &self.routes, (stream, peer), shutdown).await;
        upgraded.map(|upgraded| Upgraded { since, ..upgraded })
    }
}
