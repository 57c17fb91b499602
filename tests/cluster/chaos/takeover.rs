//! A session is claimed while its old connection is still there: one owner at any time.

use serde_json::json;
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::SOON;
use crate::harness::cluster::Cluster;
use crate::harness::peer::{Peer, close_frame, ends_with, last_words, open};

everywhere! {
    async fn a_resume_closes_the_older_socket_with_4009(place: &Place<'_>) {
        let topic = place.topic("takeover");
        let mut old = Peer::connect(place.first(), place.encoding).await;
        old.subscribe(&[&topic]).await;
        let mut new = Peer::resume(place.second(), place.encoding, &old.ticket).await;
        let farewell = close_frame(4009, "superseded", false);
        ends_with(&mut old.wire, &[farewell], 4009, "superseded").await;
        let id = new.publish(&topic, json!("still here")).await;
        assert_eq!(new.message().await["id"], json!(id));
    }

    async fn two_resumes_at_once_leave_one_owner(place: &Place<'_>) {
        let topic = place.topic("race");
        for round in 0..10 {
            let peer = Peer::connect(place.first(), place.encoding).await;
            let ticket = peer.cut();
            let mut first = open(place.first(), place.encoding).await;
            let mut second = open(place.second(), place.encoding).await;
            let resume = json!({"type": "ws:resume", "data": ticket.data()});
            let (one, two) = tokio::join!(first.send(&resume), second.send(&resume));
            one.and(two).unwrap();
            let publish = json!({"type": "topic:publish", "id": format!("p{round}"),
                "topic": topic, "data": round});
            // A loser may be closed before it can say anything.
            let _ = tokio::join!(first.send(&publish), second.send(&publish));
            let first_lost = tokio::select! {
                closed = first.wait_closed(SOON) => { closed.unwrap(); true }
                closed = second.wait_closed(SOON) => { closed.unwrap(); false }
            };
            let (loser, owner) =
                if first_lost { (&mut first, &mut second) } else { (&mut second, &mut first) };
            let closed = loser.wait_closed(SOON).await.unwrap();
            assert_eq!(closed.code, Some(4009), "round {round}");
            let ping = json!({"type": "ws:ping", "id": "alive"});
            owner.send(&ping).await.unwrap();
            owner.answer("alive", SOON).await.unwrap();
        }
        // However many connections said it: each publish had one id.
        let mut reader = Peer::connect(place.first(), place.encoding).await;
        let log = reader.log(&topic).await;
        let mut rounds: Vec<_> = log.iter().map(|(_, data)| data.as_u64().unwrap()).collect();
        rounds.dedup();
        assert_eq!(rounds.len(), log.len(), "{log:?}");
    }
}

/// The old node cannot be told: it is stopped. What its client sends meanwhile must not count.
#[tokio::test]
async fn a_fenced_connection_stores_nothing_and_extends_nothing() {
    let cluster = Cluster::redis(&[]).await;
    let mut old = Peer::connect(cluster.first(), Encoding::Json).await;
    old.subscribe(&["fenced"]).await;
    cluster.processes[0].signal("STOP");
    let late = old.send_publish("late", "fenced", json!("too late")).await;
    old.send("topic:subscribe", json!({"topics": ["another"]}))
        .await;
    let heartbeat = json!({"heartbeat_token": old.ticket.token});
    old.send("ws:heartbeat", heartbeat).await;
    let mut new = Peer::resume(cluster.second(), Encoding::Json, &old.ticket).await;
    cluster.processes[0].signal("CONT");
    let (frames, closed) = last_words(&mut old.wire).await;
    assert_eq!(
        (closed.code, closed.reason.as_str()),
        (Some(4009), "superseded")
    );
    assert_eq!(frames.last(), Some(&close_frame(4009, "superseded", false)));
    for frame in &frames {
        let is_stored = frame["type"] == "ws:ack" && frame["data"]["ackId"] == json!(late);
        assert!(!is_stored, "{frames:?}");
    }
    new.replayed().await;
    let id = new.publish("fenced", json!("in time")).await;
    assert_eq!(new.message().await["id"], json!(id));
    assert_eq!(new.log("fenced").await, [(id, json!("in time"))]);
    // The subscription of the fenced connection is none.
    new.publish("another", json!(1)).await;
    new.hears_nothing().await;
}

/// The socket is dead for the network, not for the node: the claim must end it all the same.
#[tokio::test]
async fn a_claim_ends_a_half_open_socket() {
    let cluster = Cluster::redis(&[]).await;
    let proxy = crate::harness::proxy::Proxy::to(cluster.port()).await;
    let mut old = Peer::connect(&proxy.url(), Encoding::Json).await;
    old.subscribe(&["half-open"]).await;
    proxy.pause();
    let mut publisher = Peer::connect(cluster.first(), Encoding::Json).await;
    let missed = publisher.publish("half-open", json!("missed")).await;
    old.send_publish("held", "half-open", json!("held back"))
        .await;
    let mut new = Peer::resume(cluster.second(), Encoding::Json, &old.ticket).await;
    assert_eq!(new.message().await["id"], json!(missed));
    proxy.go_on();
    let (frames, closed) = last_words(&mut old.wire).await;
    assert_eq!(closed.code, Some(4009), "{frames:?}");
    let id = new.publish("half-open", json!("alive")).await;
    assert_eq!(new.message().await["id"], json!(id));
    let log = new.log("half-open").await;
    assert_eq!(log, [(missed, json!("missed")), (id, json!("alive"))]);
}
