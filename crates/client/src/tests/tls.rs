//! `wss://`, with a certificate made by `openssl` for the test.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{Dial, OpenError, Trust, Wire};

/// Makes a certificate for `localhost` that signs itself.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .output()
        .expect("openssl must be installed");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(folder.join("cert.pem"))
        .unwrap()
        .collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.unwrap(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn only_a_trusted_certificate_opens_a_secure_socket() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let acceptor = acceptor(folder.path());
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let url = format!(
        "wss://localhost:{}/ws",
        listener.local_addr().unwrap().port()
    );
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(tls) = acceptor.accept(tcp).await {
                let _peer = Box::pin(tokio_tungstenite::accept_async(tls)).await;
            }
        }
    });
    let trusting = Dial {
        trust: Trust::Pem(
            std::fs::read(folder.path().join("cert.pem"))
                .unwrap()
                .into(),
        ),
        ..Dial::default()
    };
    Wire::open(&url, &trusting).await.unwrap();
    let refused = Wire::open(&url, &Dial::default()).await;
    assert!(matches!(refused, Err(OpenError::Tls(_))), "{refused:?}");
    let none = Dial {
        trust: Trust::Pem(b"nothing".as_slice().into()),
        ..Dial::default()
    };
    assert!(matches!(
        Wire::open(&url, &none).await,
        Err(OpenError::Tls(_))
    ));
}
