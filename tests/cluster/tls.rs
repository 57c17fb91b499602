//! `wss` without a proxy: the gateway's own certificate, and its replacement while clients are
//! connected.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use sparkway_client::{Dial, Encoding, OpenError, Trust, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::http;
use crate::harness::node::Process;
use crate::harness::peer::{Peer, dial};
use crate::harness::{SOON, until};

/// Makes a certificate for `localhost` that signs itself; key and certificate as `name.*`.
fn make(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args([
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.crt"),
        ])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
}

/// A node with the certificate `one`, and another one at hand.
struct Secure {
    process: Process,
    folder: tempfile::TempDir,
}

impl Secure {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), "one");
        make(folder.path(), "two");
        let this = |name: &str| folder.path().join(name).display().to_string();
        let (cert, key) = (this("tls.crt"), this("tls.key"));
        for ending in ["crt", "key"] {
            std::fs::copy(
                this(&format!("one.{ending}")),
                this(&format!("tls.{ending}")),
            )
            .unwrap();
        }
        let own = [
            ("auth.mode", "off"),
            ("server.tls.cert", cert.as_str()),
            ("server.tls.key", key.as_str()),
        ];
        let process = Process::serve("secure", &[&own[..], settings].concat()).await;
        Self { process, folder }
    }

    fn put(&self, name: &str, ending: &str) {
        let from = self.folder.path().join(format!("{name}.{ending}"));
        std::fs::copy(from, self.folder.path().join(format!("tls.{ending}"))).unwrap();
    }

    fn url(&self) -> String {
        format!("wss://localhost:{}/ws", self.process.public[0])
    }

    /// A way to connect that trusts only the certificate `name`.
    fn trusting(&self, name: &str) -> Dial {
        let pem = std::fs::read(self.folder.path().join(format!("{name}.crt"))).unwrap();
        let mut dial = dial(Encoding::Json);
        dial.trust = Trust::Pem(pem.into());
        dial
    }

    async fn open(&self, name: &str) -> Result<Wire, OpenError> {
        Wire::open(&self.url(), &self.trusting(name)).await
    }

    async fn reloads(&self, result: &str) -> u64 {
        let line = format!("sparkway_tls_reloads_total{{result=\"{result}\"}} ");
        let text = http::body(self.process.internal[0], "/metrics").await;
        let value = text.lines().find_map(|text| text.strip_prefix(&line));
        value
            .expect("the series is there")
            .parse()
            .expect("a number")
    }
}

#[tokio::test]
async fn a_session_begins_and_resumes_over_tls() {
    let node = Secure::start(&[]).await;
    let mut peer = Peer::over(node.open("one").await.unwrap()).await;
    peer.subscribe(&["t"]).await;
    let id = peer
        .publish("t", json!({"large": "x".repeat(60_000)}))
        .await;
    assert_eq!(peer.message().await["id"], json!(id));
    let ticket = peer.cut();
    let wire = node.open("one").await.unwrap();
    let mut again = Peer::resume_over(wire, &ticket).await;
    let id = again.publish("t", json!(2)).await;
    again.saw(&id).await;
    let stranger = node.open("two").await;
    assert!(matches!(stranger, Err(OpenError::Tls(_))), "{stranger:?}");
}

#[tokio::test]
async fn a_replaced_certificate_serves_new_connections_and_a_bad_one_is_reported() {
    let node = Secure::start(&[]).await;
    let mut old = Peer::over(node.open("one").await.unwrap()).await;
    // Half of the pair: it does not fit, and the former pair stays.
    node.put("two", "crt");
    node.process.signal("HUP");
    until("the bad pair is counted", SOON, || async {
        (node.reloads("failed").await == 1).then_some(())
    })
    .await;
    node.open("one").await.unwrap();
    assert!(node.process.log().contains("certificate not replaced"));
    node.put("two", "key");
    node.process.signal("HUP");
    until("the good pair is counted", SOON, || async {
        (node.reloads("ok").await == 1).then_some(())
    })
    .await;
    node.open("two").await.unwrap();
    let stranger = node.open("one").await;
    assert!(matches!(stranger, Err(OpenError::Tls(_))), "{stranger:?}");
    old.is_alive().await;
}

#[tokio::test]
async fn a_replaced_certificate_is_found_without_a_signal() {
    let node = Secure::start(&[]).await;
    node.put("two", "crt");
    node.put("two", "key");
    until("the pair is found", Duration::from_secs(25), || async {
        node.open("two").await.ok()
    })
    .await;
}

#[tokio::test]
async fn what_is_no_tls_and_a_handshake_that_stalls_are_closed() {
    let node = Secure::start(&[("server.tls.min_version", "1.3")]).await;
    let bystander = Peer::over(node.open("one").await.unwrap());
    let mut bystander = bystander.await;
    let port = node.process.public[0];
    let ended = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(SOON, ended).await.expect("closed");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let began = tokio::time::Instant::now();
    let (plain, garbage, hello, silent) = tokio::join!(
        ended(http::UPGRADE.as_bytes()),
        ended(&[0; 100]),
        ended(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
        ended(b""),
    );
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "the deadline is 5 s"
    );
    for answer in [plain, garbage, hello, silent] {
        assert!(!answer.contains("HTTP"), "{answer}");
    }
    bystander.is_alive().await;
}

/// The keys of a TLS handshake are the dearest thing a stranger can ask for.
#[tokio::test]
async fn whoever_comes_far_too_fast_is_closed_before_tls_costs_anything() {
    let node = Secure::start(&[("limits.handshakes_per_address", "5")]).await;
    let port = node.process.public[0];
    let began = tokio::time::Instant::now();
    let silent = (0..100).map(async |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut [0; 1])).await;
        // Closed with nothing said, or still waited for.
        ended.is_ok_and(|read| !matches!(read, Ok(1..)))
    });
    let closed = futures_util::future::join_all(silent).await;
    let closed = closed.iter().filter(|closed| **closed).count();
    // Ten are heard, and as many per second: those wait for their deadline, which is five seconds.
    let heard = 10 * (1 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1);
    let expected = 100 - heard.min(90)..=90;
    assert!(expected.contains(&closed), "{closed} of 100 were closed");
    until("whoever waits a moment comes in", SOON, || async {
        node.open("one").await.ok()
    })
    .await;
}

/// A handshake that drips in byte by byte never ends; the deadline is for the whole of it.
#[tokio::test]
async fn a_slow_tls_handshake_is_closed_and_honest_ones_come_in() {
    let node = Secure::start(&[("limits.handshake_timeout", "1s")]).await;
    let port = node.process.public[0];
    let slow = (0..50).map(async |_| {
        let hello = [
            &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc][..],
            &[3; 500],
        ]
        .concat();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let dripping = async {
            for byte in hello {
                if to.write_all(&[byte]).await.is_err() {
                    break;
                }
                crate::harness::time_passes(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = Vec::new();
        let reading = tokio::time::timeout(SOON, from.read_to_end(&mut answer));
        tokio::select! {
            () = dripping => {}
            ended = reading => drop(ended.expect("closed by the deadline")),
        }
    });
    let honest = async {
        for _ in 0..10 {
            let wire = node.open("one").await.unwrap();
            Peer::over(wire).await.is_alive().await;
        }
    };
    tokio::join!(futures_util::future::join_all(slow), honest);
}
