//! The internal listener: health and metrics, on a thread and runtime of its own, so that it
//! answers while the data plane is saturated.

use std::sync::Arc;

use http::StatusCode;
use sparkway_socket::{Decision, RequestHead, Routes, Upgraded, text_response};

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
