//! TLS ended by this process, with certificates that can be replaced while it runs.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// The current certificate of a listener. New connections use the newest one loaded; running ones
/// keep theirs.
#[derive(Debug)]
pub struct Tls {
    config: ArcSwap<ServerConfig>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain is missing, unreadable or no PEM.
    #[error("certificate file: {0}")]
    Certificate(#[source] pem::Error),
    /// The private key is missing, unreadable or no PEM.
    #[error("private key file: {0}")]
    Key(#[source] pem::Error),
    /// The file holds no certificate.
    #[error("certificate file: no certificate inside")]
    NoCertificate,
    /// Key and certificate do not fit, or are of an unsupported kind.
    #[error("certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Loads a PEM certificate chain and its private key. Reads files; call it before the
    /// runtime starts or from a blocking thread.
    ///
    /// # Errors
    /// [`TlsError`] names the file: at start, report it and end the process.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            config: ArcSwap::from_pointee(read(certificate, key)?),
        })
    }

    /// Replaces the certificate for connections accepted from now on. Reads files, as
    /// [`Self::load`].
    ///
    /// # Errors
    /// [`TlsError`] names the file; the former certificate stays in use. Report it and go on.
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        self.config.store(Arc::new(read(certificate, key)?));
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
