//! What a backend decides about clients, and what becomes of them when it does not answer.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{Dial, Encoding, TokenPlace, Wire};

use crate::harness::backend::{Backend, Reply, Request};
use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, last_words, next, open};
use crate::harness::tokens::{SECRET, ending, token};
use crate::harness::{SOON, until};

const HOOK_SECRET: &str = "a-secret-of-hooks-with-enough-bytes";

/// A node that asks a backend, with more settings.
async fn asking(backend: &Backend, hooks: &[&str], more: &[(&str, &str)]) -> Cluster {
    let urls: Vec<(String, String)> = hooks
        .iter()
        .map(|hook| (format!("hooks.{hook}"), backend.url(&format!("/{hook}"))))
        .collect();
    let mut settings: Vec<(&str, &str)> = urls
        .iter()
        .map(|(key, url)| (key.as_str(), url.as_str()))
        .collect();
    settings.extend([("hooks.secret", HOOK_SECRET), ("hooks.timeout", "1s")]);
    settings.extend(more);
    Cluster::memory(&settings).await
}

/// Answers by path; any other path is not found.
fn by_path(answers: Vec<(&'static str, Value)>) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| {
        let found = answers.iter().find(|(path, _)| *path == request.path);
        found.map_or_else(
            || Reply::Status(404, String::new()),
            |(_, answer)| Reply::json(answer),
        )
    }
}

async fn connecting(url: &str, data: Value) -> (Value, Wire) {
    let mut wire = open(url, Encoding::Json).await;
    wire.send(&json!({"type": "ws:connect", "data": data}))
        .await
        .unwrap();
    (next(&mut wire).await, wire)
}

const OPAQUE: &[(&str, &str)] = &[("auth.mode", "required")];

#[tokio::test]
async fn the_backend_says_who_a_client_is_and_what_it_may_do() {
    let backend = Backend::start(|request| {
        let asked = request.body();
        if asked["connect"]["token"] == "let-me-in" {
            return Reply::json(&json!({"allow": true, "user": "ada",
                "subscribe": ["room:*"], "publish": ["room:1"]}));
        }
        Reply::json(&json!({"allow": false}))
    })
    .await;
    let headers = [
        ("hooks.transport_headers", "user-agent,x-tenant"),
        ("hooks.claimed_headers", "x-tenant,x-device"),
    ];
    let cluster = asking(&backend, &["connect"], &[OPAQUE, &headers].concat()).await;
    let claims = json!({"token": "let-me-in", "headers": {"x-tenant": "forged", "x-device": "phone",
        "x-other": "not shown", "user-agent": "forged"}});
    let (ack, mut wire) = connecting(cluster.first(), claims).await;
    assert_eq!(ack["data"]["gateway"]["user"], "ada", "{ack}");
    let subscribe =
        json!({"type": "topic:subscribe", "id": "s", "data": {"topics": ["room:2", "x"]}});
    wire.send(&subscribe).await.unwrap();
    let result = next(&mut wire).await["data"]["result"].clone();
    assert_eq!(result["topics"][0]["topic"], "room:2");
    assert_eq!(
        result["rejected"],
        json!([{"topic": "x", "code": "forbidden"}])
    );
    let asked = backend.asked("/connect")[0].clone();
    let body = asked.body();
    assert_eq!(body["hook"], "connect");
    assert_eq!(body["client"]["dialect"], "spark");
    assert_eq!(
        body["client"]["claimed_headers"],
        json!({"x-tenant": "forged", "x-device": "phone"})
    );
    assert_eq!(
        body["client"]["headers"].get("x-tenant"),
        None,
        "never mixed"
    );
    // Signed over id, time and body.
    let id = asked.header("webhook-id").unwrap();
    let time: u64 = asked.header("webhook-timestamp").unwrap().parse().unwrap();
    let secrets = [sparkway_hooks::Secret::parse(HOOK_SECRET).unwrap()];
    let signed = sparkway_hooks::sign(&secrets, id, time, asked.text.as_bytes());
    assert_eq!(asked.header("webhook-signature"), Some(&*signed.signature));
    assert!(time.abs_diff(crate::harness::tokens::now_s()) < 60);

    let (refusal, mut wire) = connecting(cluster.first(), json!({"token": "guess"})).await;
    assert_eq!(refusal["data"]["code"], "unauthorized");
    assert_eq!(last_words(&mut wire).await.1.code, Some(1008));
}

#[tokio::test]
async fn a_verified_token_is_not_passed_on_and_the_backend_cannot_make_it_somebody_else() {
    let backend =
        Backend::start(|_| Reply::json(&json!({"allow": true, "user": "root", "publish": []})))
            .await;
    let settings = [("auth.mode", "required"), ("auth.hs256_secret", SECRET)];
    let cluster = asking(&backend, &["connect"], &settings).await;
    let token = token("ada", &["*"], &["*"]);
    let mut peer = Peer::connect_as(cluster.first(), &token).await;
    assert_eq!(peer.welcome["data"]["gateway"]["user"], "ada");
    assert_eq!(
        peer.publish_as("p", "x", json!(1)).await["data"]["code"],
        "forbidden"
    );
    let seen = backend.seen();
    assert!(!seen[0].text.contains(token.rsplit('.').next().unwrap()));
    assert_eq!(seen[0].body()["client"]["user"], "ada");
    // A bad token is refused without asking anybody.
    let (refusal, _) = connecting(cluster.first(), json!({"token": "forged"})).await;
    assert_eq!(refusal["data"]["code"], "unauthorized");
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_cookie_that_only_the_backend_knows_lets_in_from_the_own_pages() {
    let backend = Backend::start(|request| {
        let is_known = request.body()["connect"]["token"] == "s3ss10n";
        Reply::json(&json!({"allow": is_known, "user": "ada"}))
    })
    .await;
    let cluster = asking(&backend, &["connect"], OPAQUE).await;
    let mut dial = Dial::default();
    let origin = format!("http://127.0.0.1:{}", cluster.port());
    dial.headers
        .insert("cookie", "session=s3ss10n".parse().unwrap());
    dial.headers.insert("origin", origin.parse().unwrap());
    let mut wire = Wire::open(cluster.first(), &dial).await.unwrap();
    wire.send(&json!({"type": "ws:connect"})).await.unwrap();
    assert_eq!(next(&mut wire).await["data"]["gateway"]["user"], "ada");
    dial.headers
        .insert("origin", "https://evil.example".parse().unwrap());
    assert!(Wire::open(cluster.first(), &dial).await.is_err(), "403");
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_backend_that_does_not_answer_refuses_for_now_lets_in_or_stands_by_its_word() {
    let yes = || Reply::json(&json!({"allow": true, "user": "ada", "subscribe": ["*"]}));
    for (policy, code) in [
        ("deny", Some("unavailable")),
        ("allow", Some("unavailable")),
        ("cached", None),
    ] {
        let backend = Backend::start(move |_| yes()).await;
        let policy = [
            ("hooks.connect_on_error", policy),
            ("hooks.timeout", "300ms"),
        ];
        let cluster = asking(&backend, &["connect"], &[OPAQUE, &policy].concat()).await;
        connecting(cluster.first(), json!({"token": "known"})).await;
        for (number, broken) in [
            Reply::Status(500, String::new()),
            Reply::Hang(Duration::from_secs(30)),
            Reply::Status(302, String::new()),
            Reply::Status(200, "<html>".to_owned()),
            Reply::Status(200, "x".repeat(1 << 20)),
        ]
        .into_iter()
        .enumerate()
        {
            backend.answer(move |_| broken.clone());
            let (answer, _) = connecting(cluster.first(), json!({"token": "known"})).await;
            let got = answer["data"].get("code").and_then(Value::as_str);
            assert_eq!(got, code, "{policy:?} {number}: {answer}");
            let (answer, _) = connecting(cluster.first(), json!({"token": "unknown"})).await;
            assert_eq!(answer["data"]["code"], "unavailable", "{policy:?} {number}");
        }
        assert!(
            backend.asked("/elsewhere").is_empty(),
            "no redirect is followed"
        );
    }
    // A token that the gateway verified itself is enough where the operator says so.
    let backend = Backend::start(|_| Reply::Status(500, String::new())).await;
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", SECRET),
        ("hooks.connect_on_error", "allow"),
    ];
    let cluster = asking(&backend, &["connect"], &settings).await;
    Peer::connect_as(cluster.first(), &token("ada", &["*"], &["*"])).await;
}

#[tokio::test]
async fn a_backend_that_keeps_failing_is_left_alone_and_tried_again() {
    let backend = Backend::start(|_| Reply::Status(500, String::new())).await;
    let cluster = asking(&backend, &["connect"], OPAQUE).await;
    for _ in 0..40 {
        let (answer, _) = connecting(cluster.first(), json!({"token": "t"})).await;
        assert_eq!(answer["data"]["code"], "unavailable");
    }
    let asked = backend.seen().len();
    assert!((10..30).contains(&asked), "{asked}");
    backend.answer(|_| Reply::json(&json!({"allow": true, "user": "ada"})));
    until("it is asked again", 3 * SOON, async || {
        let (answer, _) = connecting(cluster.first(), json!({"token": "t"})).await;
        (answer["type"] == "ws:connect_ack").then_some(())
    })
    .await;
}

const BY_HOOK: &[(&str, &str)] = &[
    ("namespaces.club.subscribe", "hook"),
    ("namespaces.club.publish", "hook"),
];

#[tokio::test]
async fn the_backend_decides_topics_of_namespaces_that_say_so() {
    let answers = vec![
        (
            "/subscribe",
            json!({"allow": ["club:a", "never asked for"]}),
        ),
        (
            "/publish",
            json!({"allow": true, "data": {"checked": true}}),
        ),
    ];
    let backend = Backend::start(by_path(answers)).await;
    let cluster = asking(&backend, &["subscribe", "publish"], BY_HOOK).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let topics = json!({"topics": ["club:a", "club:b", "open"]});
    let result = peer.done("topic:subscribe", topics).await;
    assert_eq!(
        result["rejected"],
        json!([{"topic": "club:b", "code": "forbidden"}])
    );
    assert_eq!(result["topics"].as_array().unwrap().len(), 2);
    let asked = backend.asked("/subscribe")[0].body();
    assert_eq!(
        asked["subscribe"],
        json!({"topics": ["club:a", "club:b"], "action": "subscribe"})
    );
    assert_eq!(asked["client"]["session"], json!(peer.ticket.session));
    // What is published is what the backend made of it, in the order of the frames.
    for at in 0..20 {
        peer.send_publish(&format!("p{at}"), "club:a", json!({"at": at}))
            .await;
    }
    for at in 0..20 {
        let answer = peer.answer(&format!("p{at}")).await;
        assert_eq!(answer["type"], "ws:ack", "{answer}");
    }
    let asked = backend.asked("/publish");
    let order: Vec<u64> = asked
        .iter()
        .map(|asked| asked.body()["publish"]["data"]["at"].as_u64().unwrap())
        .collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    let messages = peer.messages(20).await;
    assert!(
        messages
            .iter()
            .all(|(_, data)| *data == json!({"checked": true}))
    );
    assert!(messages.windows(2).all(|pair| pair[0].0 < pair[1].0));
    backend.answer(|_| Reply::Status(403, String::new()));
    let answer = peer.publish_as("no", "club:a", json!(1)).await;
    assert_eq!(answer["data"]["code"], "forbidden");
    backend.answer(|_| Reply::Status(500, String::new()));
    let answer = peer.publish_as("later", "club:a", json!(1)).await;
    assert_eq!(answer["data"]["code"], "unavailable");
    let result = peer
        .done("topic:subscribe", json!({"topics": ["club:c"]}))
        .await;
    assert_eq!(result["rejected"][0]["code"], "unavailable");
    // What is held may be read; what is not is asked for.
    peer.done("topic:history", json!({"topic": "club:a", "limit": 1}))
        .await;
    let foreign = json!({"topic": "club:z", "limit": 1});
    assert_eq!(peer.refused("topic:history", foreign).await, "unavailable");
}

#[tokio::test]
async fn a_refresh_asks_again_for_the_topics_that_a_backend_granted() {
    let backend = Backend::start(by_path(vec![("/subscribe", json!({"allow": true}))])).await;
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", SECRET),
        ("namespaces.club.subscribe", "hook"),
    ];
    let cluster = asking(&backend, &["subscribe"], &settings).await;
    let all = token("ada", &["*"], &["*"]);
    let mut peer = Peer::connect_as(cluster.first(), &all).await;
    peer.subscribe(&["club:a", "club:b", "open"]).await;
    backend.answer(by_path(vec![("/subscribe", json!({"allow": ["club:b"]}))]));
    let result = peer.done("ws:refresh", json!({"token": all})).await;
    assert_eq!(result["dropped_topics"], json!(["club:a"]));
    let asked = backend.asked("/subscribe")[1].body();
    assert_eq!(asked["subscribe"]["action"], "refresh");
    peer.publish("club:a", json!("not for it")).await;
    let id = peer.publish("club:b", json!("for it")).await;
    assert_eq!(peer.message().await["id"], json!(id));
}

#[tokio::test]
async fn calls_that_hang_keep_nobody_out() {
    let backend = Backend::start(|request| match request.path.as_str() {
        "/connect" => Reply::json(&json!({"allow": true, "user": "ada"})),
        _ => Reply::Hang(Duration::from_mins(1)),
    })
    .await;
    let patient = [("auth.mode", "optional"), ("hooks.call_timeout", "20s")];
    let cluster = asking(&backend, &["connect", "rpc"], &patient).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    // More than `hooks.concurrency`, so that some wait for a place.
    for _ in 0..80 {
        peer.send("rpc:call", json!({"method": "slow"})).await;
    }
    until("all places are taken", SOON, async || {
        (backend.asked("/rpc").len() == 64).then_some(())
    })
    .await;
    for _ in 0..5 {
        let (answer, _wire) = connecting(cluster.first(), json!({"token": "t"})).await;
        assert_eq!(answer["type"], "ws:connect_ack", "{answer}");
    }
    let asked = backend.asked("/rpc").len();
    assert_eq!(asked, 64, "the others wait for their turn");
}

#[tokio::test]
async fn a_call_is_answered_by_the_backend_or_with_its_reason() {
    let backend = Backend::start(|request| {
        let asked = request.body();
        match asked["rpc"]["method"].as_str() {
            Some("echo") => Reply::json(&json!({"result": asked["rpc"]["params"]})),
            Some("gone") => Reply::json(&json!({"error": "not_found"})),
            Some("odd") => Reply::json(&json!({"error": 7})),
            Some("no") => Reply::Status(403, String::new()),
            _ => Reply::Hang(Duration::from_secs(30)),
        }
    })
    .await;
    let quick = [("hooks.call_timeout", "500ms")];
    let cluster = asking(&backend, &["rpc"], &quick).await;
    for encoding in [Encoding::Json, Encoding::MsgPack] {
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        let call = json!({"method": "echo", "params": {"n": [1, "two", null]}});
        let result = peer.done("rpc:call", call).await;
        assert_eq!(result["result"], json!({"n": [1, "two", null]}), "{result}");
        for (method, code) in [
            ("gone", "not_found"),
            ("odd", "internal"),
            ("no", "forbidden"),
            ("slow", "timeout"),
        ] {
            let call = json!({"method": method, "params": null});
            assert_eq!(peer.refused("rpc:call", call).await, code, "{method}");
        }
    }
    let nobody = Cluster::memory(&[]).await;
    let mut peer = Peer::connect(nobody.first(), Encoding::Json).await;
    let call = json!({"method": "echo", "params": null});
    assert_eq!(peer.refused("rpc:call", call).await, "unsupported");
}

#[tokio::test]
async fn a_credential_that_runs_out_goes_on_where_the_backend_says_so() {
    let until_ms = crate::harness::tokens::now_ms() + 3_600_000;
    let answer = json!({"allow": true, "expires_at": until_ms, "subscribe": ["a:*"]});
    let backend = Backend::start(by_path(vec![("/refresh", answer)])).await;
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", SECRET),
        ("auth.leeway", "0s"),
        ("session.expiry_grace", "1s"),
    ];
    let cluster = asking(&backend, &["refresh"], &settings).await;
    let mut peer = Peer::connect_as(cluster.first(), &ending("ada", 2)).await;
    peer.subscribe(&["a:1", "b:1"]).await;
    let told = peer.next().await;
    assert_eq!(told["data"]["code"], "forbidden", "{told}");
    assert!(told["data"]["message"].as_str().unwrap().contains("b:1"));
    peer.publish("b:1", json!("not for it")).await;
    let id = peer.publish("a:1", json!("for it")).await;
    assert_eq!(peer.message().await["id"], json!(id));
    // Where it says no, the client is told and closed as without a backend.
    backend.answer(|_| Reply::json(&json!({"allow": false})));
    let mut other = Peer::connect_as(cluster.first(), &ending("eve", 1)).await;
    assert_eq!(other.next().await["data"]["code"], "token_expired");
    assert_eq!(last_words(&mut other.wire).await.1.code, Some(4010));
}

#[tokio::test]
async fn tokens_secrets_and_answers_of_backends_never_reach_the_log() {
    let backend = Backend::start(|_| Reply::Status(500, "b4ckend-s3cret".to_owned())).await;
    let settings = [OPAQUE, &[("log.level", "debug")]].concat();
    let cluster = asking(&backend, &["connect"], &settings).await;
    let mut dial = Dial::default();
    dial.token = Some((TokenPlace::Query, "t0ken-of-ada".to_owned()));
    let mut wire = Wire::open(cluster.first(), &dial).await.unwrap();
    wire.send(&json!({"type": "ws:connect"})).await.unwrap();
    next(&mut wire).await;
    let log = cluster.processes[0].log();
    assert!(log.contains("connect hook not answered"), "{log}");
    for secret in ["t0ken-of-ada", HOOK_SECRET, "b4ckend-s3cret"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
}
