//! TLS ended by the acceptor.

use std::path::PathBuf;

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{TlsError, TlsFiles, TlsVersion};

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

fn files(certificate: PathBuf, key: PathBuf) -> TlsFiles {
    TlsFiles {
        certificate,
        key,
        oldest: TlsVersion::Tls12,
    }
}

fn load(name: &str) -> Tls {
    let (certificate, key) = (
        pem(&format!("{name}.cert.pem")),
        pem(&format!("{name}.key.pem")),
    );
    Tls::load(files(certificate, key)).unwrap()
}

/// A client that trusts only the certificate called `name`.
async fn connect(server: &Server, name: &str) -> io::Result<TlsStream<TcpStream>> {
    connect_with(server, name, rustls::ALL_VERSIONS).await
}

async fn connect_with(
    server: &Server,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(pem(&format!("{name}.cert.pem"))).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
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

/// Two files that are replaced as an operator would.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sparkway-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, from: &str, name: &str) {
        std::fs::copy(pem(from), self.0.join(name)).unwrap();
    }

    fn files(&self) -> TlsFiles {
        files(self.0.join("cert"), self.0.join("key"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn replaced_files_serve_new_connections_and_bad_ones_keep_the_former() {
    let folder = Folder::new("replaced");
    folder.put("first.cert.pem", "cert");
    folder.put("first.key.pem", "key");
    let tls = Arc::new(Tls::load(folder.files()).unwrap());
    let server = Server::with(
        AcceptSettings::default(),
        Node::default(),
        Some(Arc::clone(&tls)),
    );
    let mut old = connect(&server, "first").await.unwrap();
    old.write_all(upgrade("").as_bytes()).await.unwrap();
    assert_eq!(status(&read_head(&mut old).await), 101);
    assert!(!tls.refresh().unwrap(), "nothing changed");
    // The pair is replaced file by file: in between it does not fit, and the former one stays.
    folder.put("second.cert.pem", "cert");
    let mixed = tls.refresh();
    assert!(matches!(mixed, Err(TlsError::Unusable(_))), "{mixed:?}");
    assert!(!tls.refresh().unwrap(), "reported once");
    connect(&server, "first").await.unwrap();
    folder.put("second.key.pem", "key");
    assert!(tls.refresh().unwrap());
    assert!(connect(&server, "first").await.is_err());
    connect(&server, "second").await.unwrap();
    old.write_all(&text_frame("kept")).await.unwrap();
    expect_text(&mut old, "kept").await;
    folder.put("first.key.pem", "cert");
    let swapped = tls.refresh();
    assert!(
        matches!(swapped, Err(TlsError::NoCertificate { .. })),
        "{swapped:?}"
    );
    std::fs::remove_file(folder.0.join("cert")).unwrap();
    let missing = tls.refresh().unwrap_err().to_string();
    assert!(missing.starts_with("certificate file /"), "{missing}");
    connect(&server, "second").await.unwrap();
}

#[tokio::test]
async fn client_that_only_speaks_an_older_version_is_refused() {
    let with = |oldest| {
        let files = TlsFiles {
            oldest,
            ..files(pem("first.cert.pem"), pem("first.key.pem"))
        };
        let tls = Some(Arc::new(Tls::load(files).unwrap()));
        Server::with(AcceptSettings::default(), Node::default(), tls)
    };
    let old = &[&rustls::version::TLS12];
    let both = rustls::ALL_VERSIONS;
    let lenient = with(TlsVersion::Tls12);
    connect_with(&lenient, "first", old).await.unwrap();
    connect_with(&lenient, "first", both).await.unwrap();
    let strict = with(TlsVersion::Tls13);
    assert!(connect_with(&strict, "first", old).await.is_err());
    connect_with(&strict, "first", both).await.unwrap();
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart_from_what_is_late() {
    let server = Server::with(
        AcceptSettings::default(),
        Node::default(),
        Some(Arc::new(load("first"))),
    );
    let mut tcp = server.connect().await;
    tcp.write_all(upgrade("").as_bytes()).await.unwrap();
    read_all(&mut tcp).await;
    server
        .seen(|events| events.contains(&AcceptEvent::TlsFailed))
        .await;
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
        .seen(|events| events.contains(&AcceptEvent::TooLate))
        .await;
}
