//! The internal listener: health and metrics, on a thread and runtime of its own, so that it
//! answers while the data plane is saturated.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use sparkway_metrics::Metrics;
use sparkway_socket::{Decision, RequestHead, Response, Routes, Upgraded, text_response};

use crate::drain::Phase;
use crate::shared::Shared;
use crate::site;

/// From so many milliseconds on without its own word a node says so.
const DEAF_MS: u64 = 20_000;

/// The internal listener's rules.
#[derive(Debug)]
pub(crate) struct InternalRoutes {
    pub(crate) shared: Arc<Shared>,
}

impl Routes for InternalRoutes {
    type Accepted = ();

    fn route(&self, head: &RequestHead<'_>) -> Decision<()> {
        let response = match head.path() {
            "/healthz" | "/startupz" => text_response(StatusCode::OK, "ok\n"),
            "/metrics" => metrics(&self.shared),
            "/readyz" => {
                if *self.shared.phase.borrow() == Phase::Serving {
                    ready(self.shared.silence_ms())
                } else {
                    text_response(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
                }
            }
            _ => {
                return site::ask(&self.shared.sites.internal, head).unwrap_or_else(|| {
                    Decision::Respond(text_response(StatusCode::NOT_FOUND, "no such path\n"))
                });
            }
        };
        Decision::Respond(response)
    }

    fn connected(&self, upgraded: Upgraded<()>) {
        drop(upgraded);
    }
}

/// A feed that brings nothing is said and does not make the node unready: it connects anew by
/// itself, and all nodes may share the cause.
fn ready(silence_ms: u64) -> Response {
    if silence_ms < DEAF_MS {
        return text_response(StatusCode::OK, "ready\n");
    }
    let seconds = silence_ms / 1000;
    let text = format!("ready\nthe feed has brought nothing for {seconds} s\n");
    let mut response = Response::new(Bytes::from(text));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn metrics(shared: &Shared) -> Response {
    let mut response = Response::new(Bytes::from(shared.metrics.render()));
    let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
