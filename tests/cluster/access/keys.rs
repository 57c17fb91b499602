//! Keys that issuers publish and replace.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::harness::backend::{Backend, Reply};
use crate::harness::cluster::Cluster;
use crate::harness::issuer::{SigningKey, set};
use crate::harness::node::Process;
use crate::harness::peer::{Peer, last_words, next, open};
use crate::harness::{SOON, until};

const HOME: &str = "https://id.example";
const AWAY: &str = "https://other.example";

/// A server of key sets whose answer the test can replace.
async fn publisher(keys: &Value) -> (Backend, Arc<Mutex<Reply>>) {
    let reply = Arc::new(Mutex::new(Reply::json(keys)));
    let told = Arc::clone(&reply);
    let backend = Backend::start(move |_| told.lock().unwrap().clone()).await;
    (backend, reply)
}

/// The first answer to a connect.
async fn connecting(url: &str, token: &str) -> Value {
    let mut wire = open(url, Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": token}});
    wire.send(&connect).await.unwrap();
    next(&mut wire).await
}

fn required(url: &str, refresh: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("auth.mode", "required".to_owned()),
        ("auth.jwks_url", url.to_owned()),
        ("auth.issuer", HOME.to_owned()),
        ("auth.jwks_refresh", refresh.to_owned()),
        ("auth.jwks_timeout", "500ms".to_owned()),
    ]
}

async fn node(settings: &[(&'static str, String)]) -> Cluster {
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    Cluster::memory(&settings).await
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it_and_at_most_once_a_minute() {
    let (old, new, newest) = (
        SigningKey::new("old"),
        SigningKey::new("new"),
        SigningKey::new("newest"),
    );
    let (backend, reply) = publisher(&set(&[&old])).await;
    let cluster = node(&required(&backend.url("/jwks"), "24h")).await;
    Peer::connect_as(cluster.first(), &old.token("ada", HOME)).await;
    assert_eq!(backend.seen().len(), 1, "once at start");
    // Rotation: both keys, then the new one alone.
    *reply.lock().unwrap() = Reply::json(&set(&[&old, &new]));
    Peer::connect_as(cluster.first(), &new.token("ada", HOME)).await;
    assert_eq!(backend.seen().len(), 2, "once for the new key");
    Peer::connect_as(cluster.first(), &old.token("ada", HOME)).await;
    *reply.lock().unwrap() = Reply::json(&set(&[&newest]));
    for _ in 0..20 {
        let answer = connecting(cluster.first(), &newest.token("eve", HOME)).await;
        assert_eq!(answer["data"]["code"], "unauthorized", "{answer}");
    }
    assert_eq!(
        backend.seen().len(),
        2,
        "a flood of unknown keys asks nobody"
    );
}

#[tokio::test]
async fn a_withdrawn_key_counts_until_the_next_refresh_and_a_dead_issuer_changes_nothing() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let (backend, reply) = publisher(&set(&[&old])).await;
    let cluster = node(&required(&backend.url("/jwks"), "1s")).await;
    Peer::connect_as(cluster.first(), &old.token("ada", HOME)).await;
    // Down, slow, huge, no key set: what was known counts on.
    for dead in [
        Reply::Status(500, String::new()),
        Reply::Status(302, String::new()),
        Reply::Hang(Duration::from_secs(30)),
        Reply::Status(
            200,
            format!("{{\"keys\":[], \"x\":\"{}\"}}", "x".repeat(1 << 20)),
        ),
        Reply::Status(200, "<html>".to_owned()),
        Reply::json(&json!({"keys": []})),
    ] {
        *reply.lock().unwrap() = dead;
        let seen = backend.seen().len();
        until("it is asked again", 3 * SOON, async || {
            (backend.seen().len() > seen).then_some(())
        })
        .await;
        Peer::connect_as(cluster.first(), &old.token("ada", HOME)).await;
    }
    assert!(
        backend.asked("/elsewhere").is_empty(),
        "no redirect is followed"
    );
    *reply.lock().unwrap() = Reply::json(&set(&[&new]));
    until("the old key is gone", 6 * SOON, async || {
        let answer = connecting(cluster.first(), &old.token("ada", HOME)).await;
        (answer["data"]["code"] == "unauthorized").then_some(())
    })
    .await;
    Peer::connect_as(cluster.first(), &new.token("ada", HOME)).await;
}

#[tokio::test]
async fn while_no_key_is_known_clients_are_told_to_try_again() {
    let key = SigningKey::new("1");
    let (backend, reply) = publisher(&json!({})).await;
    let cluster = node(&required(&backend.url("/jwks"), "24h")).await;
    let token = key.token("ada", HOME);
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": token}});
    wire.send(&connect).await.unwrap();
    let (frames, closed) = last_words(&mut wire).await;
    assert_eq!(frames[0]["data"]["code"], "unavailable", "{frames:?}");
    assert_eq!(frames[0]["data"]["retryable"], true);
    assert_eq!(closed.code, Some(1013));
    *reply.lock().unwrap() = Reply::json(&set(&[&key]));
    until("the keys are fetched by themselves", 3 * SOON, async || {
        let answer = connecting(cluster.first(), &token).await;
        (answer["type"] == "ws:connect_ack").then_some(())
    })
    .await;
}

/// Keyed by issuer and key id: the same id at another issuer is another key.
#[tokio::test]
async fn the_keys_of_one_issuer_do_not_verify_the_tokens_of_another() {
    let (home, away) = (SigningKey::new("1"), SigningKey::new("1"));
    let (home_server, _) = publisher(&set(&[&home])).await;
    let (away_server, _) = publisher(&set(&[&away])).await;
    let (home_url, away_url) = (home_server.url("/jwks"), away_server.url("/jwks"));
    let settings = [
        ("auth.mode", "required"),
        ("auth.issuers.home.issuer", HOME),
        ("auth.issuers.home.jwks_url", &home_url),
        ("auth.issuers.away.issuer", AWAY),
        ("auth.issuers.away.jwks_url", &away_url),
    ];
    let cluster = Cluster::memory(&settings).await;
    for (key, issuer, is_good) in [
        (&home, HOME, true),
        (&away, AWAY, true),
        (&home, AWAY, false),
        (&away, HOME, false),
        (&home, "https://evil.example", false),
    ] {
        let answer = connecting(cluster.first(), &key.token("ada", issuer)).await;
        let expected = if is_good {
            "ws:connect_ack"
        } else {
            "ws:error"
        };
        assert_eq!(answer["type"], expected, "{issuer}: {answer}");
    }
}

/// Nothing of a token is ever an address to go to.
#[tokio::test]
async fn urls_in_a_token_are_never_asked() {
    let key = SigningKey::new("1");
    let (backend, _) = publisher(&set(&[&key])).await;
    let (trap, _) = publisher(&set(&[&key])).await;
    let cluster = node(&required(&backend.url("/jwks"), "24h")).await;
    let header = json!({"alg": "EdDSA", "kid": trap.url("/kid"), "jku": trap.url("/jku"),
        "x5u": trap.url("/x5u")});
    let coded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": "ada", "iss": HOME, "exp": 9_999_999_999_u64});
    let token = format!("{}.{}.AAAA", coded(&header), coded(&claims));
    let answer = connecting(cluster.first(), &token).await;
    assert_eq!(answer["data"]["code"], "unauthorized");
    let claims = json!({"sub": "ada", "iss": trap.url(""), "exp": 9_999_999_999_u64});
    let token = format!("{}.{}.AAAA", coded(&header), coded(&claims));
    let answer = connecting(cluster.first(), &token).await;
    assert_eq!(answer["data"]["code"], "unauthorized");
    assert!(trap.seen().is_empty());
}

/// With a name in the URL that resolves to an internal address nothing is fetched, unless the
/// network is allowed.
#[tokio::test]
async fn a_name_that_leads_inside_is_asked_only_where_the_network_is_allowed() {
    let key = SigningKey::new("1");
    let (backend, _) = publisher(&set(&[&key])).await;
    // Resolvers read it as 127.0.0.1; written so, it is a name.
    let url = format!("http://127.1:{}/jwks", backend.port);
    let mut settings = required(&url, "24h");
    let refused = node(&settings).await;
    let answer = connecting(refused.first(), &key.token("ada", HOME)).await;
    assert_eq!(answer["data"]["code"], "unavailable", "{answer}");
    assert!(backend.seen().is_empty());
    settings.push(("outbound.allow", "loopback".to_owned()));
    let allowed = node(&settings).await;
    Peer::connect_as(allowed.first(), &key.token("ada", HOME)).await;
}

/// The process says what is wrong with a URL instead of starting.
#[tokio::test]
async fn a_url_of_a_metadata_service_stops_the_start() {
    let arguments = [
        "config",
        "check",
        "--set",
        "auth.jwks_url=http://169.254.169.254/latest",
    ];
    let (status, text) = Process::run(&arguments);
    assert!(!status.success());
    assert!(
        text.contains("auth.jwks_url") && text.contains("refused"),
        "{text}"
    );
}
