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
                    text_response(StatusCode::OK, "ready\n")
                } else {
                    text_response(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
                }
            }
            _ => text_response(StatusCode::NOT_FOUND, "no such path\n"),
        };
        Decision::Respond(response)
    }

    fn connected(&self, upgraded: Upgraded<()>) {
        drop(upgraded);
    }
}

fn metrics(shared: &Shared) -> Response {
    let mut response = Response::new(Bytes::from(shared.metrics.render()));
    let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
