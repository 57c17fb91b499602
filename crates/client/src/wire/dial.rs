//! Opening a WebSocket: address, TCP, TLS, upgrade.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError, error::SubProtocolError};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::Encoding;
use crate::error::OpenError;

/// Whose certificates count on `wss://`.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those that this machine trusts.
    #[default]
    System,
    /// Only the authorities of this PEM text.
    Pem(Arc<[u8]>),
}

/// Where a credential travels during the handshake. In `ws:connect` is the usual place instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// `Authorization: Bearer …`.
    Header,
    /// `?token=…`.
    Query,
    /// A second offered subprotocol `bearer.…`.
    Subprotocol,
    /// A cookie of this name.
    Cookie(&'static str),
}

/// How a WebSocket is opened.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Encoding asked for by subprotocol.
    pub encoding: Encoding,
    /// Subprotocols offered, in order; `None` offers the one of `encoding` (none at all for JSON,
    /// which is the default of the protocol, unless a token rides along).
    pub subprotocols: Option<Vec<String>>,
    /// More headers (`Origin`, say).
    pub headers: HeaderMap,
    /// A credential for the handshake and its place.
    pub token: Option<(TokenPlace, String)>,
    /// Whose certificates count.
    pub trust: Trust,
    /// Deadline of the whole opening. Default 5 s.
    pub open_within: Duration,
    /// Read buffer of the socket in bytes. Default 4096: thousands of clients fit in one process.
    pub read_buffer_bytes: usize,
    /// Longest message accepted from the gateway in bytes. Default 4 MiB.
    pub message_bytes_max: usize,
    pub(crate) tls: TlsCell,
}

impl Default for Dial {
    fn default() -> Self {
        Self {
            encoding: Encoding::Json,
            subprotocols: None,
            headers: HeaderMap::new(),
            token: None,
            trust: Trust::System,
            open_within: Duration::from_secs(5),
            read_buffer_bytes: 4096,
            message_bytes_max: 4 << 20,
            tls: TlsCell::default(),
        }
    }
}

/// The TLS settings, built at the first `wss://` and shared by all clones.
#[derive(Clone, Default)]
pub(crate) struct TlsCell(Arc<OnceLock<TlsConnector>>);

impl fmt::Debug for TlsCell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TlsCell")
    }
}

/// The bytes under a WebSocket.
#[derive(Debug)]
pub(crate) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    /// The TCP connection itself.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Where a URL leads.
struct Address {
    host: String,
    port: u16,
    secure: bool,
    uri: Uri,
}

impl Address {
    fn parse(url: &str, token: Option<&(TokenPlace, String)>) -> Result<Self, OpenError> {
        let bad = |why: &str| OpenError::Url(format!("{why}: {url}").into());
        let full = match token {
            Some((TokenPlace::Query, token)) => {
                let sign = if url.contains('?') { '&' } else { '?' };
                format!("{url}{sign}token={token}")
            }
            _ => url.to_owned(),
        };
        let uri: Uri = full.parse().map_err(|_| bad("cannot be parsed"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad("must begin with ws:// or wss://")),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| bad("names no host"))?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            secure,
            uri,
        })
    }
}

impl Dial {
    /// Opens a WebSocket and returns it with the chosen subprotocol.
    pub(crate) async fn open(
        &self,
        url: &str,
    ) -> Result<(WebSocketStream<Line>, Option<String>), OpenError> {
        tokio::time::timeout(self.open_within, self.open_unbounded(url))
            .await
            .map_err(|_| OpenError::TimedOut(self.open_within))?
    }

    async fn open_unbounded(
        &self,
        url: &str,
    ) -> Result<(WebSocketStream<Line>, Option<String>), OpenError> {
        let address = Address::parse(url, self.token.as_ref())?;
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
        tcp.set_nodelay(true)?;
        let line = if address.secure {
            Line::Tls(Box::new(self.secure(&address.host, tcp).await?))
        } else {
            Line::Plain(tcp)
        };
        let request = self.request(&address)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(0)
            .max_message_size(Some(self.message_bytes_max))
            .max_frame_size(Some(self.message_bytes_max));
        let (stream, response) = Box::pin(client_async_with_config(request, line, Some(config)))
            .await
            .map_err(refusal)?;
        let chosen = response
            .headers()
            .get(http::header::SEC_WEBSOCKET_PROTOCOL)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok((stream, chosen))
    }

    async fn secure(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, OpenError> {
        let connector = if let Some(connector) = self.tls.0.get() {
            connector.clone()
        } else {
            let built = connector(&self.trust)?;
            self.tls.0.get_or_init(|| built).clone()
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| OpenError::Tls(format!("{host} is no server name").into()))?;
        connector
            .connect(name, tcp)
            .await
            .map_err(|error| OpenError::Tls(error.to_string().into()))
    }

    fn request(&self, address: &Address) -> Result<Request<()>, OpenError> {
        let host = address
            .uri
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let mut request = Request::builder()
            .uri(&address.uri)
            .header("Host", host)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .body(())
            .map_err(|error| OpenError::Url(error.to_string().into()))?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        let offered = self.offered();
        if !offered.is_empty() {
            set(
                headers,
                http::header::SEC_WEBSOCKET_PROTOCOL,
                &offered.join(", "),
            )?;
        }
        match &self.token {
            Some((TokenPlace::Header, token)) => {
                set(
                    headers,
                    http::header::AUTHORIZATION,
                    &format!("Bearer {token}"),
                )?;
            }
            Some((TokenPlace::Cookie(name), token)) => {
                set(headers, http::header::COOKIE, &format!("{name}={token}"))?;
            }
            Some((TokenPlace::Query | TokenPlace::Subprotocol, _)) | None => {}
        }
        Ok(request)
    }

    fn offered(&self) -> Vec<String> {
        let bearer = match &self.token {
            Some((TokenPlace::Subprotocol, token)) => Some(format!("bearer.{token}")),
            _ => None,
        };
        let mut offered = match (&self.subprotocols, self.encoding) {
            (Some(list), _) => list.clone(),
            (None, Encoding::Json) if bearer.is_none() => Vec::new(),
            (None, encoding) => vec![encoding.subprotocol().to_owned()],
        };
        offered.extend(bearer);
        offered
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), OpenError> {
    let value = HeaderValue::from_str(value).map_err(|_| {
        OpenError::Url(format!("{name} would hold characters that no header may").into())
    })?;
    headers.insert(name, value);
    Ok(())
}

fn connector(trust: &Trust) -> Result<TlsConnector, OpenError> {
    let tls = |error: &dyn fmt::Display| OpenError::Tls(error.to_string().into());
    let mut roots = rustls::RootCertStore::empty();
    match trust {
        Trust::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Trust::Pem(text) => {
            for certificate in CertificateDer::pem_slice_iter(text) {
                let certificate = certificate.map_err(|error| tls(&error))?;
                roots.add(certificate).map_err(|error| tls(&error))?;
            }
        }
    }
    if roots.is_empty() {
        return Err(OpenError::Tls("no trusted authority found".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn refusal(error: tungstenite::Error) -> OpenError {
    match error {
        tungstenite::Error::Http(response) => OpenError::Http {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(http::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs),
            body: response
                .body()
                .as_deref()
                .map(|body| {
                    String::from_utf8_lossy(body)
                        .chars()
                        .take(512)
                        .collect::<String>()
                })
                .unwrap_or_default()
                .into(),
        },
        tungstenite::Error::Io(error) => OpenError::Io(error),
        tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::NoSubProtocol,
        )) => OpenError::Handshake("the node chose none of the offered subprotocols".into()),
        other => OpenError::Handshake(other.to_string().into()),
    }
}
