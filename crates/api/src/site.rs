//! From the head of a request to its answer: path, origin, key, body, deadline, count.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::{HeaderValue, Method, Request, header};
use sparkway_gateway::desk::Desk;
use sparkway_gateway::settings::ApiKey;
use sparkway_gateway::site::{
    Answer, BodyError, Receive, RequestHead, Response, Site, decode_segment,
};
use sparkway_metrics::{HttpRoute, HttpStatus};
use sparkway_protocol::{Code, TraceContext};
use tokio::sync::Semaphore;

use crate::call::{Call, idempotency_key};
use crate::events;
use crate::keys::{Caller, Keys};
use crate::nodes::Setting;
use crate::problem::Problem;
use crate::routes::{Route, Serve, table};

/// Longest time that a request may take once its body is there.
const DEADLINE: Duration = Duration::from_secs(15);
/// Requests that are answered at once; further ones are told to come again. With the longest body
/// that is 256 MiB.
const REQUESTS_MAX: usize = 64;
/// Event streams at once.
const STREAMS_MAX: usize = 64;
/// Longest `X-Request-Id` that is taken over, in bytes.
const REQUEST_ID_BYTES: usize = 128;

/// The HTTP API of one node. It answers as soon as its node runs.
#[derive(Debug)]
pub struct Api(Arc<State>);

#[derive(Debug)]
struct State {
    keys: Keys,
    routes: Vec<Route>,
    desk: OnceLock<Desk>,
    places: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    configuration: Arc<[Setting]>,
}

/// What all answers of one request share.
struct Exchange {
    state: Arc<State>,
    label: HttpRoute,
    request_id: String,
    began: Instant,
}

impl Api {
    /// An API for these keys. Without any, everybody on this machine may use it: the listener
    /// must be on loopback then. `configuration` is what it shows of the node's settings.
    #[must_use]
    pub fn new(keys: &[ApiKey], configuration: Vec<Setting>) -> Self {
        Self(Arc::new(State {
            keys: Keys::new(keys),
            routes: table(),
            desk: OnceLock::new(),
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            configuration: configuration.into(),
        }))
    }

    /// Takes other keys from now on. Says whether they differ. An API that had keys is not left
    /// without: then nothing changes.
    pub fn replace_keys(&self, keys: &[ApiKey]) -> bool {
        let opens = keys.is_empty() && !self.0.keys.is_empty();
        !opens && self.0.keys.replace(keys)
    }
}

impl Site for Api {
    fn open(&self, desk: &Desk) {
        // A site belongs to one node.
        let _ = self.0.desk.set(desk.clone());
    }

    fn answer(&self, head: &RequestHead<'_>) -> Option<Answer> {
        let path = head.path();
        if path == "/openapi.json" {
            return Some(Answer::Now(described()));
        }
        if path != "/v1" && !path.starts_with("/v1/") {
            return None;
        }
        let mut exchange = Exchange {
            state: Arc::clone(&self.0),
            label: HttpRoute::Other,
            request_id: request_id(head),
            began: Instant::now(),
        };
        Some(match self.0.decide(head, &mut exchange) {
            Ok(receive) => receive(exchange),
            Err(problem) => Answer::Now(exchange.refuse(&problem)),
        })
    }
}

/// The document for tools: open to everybody who reaches the listener, like the source.
fn described() -> Response {
    let mut response = Response::new(crate::openapi::document().to_string().into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Makes the answer, with what was decided inside.
type Decided = Box<dyn FnOnce(Exchange) -> Answer>;

impl State {
    fn decide(&self, head: &RequestHead<'_>, exchange: &mut Exchange) -> Result<Decided, Problem> {
        is_of_this_place(head, self.keys.is_empty())?;
        let caller = self
            .keys
            .caller(head.header("authorization"))
            .ok_or_else(no_key)?;
        let (at, segments) = self.find(head)?;
        let route = self.routes.get(at).ok_or_else(no_path)?;
        exchange.label = route.label;
        if !caller.may(route.scope) {
            let scope = route.scope.as_str();
            let detail = format!("the API key lacks the scope `{scope}`");
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let query = query(head, route)?;
        let idempotency_key = if route.idempotent {
            idempotency_key(head.headers().get("idempotency-key"))?
        } else {
            None
        };
        let bytes_max = route.body.map_or(0, |body| body.bytes_max);
        is_short_enough(head, bytes_max)?;
        let desk = self.desk.get().cloned().ok_or_else(starting)?;
        let call = Call {
            desk: desk.clone(),
            configuration: Arc::clone(&self.configuration),
            key: Arc::clone(&caller.key),
            segments,
            query,
            idempotency_key,
            trace: head.header("traceparent").and_then(TraceContext::parse),
            body: bytes::Bytes::new(),
        };
        let serve = match route.serve {
            Serve::Answer(serve) => serve,
            Serve::Stream => return self.begin_stream(&call),
        };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy())?;
        note(&caller, route, exchange);
        Ok(Box::new(move |exchange| {
            let inflight = desk.metrics().http.inflight_requests.clone();
            inflight.inc();
            let counted = Counted(inflight);
            let answer = Box::new(move |received: Result<Request<bytes::Bytes>, BodyError>| {
                let answering = async move {
                    let _held = (place, counted);
                    let body = match received {
                        Ok(request) => request.into_body(),
                        Err(error) => return exchange.refuse(&no_body(error, bytes_max)),
                    };
                    let call = Call { body, ..call };
                    match tokio::time::timeout(DEADLINE, serve(call)).await {
                        Ok(Ok(reply)) => exchange.finish(reply.response()),
                        Ok(Err(problem)) => exchange.refuse(&problem),
                        Err(_) => exchange.refuse(&too_slow()),
                    }
                };
                answering.boxed() as sparkway_gateway::site::ResponseFuture
            });
            Answer::Receive(Receive {
                body_bytes: bytes_max,
                answer,
            })
        }))
    }

    fn begin_stream(&self, call: &Call) -> Result<Decided, Problem> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        let place = place.map_err(|_| events::crowded())?;
        let mut streamed = events::stream(call, place)?;
        Ok(Box::new(move |exchange| {
            // What every answer has, on one that has no body yet.
            let (parts, ()) = streamed.head.into_parts();
            let head = exchange.finish(Response::from_parts(parts, bytes::Bytes::new()));
            streamed.head = head.map(|_| ());
            Answer::Stream(streamed)
        }))
    }

    /// The route of a request, and what stands in its path for something.
    fn find(&self, head: &RequestHead<'_>) -> Result<(usize, Vec<String>), Problem> {
        let mut methods: Vec<&str> = Vec::new();
        let wanted = match *head.method() {
            Method::HEAD => &Method::GET,
            ref other => other,
        };
        for (at, route) in self.routes.iter().enumerate() {
            let Some(segments) = matched(route.path, head.path()) else {
                continue;
            };
            if route.method == *wanted {
                return Ok((at, segments));
            }
            methods.push(route.method.as_str());
        }
        if methods.is_empty() {
            return Err(no_path());
        }
        Err(Problem {
            allow: Some(methods.join(", ")),
            ..Problem::new(Code::MethodNotAllowed, "the path does not have this method")
        })
    }
}

/// Counts down when a request is over, however it ends.
struct Counted(sparkway_metrics::Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Exchange {
    fn refuse(&self, problem: &Problem) -> Response {
        self.finish(problem.response(&self.request_id))
    }

    /// Adds what every answer has, and counts it.
    fn finish(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert("x-request-id", id);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(desk) = self.state.desk.get() {
            let metrics = &desk.metrics().http;
            let status = HttpStatus::of(response.status().as_u16());
            metrics.requests.at((self.label, status)).inc();
            let seconds = self.began.elapsed().as_secs_f64();
            metrics.request_duration.at(self.label).observe(seconds);
        }
        response
    }
}

/// The client's name for its request, or one of ours.
fn request_id(head: &RequestHead<'_>) -> String {
    head.header("x-request-id")
        .filter(|id| (1..=REQUEST_ID_BYTES).contains(&id.len()))
        .map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned)
}

/// A browser must not be made to speak for somebody else: pages of other origins are refused, and
/// where no key is needed, so is every name of this machine but its own.
fn is_of_this_place(head: &RequestHead<'_>, is_open: bool) -> Result<(), Problem> {
    let host = head.host().unwrap_or_default();
    let own = |origin: &str| {
        let name = origin.split_once("://").map(|(_, name)| name);
        name.is_some_and(|name| name.eq_ignore_ascii_case(host))
    };
    if head.origin().is_some_and(|origin| !own(origin)) {
        let detail = "not for pages of other origins";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    if is_open && head.host().is_some_and(|host| !is_local(host)) {
        let detail = "without API keys only under localhost, 127.0.0.1 or [::1]";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    Ok(())
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The parts of a path that a pattern leaves open, decoded.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            found.push(decode_segment(segment).into_owned());
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(found)
}

/// The query, if the route knows all that stands there. A key is not even looked at.
fn query(head: &RequestHead<'_>, route: &Route) -> Result<Vec<(String, String)>, Problem> {
    let mut found = Vec::new();
    for (name, value) in head.query_pairs() {
        let Some(known) = route.query.iter().find(|known| known.name == name) else {
            return Err(Problem::invalid(
                "the query has a name that this path does not know; keys go into the header Authorization",
            ));
        };
        let is_again = found.iter().any(|(known, _)| *known == name);
        if is_again && !known.many {
            return Err(Problem::invalid(format!("{name}: stands there twice")));
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    Ok(found)
}

fn is_short_enough(head: &RequestHead<'_>, bytes_max: usize) -> Result<(), Problem> {
    let told = head.header("content-length");
    let told = told.and_then(|told| told.parse::<usize>().ok());
    match told {
        Some(told) if told > bytes_max => Err(too_long(bytes_max)),
        _ => Ok(()),
    }
}

/// Who did what: reads are not written down.
fn note(caller: &Caller, route: &Route, exchange: &Exchange) {
    if matches!(
        route.scope,
        sparkway_gateway::settings::Scope::Manage | sparkway_gateway::settings::Scope::Admin
    ) {
        tracing::info!(
            key = &*caller.key,
            operation = route.id,
            request = exchange.request_id,
            "api"
        );
    }
}

fn too_long(bytes_max: usize) -> Problem {
    let detail = match bytes_max {
        0 => "this operation takes no body".to_owned(),
        most => format!("the body is longer than {most} bytes"),
    };
    Problem::new(Code::TooLarge, detail)
}

fn no_body(error: BodyError, bytes_max: usize) -> Problem {
    match error {
        BodyError::TooLarge => too_long(bytes_max),
        BodyError::TooLate => Problem::new(Code::Timeout, "the body did not come in time"),
        BodyError::Broken => Problem::new(Code::Malformed, "the body broke off"),
    }
}

fn no_key() -> Problem {
    Problem::new(
        Code::Unauthorized,
        "no valid API key: send Authorization: Bearer swk_<id>_<secret>",
    )
}

fn no_path() -> Problem {
    Problem::not_found("no such path")
}

fn starting() -> Problem {
    Problem::new(Code::Unavailable, "the node is starting")
}

fn busy() -> Problem {
    Problem::new(Code::Unavailable, "too many requests at once on this node")
}

fn too_slow() -> Problem {
    Problem::new(
        Code::Timeout,
        "not done in time; it may still happen, and the same request is safe to repeat with an Idempotency-Key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_segments_are_decoded_and_never_empty() {
        assert_eq!(
            matched("/v1/topics/{topic}", "/v1/topics/a%2Fb"),
            Some(vec!["a/b".to_owned()])
        );
        assert_eq!(matched("/v1/topics/{topic}", "/v1/topics/"), None);
        assert_eq!(matched("/v1/topics/{topic}", "/v1/topics/a/b"), None);
        assert_eq!(matched("/v1/topics", "/v1/topics"), Some(Vec::new()));
        assert_eq!(matched("/v1/topics", "/v1/topics/"), None);
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:9000",
            "127.0.0.1:9000",
            "[::1]:9000",
            "127.1.2.3",
        ] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "evil.example:9000",
            "localhost.evil.example",
            "10.0.0.1",
            "",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }
}
