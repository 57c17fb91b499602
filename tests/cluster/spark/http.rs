//! The handshake: subprotocols, statuses, origins.

use serde_json::json;
use sparkway_client::{Dial, Encoding, OpenError, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::cluster::Cluster;
use crate::harness::http::{UPGRADE, ask, upgrade};
use crate::harness::peer::{Peer, next};

async fn chosen(url: &str, offered: &[&str]) -> Option<String> {
    let offered = offered.iter().map(|&name| name.to_owned()).collect();
    let mut dial = Dial::default();
    dial.subprotocols = Some(offered);
    let wire = Wire::open(url, &dial).await.unwrap();
    wire.subprotocol().map(str::to_owned)
}

#[tokio::test]
async fn the_first_known_subprotocol_is_echoed_and_unknown_ones_are_ignored() {
    let cluster = Cluster::memory(&[]).await;
    let url = cluster.first();
    for (offered, echoed) in [
        (&["spark.v1.json"][..], "spark.v1.json"),
        (&["spark.v1.msgpack"], "spark.v1.msgpack"),
        (&["spark.v1.msgpack", "spark.v1.json"], "spark.v1.msgpack"),
        (
            &["graphql-ws", "spark.v1.json", "spark.v1.msgpack"],
            "spark.v1.json",
        ),
        (&["spark.v1.json", "bearer.abc"], "spark.v1.json"),
        (&["bearer.abc", "spark.v1.msgpack"], "spark.v1.msgpack"),
    ] {
        assert_eq!(
            chosen(url, offered).await.as_deref(),
            Some(echoed),
            "{offered:?}"
        );
    }
    // A client library refuses the silence; the node must keep it all the same.
    for offered in ["graphql-ws", "spark.v2.json", "SPARK.V1.JSON", "bearer.abc"] {
        let request = upgrade(&format!("Sec-WebSocket-Protocol: {offered}\r\n"));
        let answer = ask(cluster.port(), request).await.unwrap();
        assert_eq!(answer.status, 101, "{offered}");
        assert_eq!(answer.header("sec-websocket-protocol"), None, "{offered}");
    }
}

#[tokio::test]
async fn without_a_subprotocol_the_encoding_is_json() {
    let cluster = Cluster::memory(&[]).await;
    let answer = ask(cluster.port(), UPGRADE).await.unwrap();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    // The accept value of the key in RFC 6455, 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    let mut wire = Wire::open(cluster.first(), &Dial::default()).await.unwrap();
    assert_eq!(wire.subprotocol(), None);
    wire.send_text(r#"{"type":"ws:connect"}"#).await.unwrap();
    assert_eq!(next(&mut wire).await["type"], "ws:connect_ack");
}

#[tokio::test]
async fn statuses_say_what_is_wrong_with_a_handshake() {
    let cluster = Cluster::memory(&[("limits.connections", "2")]).await;
    let port = cluster.port();
    let status = async |request: String| ask(port, request).await.expect("an answer").status;
    assert_eq!(status(UPGRADE.to_owned()).await, 101);
    assert_eq!(status(UPGRADE.replace("Key: dGhl", "Key: ")).await, 400);
    assert_eq!(status(UPGRADE.replace("/ws ", "/elsewhere ")).await, 404);
    assert_eq!(
        status(upgrade("Origin: https://elsewhere.example\r\n")).await,
        403
    );
    let plain = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(plain.to_owned()).await, 426);
    // Beyond the limit of connections: come again later.
    let _first = Peer::connect(cluster.first(), Encoding::Json).await;
    let _second = Peer::connect(cluster.first(), Encoding::Json).await;
    let answer = ask(port, UPGRADE).await.unwrap();
    assert_eq!(answer.status, 503);
    let after: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(after > 0);
}

/// Asserts the status of a handshake with each of these origins.
async fn check_origins(cluster: &Cluster, expected: &[(&str, u16)]) {
    let host = format!("Host: 127.0.0.1:{}", cluster.port());
    for (origin, status) in expected {
        let request = upgrade(&format!("Origin: {origin}\r\n")).replace("Host: localhost", &host);
        let answer = ask(cluster.port(), request).await.unwrap();
        assert_eq!(answer.status, *status, "{origin}");
    }
    // Who is no browser names none.
    assert_eq!(ask(cluster.port(), UPGRADE).await.unwrap().status, 101);
}

#[tokio::test]
async fn an_origin_must_be_the_own_host_where_none_is_configured() {
    let cluster = Cluster::memory(&[]).await;
    let port = cluster.port();
    let own = format!("http://127.0.0.1:{port}");
    let (other, evil) = (
        format!("http://127.0.0.1:{}", port + 1),
        format!("{own}.evil.example"),
    );
    let expected = [
        (own.as_str(), 101),
        ("http://127.0.0.1", 403),
        (&other, 403),
        (&evil, 403),
        ("https://elsewhere.example", 403),
        ("null", 403),
        ("garbage", 403),
    ];
    check_origins(&cluster, &expected).await;
}

#[tokio::test]
async fn configured_origins_are_scheme_host_and_port() {
    let allowed = "https://app.example,https://*.pages.example";
    let cluster = Cluster::memory(&[("server.allowed_origins", allowed)]).await;
    let expected = [
        ("https://app.example", 101),
        ("https://APP.example", 101),
        ("https://app.example:443", 101),
        ("https://a.pages.example", 101),
        ("https://elsewhere.example", 403),
        ("https://app.example.evil.example", 403),
        ("https://app.example:444", 403),
        ("http://app.example", 403),
        ("https://pages.example", 403),
        ("https://a.pages.example.evil", 403),
        ("https://evilpages.example", 403),
        ("null", 403),
    ];
    check_origins(&cluster, &expected).await;
}

#[tokio::test]
async fn a_cookie_counts_only_from_an_allowed_origin() {
    let token = crate::harness::tokens::token("ada", &["*"], &["*"]);
    let secret = crate::harness::tokens::SECRET;
    let cluster =
        Cluster::memory(&[("auth.mode", "required"), ("auth.hs256_secret", secret)]).await;
    let port = cluster.port();
    let request = upgrade(&format!("Cookie: session={token}\r\n"));
    assert_eq!(ask(port, &request).await.unwrap().status, 403);
    let foreign = upgrade(&format!(
        "Cookie: session={token}\r\nOrigin: https://evil.example\r\n"
    ));
    assert_eq!(ask(port, foreign).await.unwrap().status, 403);
    let mut dial = Dial::default();
    dial.token = Some((sparkway_client::TokenPlace::Cookie("session"), token));
    let own = format!("http://127.0.0.1:{port}");
    dial.headers.insert("origin", own.parse().unwrap());
    let mut wire = Wire::open(cluster.first(), &dial).await.unwrap();
    wire.send(&json!({"type": "ws:connect"})).await.unwrap();
    assert_eq!(next(&mut wire).await["data"]["gateway"]["user"], "ada");
}

#[tokio::test]
async fn a_draining_node_answers_503_with_retry_after_or_is_gone() {
    let settings = [("drain.readiness_delay", "0s"), ("drain.duration", "5s")];
    let cluster = Cluster::memory(&settings).await;
    // Somebody whose turn comes late keeps the node draining.
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(Peer::connect(cluster.first(), Encoding::Json).await);
    }
    // An HTTP connection from before: the listener itself goes away.
    let mut early = tokio::net::TcpStream::connect(("127.0.0.1", cluster.port()))
        .await
        .unwrap();
    cluster.processes[0].signal("TERM");
    peers[0]
        .wire
        .wait_for(sparkway_client::FrameType::Drain, crate::harness::SOON)
        .await
        .unwrap();
    let mut answer = String::new();
    if early.write_all(UPGRADE.as_bytes()).await.is_ok() {
        let _ = early.read_to_string(&mut answer).await;
    }
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503"),
        "neither closed nor refused: {answer}"
    );
    match Wire::open(cluster.first(), &Dial::default()).await {
        Err(OpenError::Http {
            status: 503,
            retry_after,
            ..
        }) => {
            assert!(retry_after.is_some_and(|after| !after.is_zero()));
        }
        // Nobody listens any more, or the connection waited for one who does not.
        Err(OpenError::Io(_) | OpenError::Handshake(_)) => {}
        other => panic!("neither closed nor refused: {other:?}"),
    }
}
