//! Tokens that are revoked on one node and count nowhere any more.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sparkway_client::Encoding;
use sparkway_gateway::Revoked;
use sparkway_protocol::UserId;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::cluster::Cluster;
use crate::harness::node::Process;
use crate::harness::operator::Operator;
use crate::harness::peer::{Peer, close_frame, ends_with, next, open};
use crate::harness::tokens::{SECRET, named};
use crate::harness::{SOON, until};

const REQUIRED: &[(&str, &str)] = &[("auth.mode", "required"), ("auth.hs256_secret", SECRET)];

fn ada() -> Revoked {
    Revoked::User(UserId::parse("ada").unwrap())
}

/// The first answer to a connect.
async fn connecting(url: &str, token: &str) -> Value {
    let mut wire = open(url, Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "data": {"token": token}});
    wire.send(&connect).await.unwrap();
    next(&mut wire).await
}

async fn is_out(peer: &mut Peer) {
    let farewell = close_frame(1008, "Unauthorized", false);
    ends_with(&mut peer.wire, &[farewell], 1008, "Unauthorized").await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions_on_every_node_in_under_a_second() {
    let cluster = Cluster::redis(REQUIRED).await;
    let operator = Operator::start(cluster.redis.as_ref().unwrap()).await;
    let stolen = named("ada", "stolen", 10);
    let mut here = Peer::connect_as(cluster.first(), &stolen).await;
    let mut there = Peer::connect_as(cluster.second(), &stolen).await;
    let away = Peer::connect_as(cluster.first(), &stolen).await.cut();
    let mut other = Peer::connect_as(cluster.second(), &named("ada", "another", 10)).await;
    let began = Instant::now();
    operator.revoke(Revoked::Token("stolen".into())).await;
    is_out(&mut here).await;
    is_out(&mut there).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    for url in [cluster.first(), cluster.second()] {
        let answer = connecting(url, &stolen).await;
        assert_eq!(answer["data"]["code"], "unauthorized", "{answer}");
        let mut wire = open(url, Encoding::Json).await;
        let resume = json!({"type": "ws:resume", "data": away.data()});
        wire.send(&resume).await.unwrap();
        let answer = next(&mut wire).await;
        assert_eq!(answer["type"], "ws:resume_failed", "{answer}");
        assert_eq!(answer["data"]["reason"], "not_resumable");
    }
    // Nor by a refresh of a session that began with another token.
    let code = other.refused("ws:refresh", json!({"token": stolen})).await;
    assert_eq!(code, "unauthorized");
    other.is_alive().await;
}

#[tokio::test]
async fn a_revoked_user_comes_back_only_with_a_token_that_was_issued_afterwards() {
    let cluster = Cluster::redis(REQUIRED).await;
    let operator = Operator::start(cluster.redis.as_ref().unwrap()).await;
    let old = named("ada", "old", 10);
    let mut ada_here = Peer::connect_as(cluster.first(), &old).await;
    let mut eve = Peer::connect_as(cluster.first(), &named("eve", "hers", 10)).await;
    operator.revoke(ada()).await;
    is_out(&mut ada_here).await;
    let refused = until("the other node knows", SOON, async || {
        let answer = connecting(cluster.second(), &old).await;
        (answer["data"]["code"] == "unauthorized").then_some(())
    });
    refused.await;
    // Times of issue are whole seconds: one of this second may be older than the revocation.
    let back = until("a newer token is good", SOON, async || {
        let answer = connecting(cluster.second(), &named("ada", "new", 0)).await;
        (answer["type"] == "ws:connect_ack").then_some(())
    });
    back.await;
    eve.is_alive().await;
}

/// A conversation that has begun, with the token in the query.
async fn conversing(port: u16, token: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://127.0.0.1:{port}/ws/conversation?token={token}");
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut wire, _) = client_async(url, stream).await.unwrap();
    let connect = json!({"type": "connect", "clientId": "web-1",
        "timestamp": "2026-01-01T00:00:00Z", "version": "1.0"});
    wire.send(Message::text(connect.to_string())).await.unwrap();
    wire
}

/// What the gateway says next: a text, or the code with which it closes.
async fn heard(wire: &mut WebSocketStream<TcpStream>) -> Result<Value, u16> {
    loop {
        let next = tokio::time::timeout(SOON, wire.next()).await.unwrap();
        match next.unwrap().unwrap() {
            Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
            Message::Close(Some(frame)) => return Err(frame.code.into()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_revoked_token_ends_a_conversation_too_and_a_newer_one_begins_another() {
    let cluster = Cluster::redis(REQUIRED).await;
    let operator = Operator::start(cluster.redis.as_ref().unwrap()).await;
    let mut wire = conversing(cluster.port(), &named("ada", "stolen", 10)).await;
    assert_eq!(heard(&mut wire).await.unwrap()["type"], "connect_confirm");
    operator.revoke(Revoked::Token("stolen".into())).await;
    assert_eq!(heard(&mut wire).await, Err(1008));
    operator.revoke(ada()).await;
    until("a newer token is good", SOON, async || {
        let mut wire = conversing(cluster.port(), &named("ada", "new", 0)).await;
        let answer = heard(&mut wire).await.ok()?;
        // Issued in the second of the revocation, it may be older.
        (answer["type"] == "connect_confirm").then_some(())?;
        // It stays: what came after the revocation is not covered by it.
        let ping = json!({"type": "ping", "timestamp": "2026-01-01T00:00:00Z"});
        wire.send(Message::text(ping.to_string())).await.unwrap();
        heard(&mut wire).await.ok()
    })
    .await;
}

#[tokio::test]
async fn everything_issued_before_a_time_can_be_revoked_at_once() {
    let cluster = Cluster::redis(REQUIRED).await;
    let operator = Operator::start(cluster.redis.as_ref().unwrap()).await;
    let mut peers = Vec::new();
    for (at, user) in ["ada", "eve"].into_iter().enumerate() {
        let url = &cluster.urls_for(at)[0];
        peers.push(Peer::connect_as(url, &named(user, "any", 10)).await);
    }
    operator.revoke(Revoked::Everyone).await;
    for peer in &mut peers {
        is_out(peer).await;
    }
}

#[tokio::test]
async fn a_node_that_starts_later_and_a_store_that_lost_it_all_know_a_revocation() {
    let mut cluster = Cluster::redis(REQUIRED).await;
    let operator = Operator::start(cluster.redis.as_ref().unwrap()).await;
    let old = named("ada", "old", 10);
    operator.revoke(ada()).await;
    let url = cluster.redis.as_ref().unwrap().url();
    let settings = [REQUIRED, &[("store.url", url.as_str())]].concat();
    let late = Process::serve("node-c", &settings).await;
    let answer = connecting(&late.url(0), &old).await;
    assert_eq!(answer["data"]["code"], "unauthorized", "{answer}");
    // The store comes back empty; the nodes that know tell it, and it tells who comes later.
    let redis = cluster.redis.as_mut().unwrap();
    redis.restart().await;
    until("the store knows it again", 3 * SOON, async || {
        let kept = cluster
            .redis
            .as_ref()
            .unwrap()
            .cli(&["ZCARD", "sw:revoked"]);
        (kept.trim() == "1").then_some(())
    })
    .await;
    let later = Process::serve("node-d", &settings).await;
    let answer = connecting(&later.url(0), &old).await;
    assert_eq!(answer["data"]["code"], "unauthorized", "{answer}");
}
