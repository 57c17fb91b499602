//! `rediss://`, with certificates made here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sparkway_store::StoreError;
use sparkway_store::redis::{RedisSettings, RedisStore};

use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{Reader, ids, message, publish, topic};
use crate::redis_support::server::{Server, free_port};

/// A directory with a certificate authority and a certificate for `localhost`.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let (ca, key) = (made.path("ca.pem"), made.path("ca.key"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test CA",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            text(&key),
            "-out",
            text(&ca),
        ]);
        let request = made.path("server.csr");
        openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            text(&made.path("server.key")),
            "-out",
            text(&request),
        ]);
        let names = made.path("names");
        std::fs::write(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            text(&request),
            "-CA",
            text(&ca),
            "-CAkey",
            text(&key),
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            text(&names),
            "-out",
            text(&made.path("server.pem")),
        ]);
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn openssl(words: &[&str]) {
    let made = Command::new("openssl").args(words).output();
    let made = made.expect("openssl is installed");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn secured(certificates: &Certificates, port: u16) -> Server {
    let port = port.to_string();
    Server::start(&[
        "--tls-port",
        &port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        text(&certificates.path("server.pem")),
        "--tls-key-file",
        text(&certificates.path("server.key")),
        "--tls-ca-cert-file",
        text(&certificates.path("ca.pem")),
    ])
}

fn over_tls(host: &str, port: u16, ca: Option<PathBuf>) -> RedisSettings {
    RedisSettings {
        ca_file: ca,
        command_deadline: Duration::from_secs(2),
        ..settings(&format!("rediss://{host}:{port}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_carries_commands_and_feeds_and_checks_the_server() {
    let (made, others) = (Certificates::make(), Certificates::make());
    let port = free_port();
    let server = secured(&made, port);
    for host in ["localhost", "127.0.0.1"] {
        let connected = RedisStore::connect(over_tls(host, port, Some(made.path("ca.pem")))).await;
        let store = Arc::new(connected.unwrap());
        let room = topic(host);
        let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
        let id = publish(&*store, message(&room, "x")).await;
        reader.reach(id).await;
        assert_eq!(ids(&reader.entries), [id]);
    }
    let foreign = RedisSettings {
        command_deadline: Duration::from_millis(500),
        ..over_tls("localhost", port, Some(others.path("ca.pem")))
    };
    let refused = RedisStore::connect(foreign).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_or_empty_ca_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [directory.path().join("missing.pem"), empty] {
        let refused = RedisStore::connect(over_tls("localhost", 1, Some(path.clone()))).await;
        match refused.unwrap_err() {
            StoreError::Layout(why) => assert!(why.contains(text(&path)), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
