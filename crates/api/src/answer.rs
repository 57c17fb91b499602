//! What a request is answered.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use sparkway_gateway::site::Response;

use crate::problem::Problem;

/// An answer before it has the headers that all have.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// How a request ends.
pub(crate) type Answered = Result<Reply, Problem>;

impl Reply {
    /// 200 with this.
    pub(crate) fn ok(body: &impl Serialize) -> Answered {
        Self::with(StatusCode::OK, body)
    }

    /// 202 with this: told to where it happens.
    pub(crate) fn accepted(body: &impl Serialize) -> Answered {
        Self::with(StatusCode::ACCEPTED, body)
    }

    /// 204.
    pub(crate) const fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: Vec::new(),
        }
    }

    fn with(status: StatusCode, body: &impl Serialize) -> Answered {
        let body = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(%error, "an answer cannot be written");
            Problem::new(sparkway_protocol::Code::Internal, "see the node's log")
        })?;
        Ok(Self { status, body })
    }

    pub(crate) fn response(self) -> Response {
        let mut response = Response::new(self.body.into());
        *response.status_mut() = self.status;
        if self.status != StatusCode::NO_CONTENT {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        response
    }
}
