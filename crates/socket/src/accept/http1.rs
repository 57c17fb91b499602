//! One HTTP/1.1 connection, until it is upgraded or over.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    AcceptEvent, AnswerBody, BodyError, Decision, Routes, Serve, Streamed, Upgraded,
    body::Outgoing,
    lines::{Following, Lines},
};
use crate::{
    AcceptSettings, Deflate, RequestHead, Response, Stream, text_response,
    upgrade::{bad, check_request, check_upgrade, upgrade_required},
};

/// Longest life of a connection that only speaks HTTP; then it ends after its current request.
const LIFETIME: Duration = Duration::from_mins(1);
/// The smallest read buffer the HTTP library takes.
const MIN_BUFFER_BYTES: usize = 8192;
/// How long, and for how many bytes, a client that is still sending is read after an error, so
/// that a reset does not destroy the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 2 * 1024 * 1024;

/// Serves one connection. Answers the stream when it was upgraded.
pub(super) async fn serve<R: Routes>(
    settings: &AcceptSettings,
    routes: &Arc<R>,
    (stream, peer): (Stream, SocketAddr),
    shutdown: CancellationToken,
) -> Option<Upgraded<R::Accepted>> {
    let following = Following::default();
    let streaming = Arc::new(OnceLock::new());
    let service = Requests {
        following: following.clone(),
        routes: Arc::clone(routes),
        peer,
        secure: matches!(stream, Stream::Tls(_)),
        body_bytes: settings.body_bytes,
        body_deadline: settings.handshake_deadline,
        asked: AtomicBool::new(false),
        upgraded: Mutex::new(None),
        streaming: Arc::clone(&streaming),
    };
    let mut connection = http1::Builder::new()
        // Without the timer the deadline would silently do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(settings.handshake_deadline)
        .max_header_size(settings.header_bytes)
        .max_buf_size((2 * settings.header_bytes).max(MIN_BUFFER_BYTES))
        .serve_connection(TokioIo::new(Lines::new(stream, following)), service);
    let mut cancelled = pin!(shutdown.cancelled());
    let mut lifetime = pin!(sleep(LIFETIME));
    let mut given_up = pin!(given_up(&streaming));
    let mut ending = false;
    let ended = poll_fn(|cx| {
        // What a stream says for longer than that is what it is for.
        while !ending && streaming.get().is_some() && lifetime.as_mut().poll(cx).is_ready() {
            lifetime.as_mut().reset(Instant::now() + LIFETIME);
        }
        if !ending
            && (lifetime.as_mut().poll(cx).is_ready()
                | cancelled.as_mut().poll(cx).is_ready()
                | given_up.as_mut().poll(cx).is_ready())
        {
            ending = true;
            Pin::new(&mut connection).graceful_shutdown();
            lifetime
                .as_mut()
                .reset(Instant::now() + settings.handshake_deadline);
        }
        if ending && lifetime.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        connection.poll_without_shutdown(cx).map(Some)
    })
    .await;
    let parts = connection.into_parts();
    let (stream, held) = parts.io.into_inner().into_parts();
    let accepted = parts
        .service
        .upgraded
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let (Some(Ok(())), Some(accepted)) = (&ended, accepted) {
        return Some(Upgraded {
            accepted,
            stream,
            read_ahead: joined(parts.read_buf, held),
            peer,
            since: Instant::now().into_std(),
        });
    }
    let asked = parts.service.asked.load(Ordering::Relaxed);
    if let Some(event) = failure_of(ended, asked) {
        routes.observe(event);
    }
    linger(stream).await;
    None
}

/// What went wrong on a connection that ended, if anything did; `asked`: there was a request.
fn failure_of(ended: Option<hyper::Result<()>>, asked: bool) -> Option<AcceptEvent> {
    match ended {
        Some(Ok(())) => None,
        // A client that was answered and asks for nothing more does nothing wrong.
        Some(Err(error)) if error.is_timeout() => (!asked).then_some(AcceptEvent::TooLate),
        Some(Err(_)) | None => Some(AcceptEvent::HttpFailed),
    }
}

/// Waits until the reader of a stream is given up. Looked at again whenever the connection is: a
/// stream begins with a request on it.
async fn given_up(streaming: &OnceLock<CancellationToken>) {
    let token = poll_fn(|_| match streaming.get() {
        Some(token) => Poll::Ready(token),
        None => Poll::Pending,
    });
    token.await.cancelled().await;
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second,
        (_, true) => first,
        (false, false) => [first, second].concat().into(),
    }
}

/// Shuts our side and reads what the client still sends, within limits.
async fn linger(mut stream: Stream) {
    let reading = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut rest = Box::new([0; 4096]);
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = stream.read(&mut rest[..]).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // Late or not: dropping the stream ends it.
    let _ = timeout(LINGER, reading).await;
}

/// Answers the requests of one connection.
struct Requests<R: Routes> {
    /// Told what comes behind each head.
    following: Following,
    routes: Arc<R>,
    peer: SocketAddr,
    secure: bool,
    body_bytes: usize,
    body_deadline: Duration,
    /// Whether there was a request.
    asked: AtomicBool,
    /// Set by the request that was answered with 101.
    upgraded: Mutex<Option<R::Accepted>>,
    /// Set by the request that is answered with a stream.
    streaming: Arc<OnceLock<CancellationToken>>,
}

// Nothing inside is ever pinned in place.
impl<R: Routes> Unpin for Requests<R> {}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Outgoing>, Infallible>> + Send>>;

impl<R: Routes> Service<Request<Incoming>> for Requests<R> {
    type Response = http::Response<Outgoing>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        self.asked.store(true, Ordering::Relaxed);
        let routes = Arc::clone(&self.routes);
        let decided = self.decide(&request);
        if request.body().is_end_stream() {
            self.following.head();
        } else {
            self.following.body();
        }
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let (body_bytes, deadline) = (self.body_bytes, self.body_deadline);
        Box::pin(async move {
            let response = match decided {
                Decided::Answer(response) => response,
                Decided::Serve(serve) => {
                    answer_with_body(whole(serve), request, (body_bytes, deadline)).await
                }
                Decided::Receive(body_bytes, answer) => {
                    answer_with_body(answer, request, (body_bytes, deadline)).await
                }
                Decided::Stream(head, pieces) => {
                    routes.observe(AcceptEvent::Answered(head.status()));
                    return Ok(last(head).map(|()| Outgoing::Pieces(pieces)));
                }
            };
            // Where a body in chunks ends, somebody in front may see otherwise.
            let response = if chunked { last(response) } else { response };
            routes.observe(AcceptEvent::Answered(response.status()));
            Ok(response.map(Outgoing::whole))
        })
    }
}

enum Decided {
    Answer(Response),
    Serve(Serve),
    Receive(usize, AnswerBody),
    Stream(http::Response<()>, mpsc::Receiver<Bytes>),
}

impl<R: Routes> Requests<R> {
    fn decide(&self, request: &Request<Incoming>) -> Decided {
        let head = RequestHead::new(request, self.peer, self.secure);
        let decided = self
            .decide_checked(request, &head)
            .unwrap_or_else(|refusal| Decided::Answer(*refusal));
        match decided {
            // The client may have sent frames already; they must not be parsed as a request.
            Decided::Answer(response) if head.wants_upgrade() => Decided::Answer(last(response)),
            other => other,
        }
    }

    fn decide_checked(
        &self,
        request: &Request<Incoming>,
        head: &RequestHead<'_>,
    ) -> Result<Decided, Box<Response>> {
        check_request(request.version(), head)?;
        let switching = if head.wants_upgrade() {
            if self.following.had_body() {
                return Err(bad("upgrade behind a body"));
            }
            Some(check_upgrade(request, head)?)
        } else {
            None
        };
        Ok(match (self.routes.route(head), switching) {
            (Decision::Respond(response), _) => Decided::Answer(response),
            (Decision::Serve(serve), _) => Decided::Serve(serve),
            (Decision::Receive(receive), _) => Decided::Receive(receive.body_bytes, receive.answer),
            (Decision::Stream(streamed), _) => {
                let Streamed {
                    head,
                    pieces,
                    given_up,
                } = streamed;
                // The answer is the connection's last, so there is no other stream on it.
                let _ = self.streaming.set(given_up);
                Decided::Stream(head, pieces)
            }
            (Decision::Upgrade { .. }, None) => {
                Decided::Answer(upgrade_required("this path speaks WebSocket only"))
            }
            (
                Decision::Upgrade {
                    accepted,
                    protocol,
                    deflate,
                },
                Some(mut response),
            ) => {
                if let Some(agreed) = deflate.and_then(Deflate::header) {
                    response
                        .headers_mut()
                        .insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
                }
                if let Some(protocol) = protocol {
                    response.headers_mut().insert(
                        header::SEC_WEBSOCKET_PROTOCOL,
                        HeaderValue::from_static(protocol),
                    );
                }
                let mut upgraded = self.upgraded.lock().unwrap_or_else(PoisonError::into_inner);
                *upgraded = Some(accepted);
                Decided::Answer(response)
            }
        })
    }
}

/// Ends the connection after `response`, unless it is the upgrade.
fn last<B>(mut response: http::Response<B>) -> http::Response<B> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .append(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers with a text where the body is missing.
fn whole(serve: Serve) -> AnswerBody {
    Box::new(|request| match request {
        Ok(request) => serve(request),
        Err(error) => {
            let (status, text) = match error {
                BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "request body too large"),
                BodyError::TooLate => (StatusCode::REQUEST_TIMEOUT, "body too late"),
                BodyError::Broken => (StatusCode::BAD_REQUEST, "unreadable body"),
            };
            Box::pin(std::future::ready(text_response(status, text)))
        }
    })
}

async fn answer_with_body(
    answer: AnswerBody,
    request: Request<Incoming>,
    (body_bytes, deadline): (usize, Duration),
) -> Response {
    let (parts, body) = request.into_parts();
    let error = match timeout(deadline, Limited::new(body, body_bytes).collect()).await {
        Ok(Ok(body)) => return answer(Ok(Request::from_parts(parts, body.to_bytes()))).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => BodyError::TooLarge,
        Ok(Err(_)) => BodyError::Broken,
        Err(_) => BodyError::TooLate,
    };
    last(answer(Err(error)).await)
}
