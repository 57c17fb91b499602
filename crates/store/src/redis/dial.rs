//! Makes byte streams to servers: TCP, or TLS over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::settings::RedisSettings;
use super::url::{Address, Password};
use crate::StoreError;

/// A byte stream in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How connections are made: the same way to every server.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    connect_deadline: Duration,
    pub(super) username: Option<Box<str>>,
    pub(super) password: Option<Password>,
    pub(super) database: u32,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .field("connect_deadline", &self.connect_deadline)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Reads the certificates, if TLS is wanted.
    ///
    /// # Errors
    /// [`StoreError::Layout`] names what is wrong with the certificates: do not start.
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, StoreError> {
        let url = &settings.url;
        let tls = if url.tls {
            Some(connector(settings.ca_file.as_deref())?)
        } else {
            None
        };
        Ok(Self {
            tls,
            connect_deadline: settings.connect_deadline,
            username: url.username.clone(),
            password: url.password.clone(),
            database: url.database,
        })
    }

    /// How long a connection and its first commands may take.
    pub(super) const fn connect_deadline(&self) -> Duration {
        self.connect_deadline
    }

    /// Connects.
    pub(super) async fn dial(&self, address: &Address) -> Result<Box<dyn Duplex>, StoreError> {
        timeout(self.connect_deadline, self.connect(address))
            .await
            .unwrap_or(Err(StoreError::Unavailable("no connection in time")))
    }

    async fn connect(&self, address: &Address) -> Result<Box<dyn Duplex>, StoreError> {
        let refused = |_| StoreError::Unavailable("connection refused");
        let stream = TcpStream::connect((&*address.host, address.port))
            .await
            .map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(address.host.to_string())
            .map_err(|_| StoreError::Unavailable("host is no name that TLS could check"))?;
        let stream = tls.connect(name, stream).await.map_err(|error| {
            tracing::warn!(%address, %error, "TLS handshake with the store failed");
            StoreError::Unavailable("TLS handshake failed")
        })?;
        Ok(Box::new(stream))
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, StoreError> {
    let roots = match ca_file {
        Some(path) => roots_of_file(path)?,
        None => roots_of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Layout(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, StoreError> {
    let refused = |why: String| StoreError::Layout(format!("CA file {}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("holds no certificate".to_owned()));
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = "this system trusts no certificate authority: configure a CA file";
        return Err(StoreError::Layout(why.to_owned()));
    }
    Ok(roots)
}
