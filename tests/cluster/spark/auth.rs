//! Who may come in.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::{Dial, Encoding, FrameType, TokenPlace, Wire};

use crate::harness::SOON;
use crate::harness::cluster::{Cluster, ENCODINGS};
use crate::harness::peer::{Peer, close_frame, ends_with, next, open};
use crate::harness::tokens::{SECRET, ending, forged, now_ms, token};

const REQUIRED: &[(&str, &str)] = &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)];

fn everything(user: &str) -> String {
    token(user, &["*"], &["*"])
}

/// Connects with a credential in the handshake; the first answer to a bare `ws:connect`.
async fn connect_with(cluster: &Cluster, place: TokenPlace, token: &str) -> (Wire, Value) {
    let mut dial = Dial::default();
    dial.token = Some((place, token.to_owned()));
    let mut wire = Wire::open(cluster.first(), &dial).await.unwrap();
    wire.send(&json!({"type": "ws:connect"})).await.unwrap();
    let answer = next(&mut wire).await;
    (wire, answer)
}

#[tokio::test]
async fn a_token_is_taken_from_the_frame_the_query_the_subprotocol_and_the_header() {
    let cluster = Cluster::memory(REQUIRED).await;
    let token = everything("ada");
    for encoding in ENCODINGS {
        let mut wire = open(cluster.first(), encoding).await;
        let connect = json!({"type": "ws:connect", "data": {"token": token}});
        wire.send(&connect).await.unwrap();
        let ack = next(&mut wire).await;
        assert_eq!(ack["type"], "ws:connect_ack", "{ack}");
        assert_eq!(ack["data"]["gateway"]["user"], "ada");
    }
    for place in [
        TokenPlace::Query,
        TokenPlace::Subprotocol,
        TokenPlace::Header,
    ] {
        let (wire, ack) = connect_with(&cluster, place, &token).await;
        assert_eq!(ack["data"]["gateway"]["user"], "ada", "{place:?}: {ack}");
        let echoed = (place == TokenPlace::Subprotocol).then_some("spark.v1.json");
        assert_eq!(wire.subprotocol(), echoed, "the token is never echoed");
    }
}

#[tokio::test]
async fn no_token_and_one_that_is_not_valid_are_unauthorized_and_close_1008() {
    let cluster = Cluster::memory(REQUIRED).await;
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.";
    let cases = [
        (None, "token: required"),
        (Some(String::new()), "token: required"),
        (Some("garbage".to_owned()), "token: not valid"),
        (Some(forged("ada")), "token: not valid"),
        (Some(none.to_owned()), "token: not valid"),
        (Some(format!("{}x", everything("ada"))), "token: not valid"),
    ];
    let refusal = |message: &str| {
        json!({"type": "ws:error", "data": {
            "ackId": "hello", "code": "unauthorized", "message": message, "retryable": false}})
    };
    for encoding in ENCODINGS {
        for (token, message) in &cases {
            let mut wire = open(cluster.first(), encoding).await;
            let mut connect = json!({"type": "ws:connect", "id": "hello", "data": {}});
            if let Some(token) = token {
                connect["data"]["token"] = json!(token);
            }
            wire.send(&connect).await.unwrap();
            let farewell = close_frame(1008, "Unauthorized", false);
            ends_with(
                &mut wire,
                &[refusal(message), farewell],
                1008,
                "Unauthorized",
            )
            .await;
        }
    }
    for place in [
        TokenPlace::Query,
        TokenPlace::Subprotocol,
        TokenPlace::Header,
    ] {
        let (mut wire, answer) = connect_with(&cluster, place, &forged("ada")).await;
        assert_eq!(answer["data"]["code"], "unauthorized", "{place:?}");
        let farewell = close_frame(1008, "Unauthorized", false);
        ends_with(&mut wire, &[farewell], 1008, "Unauthorized").await;
    }
    // A token over 8 KiB is refused before anything is decoded.
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": "x".repeat(8193)}});
    wire.send(&connect).await.unwrap();
    assert_eq!(next(&mut wire).await["data"]["code"], "invalid");
}

/// One code for every reason (S0-08); the text says that another token may help.
#[tokio::test]
async fn an_expired_token_is_unauthorized_like_any_other_and_the_text_says_why() {
    let cluster = Cluster::memory(REQUIRED).await;
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": ending("ada", -60)}});
    wire.send(&connect).await.unwrap();
    let refusal = json!({"type": "ws:error", "data": {
        "code": "unauthorized", "message": "token: expired", "retryable": false}});
    let farewell = close_frame(1008, "Unauthorized", false);
    ends_with(&mut wire, &[refusal, farewell], 1008, "Unauthorized").await;
}

#[tokio::test]
async fn where_auth_is_optional_nobody_is_anonymous_and_a_bad_token_is_still_refused() {
    let settings = [
        ("auth.mode", "optional"),
        ("auth.hs256_secret", SECRET),
        ("auth.anonymous_subscribe", "public:*"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let mut nobody = Peer::connect(cluster.first(), Encoding::Json).await;
    assert_eq!(nobody.welcome["data"]["gateway"].get("user"), None);
    let topics = json!({"topics": ["public:news", "private"]});
    let result = nobody.done("topic:subscribe", topics).await;
    assert_eq!(result["topics"][0]["topic"], "public:news");
    assert_eq!(
        result["rejected"],
        json!([{"topic": "private", "code": "forbidden"}])
    );
    let answer = nobody.publish_as("p", "public:news", json!(1)).await;
    assert_eq!(answer["data"]["code"], "forbidden");
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": forged("ada")}});
    wire.send(&connect).await.unwrap();
    assert_eq!(next(&mut wire).await["data"]["code"], "unauthorized");
    let somebody = Peer::connect_as(cluster.first(), &everything("ada")).await;
    assert_eq!(somebody.welcome["data"]["gateway"]["user"], "ada");
}

#[tokio::test]
async fn a_refresh_extends_the_credential_and_drops_what_it_does_not_grant() {
    let cluster = Cluster::redis(REQUIRED).await;
    let mut peer = Peer::connect_as(cluster.first(), &token("ada", &["a:*", "b:*"], &["*"])).await;
    peer.subscribe(&["a:1", "b:1"]).await;
    let narrower = token("ada", &["a:*"], &["a:*"]);
    let result = peer.done("ws:refresh", json!({"token": narrower})).await;
    let expires_at = result["expires_at"].as_u64().unwrap();
    assert!(
        expires_at.abs_diff(now_ms() + 3_600_000) < 60_000,
        "{expires_at}"
    );
    assert_eq!(
        result,
        json!({"expires_at": expires_at, "dropped_topics": ["b:1"]})
    );
    let mut publisher = Peer::connect_as(cluster.second(), &everything("eve")).await;
    publisher.publish("b:1", json!("not for it")).await;
    let id = publisher.publish("a:1", json!("for it")).await;
    assert_eq!(peer.message().await["id"], json!(id));
    assert_eq!(
        peer.publish_as("p", "b:1", json!(1)).await["data"]["code"],
        "forbidden"
    );
    // Nothing is dropped: nothing is named.
    let result = peer.done("ws:refresh", json!({"token": narrower})).await;
    assert_eq!(result.as_object().unwrap().len(), 1, "{result}");
    // The narrower grants are those of the session, wherever it goes.
    let ticket = peer.cut();
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(again.welcome["data"]["dropped_topics"], json!([]));
    assert_eq!(
        again.publish_as("q", "b:1", json!(1)).await["data"]["code"],
        "forbidden"
    );
}

#[tokio::test]
async fn a_refresh_with_a_bad_token_or_of_somebody_else_changes_nothing() {
    let cluster = Cluster::memory(REQUIRED).await;
    let mut peer = Peer::connect_as(cluster.first(), &everything("ada")).await;
    peer.subscribe(&["kept"]).await;
    for (token, code) in [
        (json!(forged("ada")), "unauthorized"),
        (json!(ending("ada", -60)), "token_expired"),
        (json!(everything("eve")), "forbidden"),
        (json!(""), "unauthorized"),
        (json!(null), "invalid"),
        (json!(7), "invalid"),
        (json!("x".repeat(8193)), "invalid"),
    ] {
        assert_eq!(
            peer.refused("ws:refresh", json!({"token": token})).await,
            code,
            "{token}"
        );
    }
    let id = peer.publish("kept", json!(1)).await;
    assert_eq!(peer.message().await["id"], json!(id));
}

#[tokio::test]
async fn a_token_that_runs_out_is_told_and_then_closes_4010_unless_refreshed() {
    let settings = [
        REQUIRED,
        &[("session.expiry_grace", "1s"), ("auth.leeway", "0s")],
    ]
    .concat();
    let cluster = Cluster::memory(&settings).await;
    let mut idle = Peer::connect_as(cluster.first(), &ending("ada", 2)).await;
    let mut refreshed = Peer::connect_as(cluster.first(), &ending("eve", 2)).await;
    let told = json!({"type": "ws:error", "data": {
        "code": "token_expired",
        "message": "token: expired, refresh it",
        "retryable": false,
    }});
    assert_eq!(refreshed.next().await, told);
    let fresh = json!({"token": everything("eve")});
    refreshed.done("ws:refresh", fresh).await;
    let farewell = close_frame(4010, "token_expired", true);
    ends_with(&mut idle.wire, &[told, farewell], 4010, "token_expired").await;
    refreshed.hears_nothing().await;
}

/// Expired grants grant nothing: the topics are dropped and named, and the client may refresh.
#[tokio::test]
async fn a_resume_with_an_expired_token_drops_and_names_every_topic() {
    let settings = [
        REQUIRED,
        &[("session.expiry_grace", "5s"), ("auth.leeway", "0s")],
    ]
    .concat();
    let cluster = Cluster::redis(&settings).await;
    let mut peer = Peer::connect_as(cluster.first(), &ending("ada", 2)).await;
    peer.subscribe(&["mine"]).await;
    let ticket = peer.cut();
    crate::harness::time_passes(Duration::from_millis(2500)).await;
    let mut again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(again.welcome["data"]["dropped_topics"], json!(["mine"]));
    let told = again.wire.wait_for(FrameType::Error, SOON).await.unwrap();
    assert_eq!(told.field("code"), "token_expired");
    again
        .done("ws:refresh", json!({"token": everything("ada")}))
        .await;
    again.subscribe(&["mine"]).await;
    let id = again.publish("mine", json!(1)).await;
    assert_eq!(again.message().await["id"], json!(id));
}

#[tokio::test]
async fn tokens_never_reach_the_log() {
    let settings = [REQUIRED, &[("log.level", "debug")]].concat();
    let cluster = Cluster::memory(&settings).await;
    let good = everything("ada");
    let bad = forged("ada");
    for place in [
        TokenPlace::Query,
        TokenPlace::Subprotocol,
        TokenPlace::Header,
    ] {
        connect_with(&cluster, place, &good).await;
        connect_with(&cluster, place, &bad).await;
    }
    let mut peer = Peer::connect_as(cluster.first(), &good).await;
    let heartbeat = peer.ticket.token.clone();
    peer.done("ws:refresh", json!({"token": good})).await;
    peer.refused("ws:refresh", json!({"token": bad})).await;
    let log = cluster.processes[0].log();
    assert!(!log.is_empty(), "a node at level debug says something");
    for secret in [&good, &bad, &heartbeat, SECRET] {
        assert!(!log.contains(secret), "the log holds {secret}");
        // Nor the part that makes it one.
        let signature = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "the log holds {signature}");
    }
}
