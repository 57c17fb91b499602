//! The console at `/console` of the internal listener: static files that read `/v1`, nothing else.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, StatusCode};
use sparkway_gateway::site::{Answer, RequestHead, Response, Site, text_response};

/// Name, media type and bytes of each file.
const FILES: &[(&str, &str, &[u8])] = &[
    (
        "",
        "text/html; charset=utf-8",
        include_bytes!("assets/index.html"),
    ),
    (
        "console.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/console.css"),
    ),
    ("console.js", SCRIPT, include_bytes!("assets/console.js")),
    ("api.js", SCRIPT, include_bytes!("assets/api.js")),
    ("dom.js", SCRIPT, include_bytes!("assets/dom.js")),
    ("list.js", SCRIPT, include_bytes!("assets/list.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The page runs its own files and talks to its own node. Nothing else, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The console. It holds nothing: who has no key sees a form.
#[derive(Debug)]
pub(crate) struct Console;

impl Site for Console {
    fn answer(&self, head: &RequestHead<'_>) -> Option<Answer> {
        let name = match head.path() {
            "/console" => return Some(Answer::Now(redirect())),
            path => path.strip_prefix("/console/")?,
        };
        if !matches!(*head.method(), Method::GET | Method::HEAD) {
            let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "GET\n");
            let methods = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, methods);
            return Some(Answer::Now(response));
        }
        let (_, kind, bytes) = FILES.iter().find(|(path, ..)| *path == name)?;
        Some(Answer::Now(file(kind, bytes)))
    }
}

fn redirect() -> Response {
    let mut response = text_response(StatusCode::FOUND, "see /console/\n");
    let location = HeaderValue::from_static("/console/");
    response.headers_mut().insert(LOCATION, location);
    response
}

fn file(kind: &'static str, bytes: &'static [u8]) -> Response {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for (name, _, bytes) in FILES {
            let text = String::from_utf8_lossy(bytes);
            for far in ["https://", "http://", "//cdn", " style=", "onclick="] {
                assert!(!text.contains(far), "{name} has {far}");
            }
        }
    }
}
