//! Secrets planted everywhere, and everything that a node says searched for them.

use std::process::Command;

use serde_json::json;
use sparkway_client::{Dial, Encoding, TokenPlace, Wire};

use crate::harness::cluster::Cluster;
use crate::harness::http::{self, upgrade};
use crate::harness::peer::{Peer, open};
use crate::harness::redis::Redis;
use crate::harness::tokens;

const HS256: &str = "planted-hs256-secret-0123456789abcdef0123";
const REDIS: &str = "planted-redis-password-77";
const API: &str = "swk_ops_plantedApiKeySecret0123456789";

/// What must not be said, in whole or in the part that counts.
struct Planted(Vec<String>);

impl Planted {
    fn add(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
        // The signature is what makes a token one, and the secret part what makes a key one.
        for part in [secret.rsplit('.').next(), secret.rsplit('_').next()] {
            self.0
                .extend(part.filter(|part| part.len() > 12).map(str::to_owned));
        }
    }

    fn search(&self, what: &str, text: &str) {
        for secret in &self.0 {
            if let Some(line) = text.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{what} says {secret}: {line}");
            }
        }
    }
}

fn settings<'a>(level: &'a str, store: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("auth.mode", "required"),
        ("auth.hs256_secret", HS256),
        ("api.keys", API),
        ("store.url", store),
        ("log.level", level),
    ]
}

/// Shows each token in every place that takes one.
async fn show(cluster: &Cluster, token: &str) -> String {
    for place in [
        TokenPlace::Query,
        TokenPlace::Subprotocol,
        TokenPlace::Header,
    ] {
        let mut dial = Dial::default();
        dial.token = Some((place, token.to_owned()));
        if let Ok(mut wire) = Wire::open(cluster.first(), &dial).await {
            let _ = wire.send(&json!({"type": "ws:connect"})).await;
            let _ = wire.next().await;
        }
    }
    let mut said = String::new();
    for more in [
        format!("Cookie: session={token}\r\nOrigin: http://localhost\r\n"),
        format!("Cookie: session={token}\r\nOrigin: http://evil.example\r\n"),
        format!("Authorization: Bearer {token}\r\nX: a\0b\r\n"),
        format!("Authorization: Basic {token}\r\n"),
    ] {
        if let Some(answer) = http::ask(cluster.port(), upgrade(&more)).await {
            said += &answer.whole();
        }
    }
    for path in [
        format!("/ws?token={token}"),
        format!("/nowhere?token={token}"),
        format!("/ws/{token}"),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        if let Some(answer) = http::ask(cluster.port(), request).await {
            said += &answer.whole();
        }
    }
    let mut wire = open(cluster.first(), Encoding::Json).await;
    for frame in [
        json!({"type": "ws:connect", "id": "c", "data": {"token": token}}),
        json!({"type": "ws:refresh", "id": "r", "data": {"token": token}}),
        json!({"type": "ws:heartbeat", "id": "h", "data": {"heartbeat_token": token}}),
        json!({"type": "ws:resume", "id": "q", "data": {"session_id": token, "heartbeat_token": token}}),
    ] {
        let _ = wire.send(&frame).await;
    }
    // One answer each, unless the connection is closed before.
    for _ in 0..4 {
        let next = tokio::time::timeout(crate::harness::SOON, wire.next()).await;
        let Ok(sparkway_client::Incoming::Frame(frame)) = next else {
            break;
        };
        // Nobody hears its own credential again, nor anybody's.
        said += &crate::harness::peer::whole(&frame).to_string();
    }
    said
}

/// What the API says to whoever may ask, and to those who may not.
async fn ask_api(cluster: &Cluster) -> String {
    let internal = cluster.processes[0].internal[0];
    let mut said = String::new();
    let mut shown = 0;
    for path in [
        "/v1/config",
        "/v1/info",
        "/v1/sessions",
        "/v1/nodes",
        "/v1/hooks",
        "/v1/topics",
        "/v1/topics/t/history",
        "/v1/users/ada/disconnect",
        "/v1/nowhere",
        // Where a key must not stand.
        &format!("/v1/sessions?key={API}"),
    ] {
        for more in [
            format!("Authorization: Bearer {API}\r\n"),
            format!("Authorization: Bearer {API}x\r\n"),
            format!("Authorization: {API}\r\n"),
        ] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}Connection: close\r\n\r\n"
            );
            let answer = http::ask(internal, request).await.expect("an answer");
            shown += usize::from(answer.status == 200);
            said += &answer.whole();
        }
    }
    assert!(shown >= 5, "only {shown} were shown something: {said}");
    said
}

#[tokio::test]
async fn planted_secrets_are_in_no_log_metric_answer_or_error() {
    for level in ["debug", "trace"] {
        let redis = Redis::start().await;
        redis.cli(&["CONFIG", "SET", "requirepass", REDIS]);
        let url = format!("redis://:{REDIS}@127.0.0.1:{}", redis.port);
        let cluster = Cluster::memory(&settings(level, &url)).await;
        let mut planted = Planted(Vec::new());
        for secret in [HS256, REDIS, API] {
            planted.add(secret);
        }
        let good = tokens::signed_with("ada", HS256);
        let bad = tokens::signed_with("ada", "another-secret-that-the-node-does-not-know-0");
        for token in [&good, &bad] {
            planted.add(token);
            let said = show(&cluster, token).await;
            planted.search("an answer", &said);
        }
        let mut peer = Peer::connect_as(cluster.first(), &good).await;
        planted.add(&peer.ticket.token.clone());
        peer.subscribe(&["t"]).await;
        peer.publish("t", json!(1)).await;
        peer.done("ws:refresh", json!({"token": good})).await;
        let again = Peer::resume(cluster.first(), Encoding::Json, &peer.cut()).await;
        planted.add(&again.ticket.token);
        planted.search("the API", &ask_api(&cluster).await);
        for path in ["/metrics", "/readyz", "/healthz"] {
            let internal = cluster.processes[0].internal[0];
            planted.search(path, &http::body(internal, path).await);
        }
        // The store goes away and takes its password along into whatever is said about that.
        redis.cli(&["-a", REDIS, "CLIENT", "KILL", "TYPE", "normal"]);
        let _ = peer_error(&cluster).await;
        let log = cluster.processes[0].log();
        assert!(
            log.contains("DEBUG"),
            "a node at level {level} says something"
        );
        planted.search(&format!("the log at level {level}"), &log);
    }
}

/// Something that needs the store, whatever comes of it.
async fn peer_error(cluster: &Cluster) -> String {
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect =
        json!({"type": "ws:connect", "data": {"token": tokens::signed_with("bob", HS256)}});
    let _ = wire.send(&connect).await;
    format!(
        "{:?}",
        tokio::time::timeout(crate::harness::SOON, wire.next())
            .await
            .is_ok()
    )
}

#[test]
fn configuration_is_shown_and_refused_without_its_secrets() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sparkway"))
            .args(arguments)
            .env_clear()
            .env("SPARKWAY__AUTH__HS256_SECRET", HS256)
            .env("SPARKWAY__API__KEYS", API)
            .env(
                "SPARKWAY__STORE__URL",
                format!("redis://user:{REDIS}@127.0.0.1:1"),
            )
            .output()
            .expect("the binary was built");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    let mut planted = Planted(Vec::new());
    for secret in [HS256, REDIS, API] {
        planted.add(secret);
    }
    let shown = run(&["config", "show"]);
    assert!(
        shown.contains("auth.hs256_secret") || shown.contains("hs256_secret"),
        "{shown}"
    );
    planted.search("config show", &shown);
    planted.search("config check", &run(&["config", "check"]));
    planted.search("config env", &run(&["config", "env"]));
    // Values that are refused are not repeated either.
    for (key, value) in [
        ("auth.hs256_secret", "short-planted-1"),
        ("api.keys", "swk_ops_planted"),
        ("store.url", "redis:/planted-password-9@host"),
    ] {
        let said = run(&["config", "check", "--set", &format!("{key}={value}")]);
        planted.search(key, &said);
        assert!(!said.contains(value), "{key}: {said}");
    }
}
