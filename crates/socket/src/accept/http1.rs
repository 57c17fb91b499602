//! One HTTP/1.1 connection, until it is upgraded or over.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{AcceptEvent, Decision, Routes, Serve, Upgraded};
use crate::{
    AcceptSettings, RequestHead, Response, Stream, text_response,
    upgrade::{check_request, check_upgrade, upgrade_required},
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
    let service = Requests {
        routes: Arc::clone(routes),
        peer,
        secure: matches!(stream, Stream::Tls(_)),
        body_bytes: settings.body_bytes,
        body_deadline: settings.handshake_deadline,
        upgraded: Mutex::new(None),
    };
    let mut connection = http1::Builder::new()
        // Without the timer the deadline would silently do nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(settings.handshake_deadline)
        .max_header_size(settings.header_bytes)
        .max_buf_size((2 * settings.header_bytes).max(MIN_BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service);
    let mut cancelled = pin!(shutdown.cancelled());
    let mut lifetime = pin!(sleep(LIFETIME));
    let mut ending = false;
    let ended = poll_fn(|cx| {
        if !ending
            && (lifetime.as_mut().poll(cx).is_ready() | cancelled.as_mut().poll(cx).is_ready())
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
    let stream = parts.io.into_inner();
    let accepted = parts
        .service
        .upgraded
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match (ended, accepted) {
        (Some(Ok(())), Some(accepted)) => Some(Upgraded {
            accepted,
            stream,
            read_ahead: parts.read_buf,
            peer,
        }),
        (Some(Ok(())), None) => {
            linger(stream).await;
            None
        }
        (Some(Err(_)) | None, _) => {
            routes.observe(AcceptEvent::HttpFailed);
            linger(stream).await;
            None
        }
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
    routes: Arc<R>,
    peer: SocketAddr,
    secure: bool,
    body_bytes: usize,
    body_deadline: Duration,
    /// Set by the request that was answered with 101.
    upgraded: Mutex<Option<R::Accepted>>,
}

// Nothing inside is ever pinned in place.
impl<R: Routes> Unpin for Requests<R> {}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Full<Bytes>>, Infallible>> + Send>>;

impl<R: Routes> Service<Request<Incoming>> for Requests<R> {
    type Response = http::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let routes = Arc::clone(&self.routes);
        let decided = self.decide(&request);
        let limits = (self.body_bytes, self.body_deadline);
        Box::pin(async move {
            let response = match decided {
                Decided::Answer(response) => response,
                Decided::Serve(serve) => answer_with_body(serve, request, limits).await,
            };
            routes.observe(AcceptEvent::Answered(response.status()));
            Ok(response.map(Full::new))
        })
    }
}

enum Decided {
    Answer(Response),
    Serve(Serve),
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
        check_request(head)?;
        let switching = if head.wants_upgrade() {
            Some(check_upgrade(request, head)?)
        } else {
            None
        };
        Ok(match (self.routes.route(head), switching) {
            (Decision::Respond(response), _) => Decided::Answer(response),
            (Decision::Serve(serve), _) => Decided::Serve(serve),
            (Decision::Upgrade { .. }, None) => {
                Decided::Answer(upgrade_required("this path speaks WebSocket only"))
            }
            (Decision::Upgrade { accepted, protocol }, Some(mut response)) => {
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
fn last(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .append(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer_with_body(
    serve: Serve,
    request: Request<Incoming>,
    (body_bytes, deadline): (usize, Duration),
) -> Response {
    let (parts, body) = request.into_parts();
    match timeout(deadline, Limited::new(body, body_bytes).collect()).await {
        Ok(Ok(body)) => serve(Request::from_parts(parts, body.to_bytes())).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => last(text_response(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request body too large",
        )),
        Ok(Err(_)) => last(text_response(StatusCode::BAD_REQUEST, "unreadable body")),
        Err(_) => last(text_response(StatusCode::REQUEST_TIMEOUT, "body too late")),
    }
}
