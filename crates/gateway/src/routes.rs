//! What becomes of an HTTP request on the public listener: which dialect, who may come in.

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use sparkway_auth::{AuthError, Credential, Mode, Offered, Origin};
use sparkway_dialect::room;
use sparkway_metrics::{HandshakeResult, RateScope};
use sparkway_protocol::{Format, MessageId, Since, TraceContext};
use sparkway_socket::origin::OriginPattern;
use sparkway_socket::{
    AcceptEvent, Decision, Deflate, RequestHead, Response, Routes, Spawn, Upgraded, origin,
    retry_later, text_response,
};

use crate::address;
use crate::connection::Connection;
use crate::drain::Phase;
use crate::entering::RoomPlace;
use crate::guests::{Place, RETRY_AFTER_S};
use crate::settings::{Dialect, Reject, Route};
use crate::shared::Shared;
use crate::site;
use crate::tasks::Tasks;
use crate::worker::Worker;

/// Seconds after which a client that is sent on to another node may come again.
const SENT_ON_S: u32 = 1;
/// What the handshake decided.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) format: Format,
    pub(crate) credential: Option<Box<str>>,
    pub(crate) mode: Mode,
    /// The room, in the dialect that has them.
    pub(crate) room: Option<RoomPlace>,
    /// What hooks are shown of the handshake.
    pub(crate) shown: Option<Box<sparkway_hooks::ask::Client>>,
    /// Its place among those of its address.
    pub(crate) place: Place,
    /// Counts it among the node's connections.
    pub(crate) open: Arc<()>,
    /// Whether messages may be deflated, and how.
    pub(crate) deflate: Option<Deflate>,
    /// Where the client stands in a trace of its own.
    pub(crate) trace: Option<TraceContext>,
}

/// The public listener's rules, for the connections of one worker.
#[derive(Debug)]
pub(crate) struct PublicRoutes {
    pub(crate) worker: Arc<Worker>,
}

impl Routes for PublicRoutes {
    type Accepted = Accepted;

    /// A trusted proxy stands for many clients: those are told apart once their heads are read.
    fn admit(&self, peer: SocketAddr) -> bool {
        let shared = &self.worker.shared;
        let peer = peer.ip().to_canonical();
        if address::is_trusted(peer, &shared.settings.server.trusted_proxies) {
            return true;
        }
        let heard = shared.guests.hear(peer, shared.clock.mono_ms());
        heard.map_err(|scope| self.count_limited(scope)).is_ok()
    }

    fn route(&self, head: &RequestHead<'_>) -> Decision<Accepted> {
        let shared = &self.worker.shared;
        if head.path() == "/healthz" {
            return Decision::Respond(text_response(StatusCode::OK, "ok\n"));
        }
        let Some(route) = shared
            .settings
            .routes
            .iter()
            .find(|route| matches(&route.path, head.path()))
        else {
            return site::ask(&shared.sites.public, head).unwrap_or_else(|| {
                Decision::Respond(text_response(StatusCode::NOT_FOUND, "no such path\n"))
            });
        };
        if *shared.phase.borrow() >= Phase::Closing {
            return Decision::Respond(retry_later(RETRY_AFTER_S, "draining\n"));
        }
        let place = match enter(head, shared) {
            Ok(place) => place,
            Err(response) => return Decision::Respond(*response),
        };
        let credential = credential(head, shared.verifier.load().cookie_name());
        let from_cookie = credential
            .as_ref()
            .is_some_and(|(origin, _)| *origin == Origin::Cookie);
        if !is_allowed(head, &shared.origins, from_cookie) {
            return Decision::Respond(text_response(StatusCode::FORBIDDEN, "origin not allowed\n"));
        }
        let (format, protocol) = match route.dialect {
            Dialect::Spark => spark_encoding(head),
            other => (other.format(), None),
        };
        if shared.sends_on(protocol.is_some()) {
            return Decision::Respond(retry_later(SENT_ON_S, "more than my share\n"));
        }
        if route.dialect == Dialect::Conversation && must_use_tls(head, shared) {
            let text = "this path wants TLS: connect with wss\n";
            return Decision::Respond(text_response(StatusCode::FORBIDDEN, text));
        }
        if matches!(route.dialect, Dialect::Chat) && shared.sites.chat.is_none() {
            let text = "this node has no chat\n";
            return Decision::Respond(text_response(StatusCode::NOT_IMPLEMENTED, text));
        }
        let in_room = route.dialect == Dialect::Room;
        let room = match in_room.then(|| room_place(&route.path, head)).transpose() {
            Ok(room) => room,
            Err(text) => return Decision::Respond(text_response(StatusCode::BAD_REQUEST, text)),
        };
        let credential = credential.map(|(_, token)| token);
        let mode = mode_of(route, shared);
        if route.reject == Reject::Http && self.is_refused(credential.as_deref(), mode) {
            return Decision::Respond(unauthorized());
        }
        let compression = shared.settings.server.compression;
        Decision::Upgrade {
            accepted: Accepted {
                format,
                credential,
                mode,
                room,
                shown: shared.shown(format, head.headers()),
                place,
                open: shared.count_connection(),
                deflate: head.offered_deflate().filter(|_| compression),
                trace: traceparent(head),
            },
            protocol,
            deflate: head.offered_deflate().filter(|_| compression),
        }
    }

    fn connected(&self, upgraded: Upgraded<Accepted>) {
        let Upgraded {
            accepted,
            stream,
            read_ahead,
            since,
            ..
        } = upgraded;
        let open = Arc::clone(&accepted.open);
        let trace = accepted.trace;
        let mut connection = Connection::new(&self.worker, stream, &read_ahead, accepted);
        connection.since = since;
        connection.trace_upgrade(trace);
        self.worker.shared.tasks.spawn(async move {
            connection.run().await;
            drop(open);
        });
    }

    fn observe(&self, event: AcceptEvent) {
        let result = match event {
            AcceptEvent::Accepted => return,
            AcceptEvent::Answered(status) => match status.as_u16() {
                101 => HandshakeResult::Ok,
                401 => HandshakeResult::Auth,
                403 => HandshakeResult::Origin,
                400 | 404 | 405 | 421 | 426 | 431 => HandshakeResult::BadRequest,
                429 => HandshakeResult::Limit,
                503 => self.unavailable(),
                _ => return,
            },
            AcceptEvent::NotAdmitted | AcceptEvent::AcceptFailed(_) => HandshakeResult::Limit,
            AcceptEvent::NoDescriptor => {
                self.count_limited(RateScope::Descriptors);
                HandshakeResult::Limit
            }
            AcceptEvent::GaveWay => {
                self.count_limited(RateScope::SlowHandshakes);
                HandshakeResult::Timeout
            }
            AcceptEvent::TooLate => HandshakeResult::Timeout,
            AcceptEvent::TlsFailed | AcceptEvent::HttpFailed => HandshakeResult::Protocol,
        };
        self.worker
            .shared
            .metrics
            .socket
            .handshakes
            .at(result)
            .inc();
    }
}

impl PublicRoutes {
    fn count_limited(&self, scope: RateScope) {
        let session = &self.worker.shared.metrics.session;
        session.rate_limited.at(scope).inc();
    }

    /// Whether it is certain by now that a credential lets nobody in. What has to be asked of
    /// somebody else is answered after the handshake.
    fn is_refused(&self, credential: Option<&str>, mode: Mode) -> bool {
        let shared = &self.worker.shared;
        if shared.must_ask(mode) && (credential.is_none() || shared.verifier.load().is_opaque()) {
            return false;
        }
        let refusal = shared.admit(credential, mode).err();
        let is_certain = |error: &AuthError| {
            !matches!(
                error,
                AuthError::KeyUnknown(_) | AuthError::KeysUnknown(_) | AuthError::Undecided
            )
        };
        let Some(refusal) = refusal.filter(is_certain) else {
            return false;
        };
        shared.count_refusal(&refusal);
        true
    }
}

/// 401, with what would be accepted instead.
fn unauthorized() -> Response {
    let mut response = text_response(StatusCode::UNAUTHORIZED, "Unauthorized\n");
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

/// Whether a credential is needed on a route.
fn mode_of(route: &Route, shared: &Shared) -> Mode {
    route.auth.unwrap_or_else(|| match route.dialect {
        // A room knows no credentials unless its route asks for them (S3-18).
        Dialect::Room => Mode::Off,
        Dialect::Spark | Dialect::Topics | Dialect::Conversation | Dialect::Chat => {
            shared.verifier.load().mode()
        }
    })
}

/// Lets a handshake begin while the node, and the client's address, may have one more.
fn enter(head: &RequestHead<'_>, shared: &Shared) -> Result<Place, Box<Response>> {
    let limited = &shared.metrics.session.rate_limited;
    if shared
        .guests
        .connections_max
        .is_some_and(|most| shared.connections() >= u64::from(most))
    {
        limited.at(RateScope::Connections).inc();
        return Err(Box::new(retry_later(
            RETRY_AFTER_S,
            "too many connections\n",
        )));
    }
    let client = address::of_client(head, &shared.settings.server.trusted_proxies);
    shared
        .guests
        .admit(client, shared.clock.mono_ms())
        .map_err(|turned_away| {
            limited.at(turned_away.scope).inc();
            Box::new(turned_away.response())
        })
}

/// Where the client stands in a trace of its own.
fn traceparent(head: &RequestHead<'_>) -> Option<TraceContext> {
    head.header("traceparent").and_then(TraceContext::parse)
}

impl PublicRoutes {
    /// Why a client was told to come again.
    fn unavailable(&self) -> HandshakeResult {
        let shared = &self.worker.shared;
        if *shared.phase.borrow() >= Phase::Closing {
            HandshakeResult::Draining
        } else if shared.was_sent_on() {
            HandshakeResult::Rebalance
        } else {
            HandshakeResult::Limit
        }
    }
}

/// Whether the client is outside of this machine and what it says can be read on the way (S2-49).
fn must_use_tls(head: &RequestHead<'_>, shared: &Shared) -> bool {
    let trusted = &shared.settings.server.trusted_proxies;
    shared.settings.conversation.require_tls
        && !address::is_encrypted(head, trusted)
        && !address::of_client(head, trusted).is_loopback()
}

/// Starts the accepting side's tasks among the node's.
#[derive(Clone, Debug)]
pub(crate) struct SpawnOn(pub(crate) Tasks);

impl Spawn for SpawnOn {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Whether a path obeys a route. A segment in braces stands for any one segment.
fn matches(route: &str, path: &str) -> bool {
    let mut expected = route.split('/');
    let mut segments = path.split('/');
    loop {
        match (expected.next(), segments.next()) {
            (None, None) => return true,
            (Some(expected), Some(segment)) => {
                let any = expected.starts_with('{') && expected.ends_with('}');
                if !(expected == segment || any && !segment.is_empty()) {
                    return false;
                }
            }
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// The room that a path names, and where its client wants to begin (S3-17, S3-20).
fn room_place(route: &str, head: &RequestHead<'_>) -> Result<RoomPlace, &'static str> {
    let mut segments = route.split('/').zip(head.path().split('/'));
    let named = segments.find(|(expected, _)| expected.starts_with('{'));
    let name = named.map_or(room::DEFAULT_ROOM, |(_, segment)| segment);
    let topic = room::topic(name).ok_or("room: longer than 250 bytes\n")?;
    let since = match head.query_value("since") {
        None => Since::Now,
        Some(id) => MessageId::parse(&id)
            .map(Since::Id)
            .ok_or("since: not a message id\n")?,
    };
    Ok(RoomPlace { topic, since })
}

/// The first of the offered subprotocols that names an encoding; JSON when none is offered.
fn spark_encoding(head: &RequestHead<'_>) -> (Format, Option<&'static str>) {
    for offered in head.subprotocols() {
        match offered {
            "spark.v1.json" => return (Format::SparkJson, Some("spark.v1.json")),
            "spark.v1.msgpack" => return (Format::SparkMsgPack, Some("spark.v1.msgpack")),
            _ => {}
        }
    }
    (Format::SparkJson, None)
}

fn credential(head: &RequestHead<'_>, cookie_name: &str) -> Option<(Origin, Box<str>)> {
    let lines = |name: &str| -> Vec<&str> {
        head.headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect()
    };
    let subprotocols = lines("sec-websocket-protocol");
    let cookies = lines("cookie");
    let offered = Offered {
        query: head.query(),
        subprotocols: &subprotocols,
        authorization: head.header("authorization"),
        cookies: &cookies,
    };
    let found = Credential::of_request(&offered, cookie_name)?;
    Some((found.origin, found.token.into_owned().into()))
}

/// A browser names its origin; others may leave it out. With a cookie as the credential the
/// origin must be there and be named, or a foreign page could ride on it: `*` names nobody.
fn is_allowed(head: &RequestHead<'_>, patterns: &[OriginPattern], from_cookie: bool) -> bool {
    if !from_cookie {
        return origin::is_allowed(head.origin(), head.host(), patterns);
    }
    let named = patterns.iter().filter(|pattern| !pattern.is_any());
    let named: Vec<OriginPattern> = named.cloned().collect();
    head.origin().is_some() && origin::is_allowed(head.origin(), head.host(), &named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_exact_but_for_segments_in_braces() {
        assert!(matches("/ws", "/ws"));
        assert!(!matches("/ws", "/ws/"));
        assert!(!matches("/ws", "/wsx"));
        assert!(matches("/ws/room/{room}", "/ws/room/a"));
        assert!(!matches("/ws/room/{room}", "/ws/room/"));
        assert!(!matches("/ws/room/{room}", "/ws/room/a/b"));
    }
}
