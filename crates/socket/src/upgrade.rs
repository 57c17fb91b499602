//! Whether a request is a valid WebSocket upgrade (RFC 6455, 4.2), and its answers.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Version,
    header::{self, HeaderName},
};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::head::RequestHead;

/// An HTTP answer with its whole body.
pub type Response = http::Response<Bytes>;

/// A plain text answer.
#[must_use]
pub fn text_response(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// 503 for a client that should come back after `seconds`.
#[must_use]
pub fn retry_later(seconds: u32, text: &'static str) -> Response {
    let mut response = text_response(StatusCode::SERVICE_UNAVAILABLE, text);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// 426: the path speaks WebSocket only.
pub(crate) fn upgrade_required(text: &'static str) -> Response {
    let mut response = text_response(StatusCode::UPGRADE_REQUIRED, text);
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

/// What every request must satisfy, upgrade or not.
pub(crate) fn check_request(version: Version, head: &RequestHead<'_>) -> Result<(), Box<Response>> {
    if head.headers().contains_key(header::TRANSFER_ENCODING) && version != Version::HTTP_11 {
        return Err(bad("Transfer-Encoding needs HTTP/1.1"));
    }
    if count(head.headers(), header::HOST) > 1 {
        return Err(bad("duplicate Host header"));
    }
    // Absolute form: only this server's own name, for this is no proxy.
    let named = head.uri().authority().map(http::uri::Authority::as_str);
    if named.is_some_and(|named| {
        !head
            .host()
            .is_some_and(|host| host.eq_ignore_ascii_case(named))
    }) {
        return Err(Box::new(text_response(
            StatusCode::MISDIRECTED_REQUEST,
            "request names another host",
        )));
    }
    Ok(())
}

/// Checks an upgrade and answers the 101, still without a subprotocol.
pub(crate) fn check_upgrade<B>(
    request: &Request<B>,
    head: &RequestHead<'_>,
) -> Result<Response, Box<Response>> {
    let headers = head.headers();
    if *head.method() != Method::GET {
        let mut response = text_response(StatusCode::METHOD_NOT_ALLOWED, "upgrade with GET");
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET"));
        return Err(Box::new(response));
    }
    if request.version() != Version::HTTP_11 || count(headers, header::HOST) != 1 {
        return Err(bad("upgrade needs HTTP/1.1 and one Host header"));
    }
    let single = [
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::ORIGIN,
    ];
    if single.into_iter().any(|name| count(headers, name) > 1) {
        return Err(bad("duplicate handshake header"));
    }
    // Bytes of a body would otherwise be parsed as frames.
    let empty = |length: &HeaderValue| length == "0";
    if headers.contains_key(header::TRANSFER_ENCODING)
        || !headers.get_all(header::CONTENT_LENGTH).iter().all(empty)
    {
        return Err(bad("upgrade with a body"));
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version.is_some_and(|version| version != "13") {
        let mut response = upgrade_required("unsupported WebSocket version");
        response.headers_mut().insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        return Err(Box::new(response));
    }
    create_response_with_body(request, Bytes::new)
        .map_err(|_| bad("Connection, Sec-WebSocket-Version or Sec-WebSocket-Key is wrong"))
}

pub(crate) fn bad(text: &'static str) -> Box<Response> {
    let mut response = text_response(StatusCode::BAD_REQUEST, text);
    // What follows on this connection cannot be trusted to be a request.
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    Box::new(response)
}

fn count(headers: &HeaderMap, name: HeaderName) -> usize {
    headers.get_all(name).iter().count()
}
