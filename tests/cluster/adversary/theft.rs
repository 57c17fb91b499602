//! Sessions and tokens in the wrong hands.

use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, Ticket, next, open};
use crate::harness::{SOON, tokens, until_true};

/// The answer to a resume.
async fn try_resume(url: &str, ticket: &Ticket) -> Value {
    let mut wire = open(url, Encoding::Json).await;
    let data = json!({
        "session_id": ticket.session,
        "heartbeat_token": ticket.token,
        "last_message_id": ticket.last,
    });
    wire.send(&json!({"type": "ws:resume", "data": data}))
        .await
        .unwrap();
    next(&mut wire).await
}

fn is_refused(answer: &Value) -> bool {
    answer["type"] == "ws:resume_failed" && answer["data"]["reason"] == "not_resumable"
}

#[tokio::test]
async fn a_stolen_session_id_is_worth_nothing_without_its_token() {
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", tokens::SECRET),
    ];
    let cluster = Cluster::redis(&settings).await;
    let mut victim =
        Peer::connect_as(cluster.first(), &tokens::token("victim", &["*"], &["*"])).await;
    victim.subscribe(&["private"]).await;
    let thief = Peer::connect_as(cluster.first(), &tokens::token("thief", &["*"], &["*"])).await;
    // With the thief's own genuine token, with a token that never was, and with none at all.
    for token in [
        thief.ticket.token.as_str(),
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "",
    ] {
        for url in [cluster.first(), cluster.second()] {
            let stolen = Ticket {
                session: victim.ticket.session.clone(),
                token: token.to_owned(),
                last: victim.ticket.last.clone(),
            };
            let answer = try_resume(url, &stolen).await;
            let refused = is_refused(&answer) || answer["type"] == "ws:error";
            assert!(refused, "{token:?}: {answer}");
        }
    }
    // The victim never noticed, and its own token is still good.
    let id = victim.publish("private", json!("mine")).await;
    victim.saw(&id).await;
    let ticket = victim.cut();
    Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
}

#[tokio::test]
async fn guessed_tokens_never_hit_and_cost_the_victim_nothing() {
    let cluster = Cluster::memory(&[]).await;
    let mut victim = Peer::connect(cluster.first(), Encoding::Json).await;
    let genuine = victim.ticket.token.clone();
    // Each character of the genuine one changed, and it cut short and drawn out.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut guesses: Vec<String> = (0..genuine.len())
        .map(|at| {
            let mut guess = genuine.clone().into_bytes();
            let now = alphabet
                .iter()
                .position(|symbol| *symbol == guess[at])
                .unwrap_or(0);
            guess[at] = alphabet[(now + 32) % 64];
            String::from_utf8(guess).unwrap()
        })
        .collect();
    guesses.extend([
        genuine.chars().skip(1).collect(),
        format!("{genuine}A"),
        format!("{genuine}="),
    ]);
    for guess in guesses {
        let ticket = Ticket {
            token: guess.clone(),
            ..victim.ticket.clone()
        };
        let answer = try_resume(cluster.first(), &ticket).await;
        assert!(is_refused(&answer), "{guess}: {answer}");
    }
    victim.is_alive().await;
    let beat = victim
        .ask("ws:heartbeat", json!({"heartbeat_token": genuine}))
        .await;
    assert_eq!(beat["type"], "ws:heartbeat_ack", "{beat}");
}

#[tokio::test]
async fn a_token_that_was_rotated_out_or_is_of_another_session_is_replayed_in_vain() {
    let cluster = Cluster::redis(&[]).await;
    let first = Peer::connect(cluster.first(), Encoding::Json).await;
    let old = first.ticket.clone();
    let mut second = Peer::resume(cluster.second(), Encoding::Json, &first.cut()).await;
    assert_ne!(second.ticket.token, old.token);
    // Its first use voids the one before.
    let beat = json!({"heartbeat_token": second.ticket.token});
    assert_eq!(
        second.ask("ws:heartbeat", beat).await["type"],
        "ws:heartbeat_ack"
    );
    // The beat is answered before its write is done: other nodes learn of it a moment later.
    let redis = cluster.redis.as_ref().unwrap();
    until_true("the use is recorded", SOON, || {
        redis.is_rotated(&second.ticket.session)
    })
    .await;
    let answer = try_resume(cluster.first(), &old).await;
    assert!(is_refused(&answer), "{answer}");
    let other = Peer::connect(cluster.first(), Encoding::Json).await;
    let foreign = Ticket {
        token: other.ticket.token.clone(),
        ..second.ticket.clone()
    };
    assert!(is_refused(&try_resume(cluster.first(), &foreign).await));
    second.is_alive().await;
}

/// Two who hold the same session take it from each other without end: both are slowed down, others
/// notice nothing, and nothing is lost.
#[tokio::test]
async fn two_that_take_a_session_from_each_other_are_slowed_down() {
    let cluster = Cluster::redis(&[]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    peer.subscribe(&["fought-over"]).await;
    let mut ticket = peer.ticket.clone();
    let mut slowed = false;
    let mut held = vec![peer];
    for _ in 0..120 {
        let mut wire = open(cluster.first(), Encoding::Json).await;
        let data = json!({
            "session_id": ticket.session,
            "heartbeat_token": ticket.token,
            "last_message_id": ticket.last,
        });
        wire.send(&json!({"type": "ws:resume", "data": data}))
            .await
            .unwrap();
        let answer = next(&mut wire).await;
        if answer["type"] == "ws:resume_failed" {
            assert_eq!(answer["data"]["reason"], "unavailable", "{answer}");
            slowed = true;
            break;
        }
        ticket = Ticket {
            last: ticket.last.clone(),
            ..Ticket::of(&answer)
        };
        held.push(Peer::taken(wire, ticket.clone()));
    }
    assert!(slowed, "120 takeovers in a row were let through");
    let series = "sparkway_rate_limited_total{scope=\"takeovers\"}";
    assert!(cluster.processes[0].metric(series).await >= 1);
    // The last owner still has the session.
    held.pop().expect("an owner").is_alive().await;
    bystander.noticed_nothing().await;
}
