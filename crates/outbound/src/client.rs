//! The client: a pool of connections behind a bound.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use crate::error::{OutboundError, ResolveError, SetupError, innermost, is_refused};
use crate::guard::Guard;
use crate::settings::OutboundSettings;
use crate::target::Target;

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub target: &'a Target,
    /// Headers besides `host`, `content-length` and `user-agent`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; may be empty.
    pub body: Bytes,
}

/// The answer of a backend, whatever its status. A redirect is an answer as well.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, at most as long as the settings allow.
    pub body: Bytes,
}

/// A client with its pool. Cheap to clone; clones share the pool and the bounds.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    places: Arc<Semaphore>,
    guard: Arc<Guard>,
    response_bytes: usize,
}

impl Client {
    /// A client with bounds of its own. Reads the authorities from files: call it before the
    /// runtime starts or from a blocking thread.
    ///
    /// # Errors
    /// [`SetupError`]: report it at start.
    pub fn new(settings: &OutboundSettings) -> Result<Self, SetupError> {
        let guard = Arc::new(Guard::new(settings.allow.clone()));
        let mut tcp = HttpConnector::new_with_resolver(Resolver(Arc::clone(&guard)));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.idle_connections)
            .http1_max_headers(64)
            .build(https);
        Ok(Self {
            inner,
            places: Arc::new(Semaphore::new(settings.requests)),
            guard,
            response_bytes: settings.response_bytes,
        })
    }

    /// Sends a request and reads the whole answer, both before `deadline` has passed.
    ///
    /// # Errors
    /// [`OutboundError`]; [`OutboundError::was_not_sent`] says whether the backend can have
    /// acted.
    ///
    /// # Cancel safety
    /// Dropped, the request may have been sent; its connection is closed.
    pub async fn send(&self, call: Call<'_>, deadline: Duration) -> Result<Answer, OutboundError> {
        if call.target.check(&self.guard).is_err() {
            return Err(OutboundError::Refused);
        }
        let end = Instant::now() + deadline;
        let Ok(Ok(_place)) = timeout_at(end, self.places.acquire()).await else {
            return Err(OutboundError::Busy);
        };
        let request = request(call)?;
        timeout_at(end, self.exchange(request))
            .await
            .unwrap_or(Err(OutboundError::Timeout(deadline)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, OutboundError> {
        let response = self.inner.request(request).await.map_err(|error| {
            if is_refused(&error) {
                OutboundError::Refused
            } else if error.is_connect() {
                OutboundError::Connect(innermost(&error))
            } else {
                OutboundError::Broken(innermost(&error))
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.response_bytes).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                OutboundError::TooLong(self.response_bytes)
            } else {
                OutboundError::Broken(innermost(&*error))
            }
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

fn request(call: Call<'_>) -> Result<Request<Full<Bytes>>, OutboundError> {
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.target.uri().clone())
        .header(
            "user-agent",
            concat!("sparkway/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(call.body))
        .map_err(|error| OutboundError::Connect(error.to_string()))?;
    request.headers_mut().extend(call.headers);
    Ok(request)
}

fn tls(settings: &OutboundSettings) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore::empty();
    match &settings.ca_file {
        // A machine without authorities can still ask backends without TLS.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(SetupError::Authorities)?;
            let (usable, _) = roots.add_parsable_certificates(certificates);
            if usable == 0 {
                return Err(SetupError::NoAuthority);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Resolves names and leaves out what the guard refuses: what is connected to is what was judged.
#[derive(Clone, Debug)]
struct Resolver(Arc<Guard>);

type Resolving = Pin<Box<dyn Future<Output = Result<Addresses, ResolveError>> + Send>>;
type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for Resolver {
    type Response = Addresses;
    type Error = ResolveError;
    type Future = Resolving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let is_local = name.as_str().eq_ignore_ascii_case("localhost");
            let is_allowed = |address: &SocketAddr| {
                guard.allows(address.ip()) || is_local && guard.allows_localhost(address.ip())
            };
            let allowed: Vec<SocketAddr> = all.filter(is_allowed).collect();
            if allowed.is_empty() {
                return Err(ResolveError::Refused);
            }
            Ok(allowed.into_iter())
        })
    }
}
