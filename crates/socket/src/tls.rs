//! TLS ended by this process, with certificates that can be replaced while it runs.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

/// The oldest version of TLS that a client may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2, for clients that are old.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// The oldest version to be spoken. Default TLS 1.2.
    pub oldest: TlsVersion,
}

/// The current certificate of a listener. New connections use the newest one loaded; running ones
/// keep theirs.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// Digest of what was read last, also when it could not be used.
    seen: AtomicU64,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain cannot be read.
    #[error("certificate file {}: {source}", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The private key cannot be read, or is none.
    #[error("private key file {}: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("certificate file {}: no certificate inside", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The process ends while the files are read.
    #[error("certificate: interrupted")]
    Interrupted,
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
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let pair = Pair::read(&files)?;
        let config = pair.config(&files)?;
        Ok(Self {
            config: ArcSwap::from_pointee(config),
            seen: AtomicU64::new(pair.digest()),
            files,
        })
    }

    /// Reads the files again. When they have changed, connections accepted from now on get the
    /// new certificate. Answers whether it did. Reads files, as [`Self::load`].
    ///
    /// # Errors
    /// [`TlsError`] names the file; the former certificate stays in use. Report it and go on. Files
    /// that cannot be used are reported once; those that cannot be read, each time.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let pair = Pair::read(&self.files)?;
        let digest = pair.digest();
        if self.seen.swap(digest, Ordering::Relaxed) == digest {
            return Ok(false);
        }
        self.config.store(Arc::new(pair.config(&self.files)?));
        Ok(true)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

/// What the two files hold.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: fs::read(&files.certificate).map_err(|error| TlsError::Certificate {
                path: files.certificate.clone(),
                source: pem::Error::Io(error),
            })?,
            key: fs::read(&files.key).map_err(|error| TlsError::Key {
                path: files.key.clone(),
                source: pem::Error::Io(error),
            })?,
        })
    }

    /// Tells one pair from the next; it is never shown or stored.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.certificate.hash(&mut hasher);
        self.key.hash(&mut hasher);
        hasher.finish()
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|source| TlsError::Certificate {
                path: files.certificate.clone(),
                source,
            })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate {
                path: files.certificate.clone(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Key {
            path: files.key.clone(),
            source,
        })?;
        let versions: &[&SupportedProtocolVersion] = match files.oldest {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
