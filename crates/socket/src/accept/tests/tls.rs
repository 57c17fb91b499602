//! TLS ended by the acceptor.

use std::path::PathBuf;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn load(name: &str) -> Tls {
    Tls::load(
        &pem(&format!("{name}.cert.pem")),
        &pem(&format!("{name}.key.pem")),
    )
    .unwrap()
}

/// A client that trusts only the certificate called `name`.
async fn connect(server: &Server, name: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(pem(&format!("{name}.cert.pem"))).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(
            ServerName::try_from("localhost").unwrap(),
            server.connect().await,
        )
        .await
}

#[tokio::test]
async fn upgrade_and_first_frames_work_over_tls() {
    let server = Server::with(
        AcceptSettings::default(),
        Node::default(),
        Some(Arc::new(load("first"))),
    );
    let mut tls = connect(&server, "first").await.unwrap();
    let bytes = [upgrade("").as_bytes(), &text_frame("early")].concat();
    tls.write_all(&bytes).await.unwrap();
    assert_eq!(status(&read_head(&mut tls).await), 101);
    expect_text(&mut tls, "early").await;
    // Several frames in one TLS record: none may wait for the next packet.
    let several = [text_frame("a"), text_frame("b"), text_frame("c")].concat();
    tls.write_all(&several).await.unwrap();
    for text in ["a", "b", "c"] {
        expect_text(&mut tls, text).await;
    }
    tls.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    let mut close = [0; 2];
    timeout(HANG, tls.read_exact(&mut close))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(close, [0x88, 0]);
    assert_eq!(
        timeout(HANG, tls.read(&mut close)).await.unwrap().unwrap(),
        0
    );
}

#[tokio::test]
async fn reloaded_certificate_serves_new_connections_only() {
    let tls = Arc::new(load("first"));
    let server = Server::with(
        AcceptSettings::default(),
        Node::default(),
        Some(Arc::clone(&tls)),
    );
    let mut old = connect(&server, "first").await.unwrap();
    old.write_all(upgrade("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_head(&mut old).await), 101);
    tls.reload(&pem("second.cert.pem"), &pem("second.key.pem"))
        .unwrap();
    assert!(connect(&server, "first").await.is_err());
    connect(&server, "second").await.unwrap();
    old.write_all(&text_frame("kept")).await.unwrap();
    expect_text(&mut old, "kept").await;
    // A broken pair is refused and the former one stays.
    let mixed = tls.reload(&pem("first.cert.pem"), &pem("second.key.pem"));
    assert!(
        matches!(mixed, Err(crate::TlsError::Unusable(_))),
        "{mixed:?}"
    );
    let missing = tls.reload(&pem("none.pem"), &pem("first.key.pem"));
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .starts_with("certificate file")
    );
    let swapped = tls.reload(&pem("first.key.pem"), &pem("first.key.pem"));
    assert!(
        matches!(swapped, Err(crate::TlsError::NoCertificate)),
        "{swapped:?}"
    );
    connect(&server, "second").await.unwrap();
}

#[tokio::test]
async fn tls_handshake_that_stalls_is_closed_at_the_deadline() {
    let settings = AcceptSettings {
        handshake_deadline: Duration::from_millis(50),
        ..AcceptSettings::default()
    };
    let server = Server::with(settings, Node::default(), Some(Arc::new(load("first"))));
    let mut tcp = server.connect().await;
    tcp.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        .await
        .unwrap();
    assert_eq!(read_all(&mut tcp).await, "");
    server
        .seen(|events| events.contains(&AcceptEvent::TlsFailed))
        .await;
}
