//! What a request says before its body.

use std::{borrow::Cow, net::SocketAddr};

use http::{HeaderMap, Method, Request, Uri, header};

use crate::{Deflate, query};

/// The head of one HTTP request.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    peer: SocketAddr,
    secure: bool,
}

impl<'a> RequestHead<'a> {
    pub(crate) fn new<B>(request: &'a Request<B>, peer: SocketAddr, secure: bool) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            peer,
            secure,
        }
    }

    /// The method.
    pub const fn method(&self) -> &'a Method {
        self.method
    }

    /// The path as sent, escapes included; [`decode_segment`](crate::decode_segment) decodes a
    /// part of it. Never log it together with the query.
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }

    /// The query as sent; it may hold a token.
    pub fn query(&self) -> Option<&'a str> {
        self.uri.query()
    }

    /// The query's pairs, decoded, in order.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        query::pairs(self.uri.query().unwrap_or_default())
    }

    /// The first value of `name` in the query.
    pub fn query_value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_pairs()
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// All headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The first header called `name` (lower case), when it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every subprotocol the client offers, in its order, from all headers.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        tokens(self.headers, header::SEC_WEBSOCKET_PROTOCOL)
    }

    /// The origin a browser sends. A header that is not visible ASCII counts as `""`, which no
    /// rule allows, so that it is not taken for an absent one.
    pub fn origin(&self) -> Option<&'a str> {
        let origin = self.headers.get(header::ORIGIN)?;
        Some(origin.to_str().unwrap_or_default())
    }

    /// The host and port the client believes to talk to.
    pub fn host(&self) -> Option<&'a str> {
        self.header("host")
    }

    /// The address of the TCP peer: a proxy's when there is one.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether this process ended TLS for the connection.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Deflate without context, when the client offers it in a form that can be met.
    #[must_use]
    pub fn offered_deflate(&self) -> Option<Deflate> {
        Deflate::offered(self.headers)
    }

    /// Whether the client asks for a WebSocket.
    pub fn wants_upgrade(&self) -> bool {
        tokens(self.headers, header::UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"))
    }

    pub(crate) const fn uri(&self) -> &'a Uri {
        self.uri
    }
}

/// The comma-separated parts of all headers called `name`.
fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}
