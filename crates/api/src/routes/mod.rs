//! The table of routes: dispatch, `OpenAPI` and the reference page come from it.

mod looking;
mod managing;
mod publishing;

use std::fmt;

use futures_util::future::BoxFuture;
use http::Method;
use serde_json::Value;
use sparkway_gateway::settings::Scope;
use sparkway_metrics::HttpRoute;

use crate::answer::Answered;
use crate::call::Call;
use crate::shape::{Components, Shape};

/// The media type of almost all answers.
const JSON: &str = "application/json";
/// Longest body of most requests, in bytes.
const SMALL: usize = 64 * 1024;

/// One operation.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Segments in braces stand for anything.
    pub(crate) path: &'static str,
    pub(crate) label: HttpRoute,
    pub(crate) scope: Scope,
    /// Name of the operation, for generated clients.
    pub(crate) id: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What else there is to know.
    pub(crate) notes: &'static str,
    pub(crate) query: &'static [Parameter],
    /// The body, where the operation has one.
    pub(crate) body: Option<Body>,
    /// Whether `Idempotency-Key` counts.
    pub(crate) idempotent: bool,
    pub(crate) answer: Reply,
    pub(crate) serve: Serve,
}

impl fmt::Debug for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, self.path)
    }
}

/// What may stand in a query.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    /// May stand there several times.
    pub(crate) many: bool,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) schema: fn(&mut Components) -> Value,
    pub(crate) bytes_max: usize,
    /// Whether it may be left out.
    pub(crate) optional: bool,
    pub(crate) example: &'static str,
}

/// What is answered when it is done.
#[derive(Clone, Copy)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) media: &'static str,
    /// `None`: no body.
    pub(crate) schema: Option<fn(&mut Components) -> Value>,
}

/// How an operation is carried out.
#[derive(Clone, Copy)]
pub(crate) enum Serve {
    /// By an answer.
    Answer(fn(Call) -> BoxFuture<'static, Answered>),
    /// By the stream of events.
    Stream,
}

const CURSOR: Parameter = one("cursor", "`next` of the page before.");
const LIMIT: Parameter = one(
    "limit",
    "Most items of the page, 1 to 1,000; 100 unless said.",
);

const fn one(name: &'static str, text: &'static str) -> Parameter {
    Parameter {
        name,
        text,
        many: false,
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it fills a field that may be empty"
)]
fn body<T: Shape>(bytes_max: usize, example: &'static str) -> Option<Body> {
    Some(Body {
        schema: T::schema,
        bytes_max,
        optional: false,
        example,
    })
}

/// A body that may be left out.
fn optional_body<T: Shape>(example: &'static str) -> Option<Body> {
    body::<T>(SMALL, example).map(|body| Body {
        optional: true,
        ..body
    })
}

const NO_BODY: Reply = Reply {
    status: 204,
    media: JSON,
    schema: None,
};

fn answer<T: Shape>(status: u16) -> Reply {
    Reply {
        status,
        media: JSON,
        schema: Some(T::schema),
    }
}

/// All routes, in the order of the reference page.
pub(crate) fn table() -> Vec<Route> {
    [publishing::routes(), looking::routes(), managing::routes()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sparkway_metrics::Label as _;

    use super::*;

    #[test]
    fn every_route_is_counted_under_its_path() {
        for route in table() {
            let rows = HttpRoute::rows();
            let label = rows[route.label.index()][0];
            // What a node says of itself counts as one.
            let is_of_the_node = ["/v1/config", "/v1/hooks"].contains(&route.path);
            assert!(
                route.path.starts_with(label) || is_of_the_node,
                "{route:?}: {label}"
            );
        }
    }

    #[test]
    fn operations_differ_and_are_described() {
        let mut seen = HashSet::new();
        for route in table() {
            assert!(seen.insert(route.id), "{route:?}");
            assert!(
                seen.insert(route.path)
                    || seen.insert(Box::leak(format!("{route:?}").into_boxed_str()))
            );
            assert!(!route.summary.is_empty(), "{route:?}");
        }
    }

    #[test]
    fn reading_changes_nothing() {
        for route in table() {
            let reads = route.method == Method::GET;
            assert_eq!(
                reads,
                matches!(route.scope, Scope::Read) || route.path == "/v1/config",
                "{route:?}"
            );
        }
    }
}
