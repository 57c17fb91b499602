//! One request, on its way to the code that answers it.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use sparkway_gateway::desk::Desk;
use sparkway_protocol::{Code, MessageId, NodeId, SessionId, TopicName, TraceContext, UserId};

use crate::nodes::Setting;
use crate::problem::Problem;

/// Most entries of a page.
pub(crate) const PAGE_MAX: u64 = 1000;
/// Entries of a page that does not say.
pub(crate) const PAGE_USUAL: u64 = 100;
/// Longest `Idempotency-Key`, in bytes.
const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What a request asks, taken apart.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) desk: Desk,
    pub(crate) configuration: Arc<[Setting]>,
    /// Id of the API key.
    pub(crate) key: Arc<str>,
    /// Segments of the path that stand for something, decoded, in order.
    pub(crate) segments: Vec<String>,
    /// The query, decoded. Only names that the route knows.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) idempotency_key: Option<String>,
    /// The trace of the caller (`traceparent`); what is none counts as absent, as the standard asks.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) body: Bytes,
}

impl Call {
    /// The body as JSON of this shape.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::invalid(format!("body: {error}")))
    }

    /// As [`Call::json`], with what stands for no body.
    pub(crate) fn json_or<T: DeserializeOwned>(&self, nothing: T) -> Result<T, Problem> {
        if self.body.is_empty() {
            return Ok(nothing);
        }
        self.json()
    }

    fn segment(&self, at: usize) -> &str {
        self.segments.get(at).map_or("", String::as_str)
    }

    /// The topic in the path.
    pub(crate) fn topic(&self, at: usize) -> Result<TopicName, Problem> {
        TopicName::parse(self.segment(at)).map_err(|rule| Problem::invalid(format!("topic {rule}")))
    }

    /// The session in the path. What is no id names no session.
    pub(crate) fn session(&self) -> Result<SessionId, Problem> {
        SessionId::parse(self.segment(0)).ok_or_else(no_session)
    }

    /// The user in the path.
    pub(crate) fn user(&self) -> Result<UserId, Problem> {
        UserId::parse(self.segment(0)).map_err(|rule| Problem::invalid(format!("user {rule}")))
    }

    /// The node in the path.
    pub(crate) fn node(&self) -> Result<NodeId, Problem> {
        NodeId::parse(self.segment(0)).map_err(|rule| Problem::invalid(format!("node {rule}")))
    }

    /// The first value of a name in the query; an empty one counts as absent.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of a name in the query.
    pub(crate) fn query_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.query.iter().filter(move |(found, _)| found == name);
        all.map(|(_, value)| value.as_str())
    }

    /// How many entries a page may have.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.query("limit") else {
            return Ok(usize::try_from(PAGE_USUAL).unwrap_or(usize::MAX));
        };
        let wrong = || Problem::invalid(format!("limit: is no number from 1 to {PAGE_MAX}"));
        let limit: u64 = text.parse().map_err(|_| wrong())?;
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(wrong());
        }
        usize::try_from(limit).map_err(|_| wrong())
    }

    /// A message id in the query.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<MessageId>, Problem> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        let wrong = || Problem::invalid(format!("{name}: is no message id"));
        MessageId::parse(text).map(Some).ok_or_else(wrong)
    }
}

/// The `Idempotency-Key` of a request.
pub(crate) fn idempotency_key(
    shown: Option<&http::HeaderValue>,
) -> Result<Option<String>, Problem> {
    let Some(shown) = shown else { return Ok(None) };
    match shown.to_str().map(str::trim) {
        Ok(key) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES => {
            Ok(Some(key.to_owned()))
        }
        Ok(_) | Err(_) => Err(Problem::new(
            Code::Invalid,
            "Idempotency-Key: is not 1 to 255 visible ASCII characters",
        )),
    }
}

pub(crate) fn no_session() -> Problem {
    Problem::not_found("no such session")
}
