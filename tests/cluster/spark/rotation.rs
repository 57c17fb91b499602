//! Heartbeat tokens change, and nobody is locked out by it.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::{Cluster, ENCODINGS};
use crate::harness::peer::{Peer, Ticket, next, open};
use crate::harness::{SOON, time_passes, until_true};

const ROTATING: &[(&str, &str)] = &[("session.token_rotation", "1s")];

async fn heartbeat(peer: &mut Peer, token: &str) -> Value {
    peer.ask("ws:heartbeat", json!({"heartbeat_token": token}))
        .await
}

/// Heartbeats until a new token is offered: the frame's id and the token.
async fn rotated(peer: &mut Peer) -> (String, String) {
    time_passes(Duration::from_millis(1100)).await;
    let token = peer.ticket.token.clone();
    let answer = heartbeat(peer, &token).await;
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (id, new) = (text(&answer["id"]), text(&answer["data"]["updated_token"]));
    assert!(id.starts_with('c'), "{id}");
    assert_ne!(new, token);
    let expected = json!({"type": "ws:heartbeat_ack", "id": id,
        "data": {"updated_token": new, "updated_heartbeat_interval": null}});
    assert_eq!(answer, expected);
    (id, new)
}

/// The void of a token is written behind what is answered: a resume that comes in between is a use of
/// that token, and makes it valid for longer. In memory nothing is waited for.
async fn is_written(cluster: &Cluster, ticket: &Ticket) {
    let Some(redis) = &cluster.redis else { return };
    until_true("the newest token is the only one", SOON, || {
        redis.is_rotated(&ticket.session)
    })
    .await;
}

async fn can_resume(cluster: &Cluster, ticket: &Ticket) -> bool {
    let mut wire = open(cluster.second(), Encoding::Json).await;
    wire.send(&json!({"type": "ws:resume", "data": ticket.data()}))
        .await
        .unwrap();
    let answer = next(&mut wire).await;
    match answer["type"].as_str() {
        Some("ws:resume_ack") => true,
        Some("ws:resume_failed") => {
            assert_eq!(answer["data"], json!({"reason": "not_resumable"}));
            false
        }
        _ => panic!("unexpected {answer}"),
    }
}

#[tokio::test]
async fn a_rotated_token_is_the_only_valid_one_once_its_frame_is_acked() {
    let cluster = Cluster::redis(ROTATING).await;
    for encoding in ENCODINGS {
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        let old = peer.ticket.token.clone();
        let (id, new) = rotated(&mut peer).await;
        // Not acked: the old one is valid, and the same new one is offered again.
        let again = heartbeat(&mut peer, &old).await;
        assert_eq!(again["data"]["updated_token"], json!(new));
        peer.wire
            .send(&json!({"type": "ws:ack", "data": {"ackId": id}}))
            .await
            .unwrap();
        let refused = heartbeat(&mut peer, &old).await;
        assert_eq!(refused["data"]["code"], "bad_heartbeat_token");
        let fine = heartbeat(&mut peer, &new).await;
        assert_eq!(fine, json!({"type": "ws:heartbeat_ack", "data": {}}));
        // The same holds for a resume elsewhere, once the rotation is written.
        is_written(&cluster, &peer.ticket).await;
        let ticket = peer.cut();
        let stale = Ticket {
            token: old,
            ..ticket.clone()
        };
        assert!(!can_resume(&cluster, &stale).await);
        assert!(
            can_resume(
                &cluster,
                &Ticket {
                    token: new,
                    ..ticket
                }
            )
            .await
        );
    }
}

#[tokio::test]
async fn the_first_use_of_a_rotated_token_voids_the_one_before() {
    let cluster = Cluster::redis(ROTATING).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    let old = peer.ticket.token.clone();
    let (_, new) = rotated(&mut peer).await;
    let fine = heartbeat(&mut peer, &new).await;
    assert_eq!(fine["data"], json!({}));
    let refused = heartbeat(&mut peer, &old).await;
    assert_eq!(refused["data"]["code"], "bad_heartbeat_token");
}

#[tokio::test]
async fn a_client_that_dies_before_it_reads_the_new_token_is_not_locked_out() {
    let cluster = Cluster::redis(ROTATING).await;
    let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
    rotated(&mut peer).await;
    // It never read that frame, and comes back with what it has.
    let ticket = peer.cut();
    assert!(can_resume(&cluster, &ticket).await);
}

everywhere! {
    async fn a_resume_rotates_the_token_and_the_former_works_until_the_new_one_is_used(
        place: &Place<'_>
    ) {
        let first = Peer::connect(place.first(), place.encoding).await.cut();
        let second = Peer::resume(place.second(), place.encoding, &first).await;
        assert_ne!(second.ticket.token, first.token);
        // The answer was lost: the same token again.
        drop(second);
        let mut third = Peer::resume(place.second(), place.encoding, &first).await;
        // The frame that carried the new one is acked: now the first one is void.
        let id = third.welcome["id"].clone();
        third.wire.send(&json!({"type": "ws:ack", "data": {"ackId": id}})).await.unwrap();
        assert_eq!(third.next().await["type"], "ws:replay_done");
        let refused = heartbeat(&mut third, &first.token).await;
        assert_eq!(refused["data"]["code"], "bad_heartbeat_token");
        let fine = third.ticket.token.clone();
        assert_eq!(heartbeat(&mut third, &fine).await["type"], "ws:heartbeat_ack");
        is_written(place.cluster, &third.ticket).await;
        let ticket = third.cut();
        let mut wire = open(place.first(), place.encoding).await;
        let stale = Ticket { token: first.token.clone(), ..ticket.clone() };
        wire.send(&json!({"type": "ws:resume", "data": stale.data()})).await.unwrap();
        assert_eq!(next(&mut wire).await["type"], "ws:resume_failed");
        let last = Peer::resume(place.first(), place.encoding, &ticket).await;
        assert_eq!(last.ticket.session, first.session);
    }

    async fn an_ack_of_another_control_frame_does_not_void_a_token(place: &Place<'_>) {
        let first = Peer::connect(place.first(), place.encoding).await.cut();
        let mut peer = Peer::resume(place.second(), place.encoding, &first).await;
        assert_eq!(peer.next().await["type"], "ws:replay_done");
        for foreign in ["c0", "c99", "c", "cx", "c-1"] {
            let ack = json!({"type": "ws:ack", "data": {"ackId": foreign}});
            peer.wire.send(&ack).await.unwrap();
        }
        // Still unconfirmed: the first token works, and the new one is offered once more.
        let answer = heartbeat(&mut peer, &first.token).await;
        assert_eq!(answer["data"]["updated_token"], json!(peer.ticket.token));
    }
}
