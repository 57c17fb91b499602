//! What becomes of an HTTP request on the public listener: which dialect, who may come in.

use std::sync::Arc;

use http::StatusCode;
use sparkway_auth::{Credential, Mode, Offered, Origin};
use sparkway_dialect::room;
use sparkway_metrics::HandshakeResult;
use sparkway_protocol::{Format, MessageId, Since};
use sparkway_socket::origin::OriginPattern;
use sparkway_socket::{
    AcceptEvent, Decision, RequestHead, Routes, Spawn, Upgraded, origin, retry_later, text_response,
};

use crate::connection::Connection;
use crate::drain::Phase;
use crate::entering::RoomPlace;
use crate::settings::Dialect;
use crate::tasks::Tasks;
use crate::worker::Worker;

/// Seconds after which a client that is turned away may come again.
const RETRY_AFTER_S: u32 = 2;

/// What the handshake decided.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) format: Format,
    pub(crate) credential: Option<Box<str>>,
    pub(crate) mode: Mode,
    /// The room, in the dialect that has them.
    pub(crate) room: Option<RoomPlace>,
}

/// The public listener's rules, for the connections of one worker.
#[derive(Debug)]
pub(crate) struct PublicRoutes {
    pub(crate) worker: Arc<Worker>,
}

impl Routes for PublicRoutes {
    type Accepted = Accepted;

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
            return Decision::Respond(text_response(StatusCode::NOT_FOUND, "no such path\n"));
        };
        if *shared.phase.borrow() >= Phase::Closing {
            return Decision::Respond(retry_later(RETRY_AFTER_S, "draining\n"));
        }
        let limit = shared.settings.limits.connections;
        if limit.is_some_and(|limit| shared.connections() >= u64::from(limit)) {
            return Decision::Respond(retry_later(RETRY_AFTER_S, "too many connections\n"));
        }
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
        if matches!(route.dialect, Dialect::Conversation | Dialect::Chat) {
            let text = "this dialect is not served yet\n";
            return Decision::Respond(text_response(StatusCode::NOT_IMPLEMENTED, text));
        }
        let room = match route.dialect {
            Dialect::Room => match room_place(&route.path, head) {
                Ok(place) => Some(place),
                Err(text) => {
                    return Decision::Respond(text_response(StatusCode::BAD_REQUEST, text));
                }
            },
            Dialect::Spark | Dialect::Topics | Dialect::Conversation | Dialect::Chat => None,
        };
        let credential = credential.map(|(_, token)| token);
        let mode = route.auth.unwrap_or_else(|| match route.dialect {
            // A room knows no credentials unless its route asks for them (S3-18).
            Dialect::Room => Mode::Off,
            Dialect::Spark | Dialect::Topics | Dialect::Conversation | Dialect::Chat => {
                shared.verifier.load().mode()
            }
        });
        Decision::Upgrade {
            accepted: Accepted {
                format,
                credential,
                mode,
                room,
            },
            protocol,
        }
    }

    fn connected(&self, upgraded: Upgraded<Accepted>) {
        let Upgraded {
            accepted,
            stream,
            read_ahead,
            ..
        } = upgraded;
        let mut connection = Connection::new(&self.worker, stream, &read_ahead, accepted);
        let open = self.worker.shared.count_connection();
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
                403 => HandshakeResult::Origin,
                400 | 404 | 405 | 421 | 426 | 431 => HandshakeResult::BadRequest,
                503 => HandshakeResult::Limit,
                _ => return,
            },
            AcceptEvent::NotAdmitted | AcceptEvent::AcceptFailed(_) => HandshakeResult::Limit,
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
/// origin must be there and allowed, or a foreign page could ride on it.
fn is_allowed(head: &RequestHead<'_>, patterns: &[OriginPattern], from_cookie: bool) -> bool {
    if from_cookie && head.origin().is_none() {
        return false;
    }
    origin::is_allowed(head.origin(), head.host(), patterns)
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
