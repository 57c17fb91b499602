//! Why a request was refused: RFC 9457, from the one table of codes.

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sparkway_gateway::site::Response;
use sparkway_protocol::code::Retry;
use sparkway_protocol::{Code, Refused};
use sparkway_store::{StoreError, WriteError};

/// Seconds after which a refused request may be repeated, where the code says that it may.
const RETRY_AFTER_S: u64 = 1;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// For a developer: names the field and the limit.
    pub(crate) detail: Cow<'static, str>,
    /// JSON pointer to the value in the body that is wrong.
    pub(crate) pointer: Option<String>,
    /// Methods that the path has, where the one of the request is none of them.
    pub(crate) allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            pointer: None,
            allow: None,
        }
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(Code::NotFound, what)
    }

    /// A value of the body that breaks a rule.
    pub(crate) fn at(pointer: impl Into<String>, rule: impl std::fmt::Display) -> Self {
        let pointer = pointer.into();
        Self {
            pointer: Some(pointer.clone()),
            ..Self::invalid(format!("{pointer} {rule}"))
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem as JSON.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("urn:sparkway:error:{}", self.code.as_str().replace('_', "-")),
            "title": title(self.code),
            "status": self.code.http_status(),
            "detail": self.detail,
            "code": self.code.as_str(),
            "retryable": self.code.retry() == Retry::Yes,
            "request_id": request_id,
        });
        if let (Some(pointer), Some(fields)) = (&self.pointer, body.as_object_mut()) {
            let errors = json!([{"pointer": pointer, "detail": self.detail}]);
            fields.insert("errors".to_owned(), errors);
        }
        body
    }

    pub(crate) fn response(&self, request_id: &str) -> Response {
        let mut response = Response::new(self.body(request_id).to_string().into());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.code.retry() == Retry::Yes {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sparkway\""),
            );
        }
        if let Some(methods) = &self.allow
            && let Ok(methods) = HeaderValue::from_str(methods)
        {
            headers.insert(header::ALLOW, methods);
        }
        response
    }
}

/// The code in plain words.
fn title(code: Code) -> String {
    let words = code.as_str().replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code, refused.message)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::new(
                Code::Unavailable,
                "the store does not answer; the same request is safe to repeat",
            ),
            StoreError::NotReplicated => Self::new(
                Code::NotReplicated,
                "stored, but not on enough replicas in time; repeat it with the same id",
            ),
            StoreError::Corrupt(_) => Self::new(
                Code::Internal,
                "the store holds what this version does not understand",
            ),
            // The one thing of a request that can differ from the layout.
            StoreError::Layout(_) => Self::invalid("cursor: is no `next` of a page"),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Fenced => Self::new(
                Code::Unavailable,
                "the session moved meanwhile; the same request is safe to repeat",
            ),
            WriteError::Gone => Self::not_found("no such session"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_makes_a_problem_with_its_status() {
        for &code in Code::ALL {
            let problem = Problem::new(code, "why");
            let response = problem.response("r1");
            assert_eq!(response.status().as_u16(), code.http_status());
            let body: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["request_id"], "r1");
            assert!(body["title"].as_str().unwrap().len() > 3, "{body}");
            let repeatable = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(repeatable, code.retry() == Retry::Yes);
        }
    }
}
