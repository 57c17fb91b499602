//! The page at `/demo` of `sparkway dev`: everything embedded, nothing fetched from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use sparkway_gateway::site::{Answer, RequestHead, Response, Site, text_response};
use tokio::sync::mpsc;

/// Path, media type and bytes of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    (
        "",
        "text/html; charset=utf-8",
        include_bytes!("assets/index.html"),
    ),
    (
        "demo.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/demo.css"),
    ),
    ("demo.js", SCRIPT, include_bytes!("assets/demo.js")),
    ("dialects.js", SCRIPT, include_bytes!("assets/dialects.js")),
    ("ledger.js", SCRIPT, include_bytes!("assets/ledger.js")),
    ("player.js", SCRIPT, include_bytes!("assets/player.js")),
    ("sparkway.js", SCRIPT, include_bytes!("assets/sparkway.js")),
    ("timeline.js", SCRIPT, include_bytes!("assets/timeline.js")),
    ("wire.js", SCRIPT, include_bytes!("assets/wire.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Kills that may wait to be carried out; more are refused.
const KILLS: usize = 4;

/// What the page knows of one node.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its public port.
    pub(crate) port: u16,
    /// Whether it runs.
    pub(crate) alive: AtomicBool,
}

/// The page, the same on every node of the process.
#[derive(Debug)]
pub(crate) struct Demo {
    places: Vec<Place>,
    kills: mpsc::Sender<usize>,
}

impl Demo {
    /// The page for nodes at these ports, and where it says which of them (from 0) to kill.
    pub(crate) fn new(ports: impl Iterator<Item = u16>) -> (Arc<Self>, mpsc::Receiver<usize>) {
        let (kills, killed) = mpsc::channel(KILLS);
        let places = ports
            .map(|port| Place {
                port,
                alive: AtomicBool::new(true),
            })
            .collect();
        (Arc::new(Self { places, kills }), killed)
    }

    /// Notes whether a node runs.
    pub(crate) fn note(&self, at: usize, alive: bool) {
        if let Some(place) = self.places.get(at) {
            place.alive.store(alive, Ordering::Relaxed);
        }
    }

    /// The nodes as the page reads them, under the host name by which it was asked.
    fn nodes(&self, host: &str) -> Response {
        let nodes: Vec<_> = self
            .places
            .iter()
            .map(|place| {
                serde_json::json!({
                    "url": format!("ws://{host}:{}/ws", place.port),
                    "alive": place.alive.load(Ordering::Relaxed),
                })
            })
            .collect();
        with_type(
            serde_json::json!(nodes).to_string().into_bytes(),
            "application/json",
        )
    }

    fn kill(&self, place: &str) -> Response {
        let at = place
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1))
            .filter(|at| *at < self.places.len());
        let Some(at) = at else {
            return text_response(StatusCode::NOT_FOUND, "no such node\n");
        };
        match self.kills.try_send(at) {
            Ok(()) => text_response(StatusCode::ACCEPTED, "killed\n"),
            Err(_) => text_response(StatusCode::TOO_MANY_REQUESTS, "too many kills at once\n"),
        }
    }

    /// Whether a page of this origin may ask: only one that was served by a node of this process.
    fn is_own(&self, origin: &str) -> bool {
        let Some((host, port)) = origin
            .strip_prefix("http://")
            .and_then(|rest| rest.rsplit_once(':'))
        else {
            return false;
        };
        is_local(host)
            && self
                .places
                .iter()
                .any(|place| place.port.to_string() == port)
    }

    /// What the page may reach: itself and the nodes, under both names of this machine.
    fn policy(&self) -> String {
        let mut reach = String::new();
        for place in &self.places {
            for host in ["127.0.0.1", "localhost"] {
                for scheme in ["ws", "http"] {
                    reach.extend([" ", scheme, "://", host, ":", &place.port.to_string()]);
                }
            }
        }
        format!(
            "default-src 'self'; connect-src 'self'{reach}; img-src 'self' data:; frame-ancestors 'none'"
        )
    }

    fn file(&self, name: &str) -> Option<Response> {
        let (_, kind, bytes) = FILES.iter().find(|(path, ..)| *path == name)?;
        let mut response = with_type(bytes.to_vec(), kind);
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&self.policy()) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        Some(response)
    }
}

impl Site for Demo {
    fn answer(&self, head: &RequestHead<'_>) -> Option<Answer> {
        let path = match head.path() {
            "/" | "/demo" => return Some(Answer::Now(redirect())),
            path => path.strip_prefix("/demo/")?,
        };
        let host = head.host().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        // Another name that leads here is a trick to make a browser talk to this machine.
        if !is_local(host) {
            let text = "the demo answers on this machine only\n";
            return Some(Answer::Now(text_response(StatusCode::FORBIDDEN, text)));
        }
        let origin = head.origin();
        if origin.is_some_and(|origin| !self.is_own(origin)) {
            let text = "not for pages of other origins\n";
            return Some(Answer::Now(text_response(StatusCode::FORBIDDEN, text)));
        }
        let mut response = match (head.method(), path) {
            (&Method::GET, "nodes") => self.nodes(host),
            (&Method::POST, path) => match path.strip_prefix("nodes/")?.strip_suffix("/kill") {
                Some(place) => self.kill(place),
                None => return None,
            },
            (&Method::GET | &Method::HEAD, name) => self.file(name)?,
            _ => text_response(StatusCode::METHOD_NOT_ALLOWED, "GET or POST\n"),
        };
        if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        Some(Answer::Now(response))
    }
}

fn is_local(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn redirect() -> Response {
    let mut response = text_response(StatusCode::FOUND, "see /demo/\n");
    let location = HeaderValue::from_static("/demo/");
    response.headers_mut().insert(LOCATION, location);
    response
}

fn with_type(bytes: Vec<u8>, kind: &'static str) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_process_may_kill() {
        let (demo, _kills) = Demo::new([8000, 8001].into_iter());
        assert!(demo.is_own("http://localhost:8000"));
        assert!(demo.is_own("http://127.0.0.1:8001"));
        assert!(!demo.is_own("http://127.0.0.1:9999"));
        assert!(!demo.is_own("http://evil.example:8000"));
        assert!(!demo.is_own("null"));
    }

    #[test]
    fn a_kill_names_a_node_that_exists_and_is_bounded() {
        let (demo, mut kills) = Demo::new([8000, 8001].into_iter());
        for unknown in ["0", "3", "x", ""] {
            assert_eq!(
                demo.kill(unknown).status(),
                StatusCode::NOT_FOUND,
                "{unknown}"
            );
        }
        for _ in 0..KILLS {
            assert_eq!(demo.kill("2").status(), StatusCode::ACCEPTED);
        }
        assert_eq!(demo.kill("2").status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(kills.try_recv(), Ok(1));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (name, _, bytes) in FILES {
            let text = String::from_utf8_lossy(bytes);
            for far in ["https://", "http://", "//cdn"] {
                let allowed = text.matches(far).count();
                assert_eq!(allowed, 0, "{name} names {far}");
            }
        }
    }
}
