//! A node is told to leave.

use std::time::Duration;

use serde_json::json;
use sparkway_client::{Encoding, FrameType};

use crate::chaos::judge;
use crate::harness::cluster::Cluster;
use crate::harness::crowd::{Crowd, Size};
use crate::harness::history::Step;
use crate::harness::peer::{Peer, close_frame, last_words};
use crate::harness::{SOON, http, time_passes, until};

/// A drain that is over soon.
const QUICK: &[(&str, &str)] = &[
    ("drain.readiness_delay", "300ms"),
    ("drain.duration", "2s"),
    ("drain.max_rate", "500"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_moves_every_session_in_its_turn_without_loss_and_exits_0() {
    let mut cluster = Cluster::redis(QUICK).await;
    let size = Size {
        sessions: 120,
        topics: 30,
        ..Size::FULL
    };
    let mut crowd = Crowd::gather(&cluster, size).await;
    crowd.publish(&cluster, size).await;
    crowd.all_saw(5).await;
    cluster.processes[0].signal("TERM");
    // Readiness delay, duration, and a moment for the last close handshakes.
    let status = cluster.processes[0].ended(Duration::from_secs(8)).await;
    assert_eq!(status.code(), Some(0));
    for (at, member) in crowd.members.iter().enumerate() {
        if (at / 2).is_multiple_of(2) {
            member.resumed(1).await;
        }
        member.saw(member.count() + 5).await;
    }
    let history = crowd.finish(cluster.second()).await;
    judge(&history, size.sessions * 10);
    let mut delays = Vec::new();
    for (at, session) in history.sessions.iter().enumerate() {
        let told = session.steps.iter().filter_map(|step| match step {
            Step::Drain { reconnect_after } => Some(*reconnect_after),
            _ => None,
        });
        let told: Vec<u64> = told.collect();
        let on_first = (at / 2).is_multiple_of(2);
        assert_eq!(
            (told.len(), session.resumes()),
            if on_first { (1, 1) } else { (0, 0) }
        );
        delays.extend(told);
    }
    delays.sort_unstable();
    eprintln!("told to leave after {delays:?} ms");
    delays.dedup();
    // 60 sessions over 2 s: one every 33 ms.
    assert!(delays.len() >= 50, "everybody at once: {delays:?}");
    assert!(
        *delays.last().unwrap() >= 1500 && *delays.last().unwrap() <= 2000,
        "{delays:?}"
    );
}

#[tokio::test]
async fn sigterm_turns_readyz_503_before_the_node_stops_accepting() {
    let settings = [
        ("drain.readiness_delay", "1500ms"),
        ("drain.duration", "1s"),
    ];
    let mut cluster = Cluster::redis(&settings).await;
    let internal = cluster.processes[0].internal[0];
    let mut early = Peer::connect(cluster.first(), Encoding::Json).await;
    cluster.processes[0].signal("TERM");
    until_status(internal, "/readyz", 503).await;
    assert_eq!(http::status(internal, "/healthz").await, Some(200));
    let mut late = Peer::connect(cluster.first(), Encoding::Json).await;
    for peer in [&mut early, &mut late] {
        peer.is_alive().await;
    }
    // Then it refuses: 503, or nobody listens any more.
    let port = cluster.port();
    until("the node stops accepting", SOON, || async {
        let refused = match tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            Err(_) => true,
            Ok(_) => http::ask(port, http::UPGRADE)
                .await
                .is_none_or(|answer| answer.status == 503),
        };
        refused.then_some(())
    })
    .await;
    assert_eq!(cluster.processes[0].ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn who_does_not_obey_the_drain_is_closed_1012_and_resumes_elsewhere() {
    let mut cluster = Cluster::redis(QUICK).await;
    let mut peers = Vec::new();
    for at in 0..6 {
        let encoding = if at % 2 == 0 {
            Encoding::Json
        } else {
            Encoding::MsgPack
        };
        let mut peer = Peer::connect(cluster.first(), encoding).await;
        peer.subscribe(&["drained"]).await;
        peers.push((peer, encoding));
    }
    let mut publisher = Peer::connect(cluster.second(), Encoding::Json).await;
    cluster.processes[0].signal("TERM");
    for (mut peer, encoding) in peers {
        let drain = peer.wire.wait_for(FrameType::Drain, SOON).await.unwrap();
        let after = drain.field("reconnect_after");
        assert!(after.is_u64());
        assert_eq!(
            drain.data(),
            json!({"reconnect_after": after, "resume": true})
        );
        let (frames, closed) = last_words(&mut peer.wire).await;
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (Some(1012), "Service restart")
        );
        assert_eq!(
            frames.last(),
            Some(&close_frame(1012, "Service restart", true))
        );
        let missed = publisher.publish("drained", json!("while away")).await;
        let seen = frames
            .iter()
            .rev()
            .find(|frame| frame["type"] == "topic:message");
        if let Some(seen) = seen {
            peer.ticket.last = seen["id"].clone();
        }
        let mut again = Peer::resume(cluster.second(), encoding, &peer.ticket).await;
        assert_eq!(again.welcome["data"]["gaps"], json!([]));
        while again.message().await["id"] != json!(missed) {}
    }
    assert_eq!(cluster.processes[0].ended(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let settings = [("drain.readiness_delay", "0s"), ("drain.duration", "60s")];
    let mut cluster = Cluster::redis(&settings).await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = Peer::connect(cluster.first(), Encoding::Json).await;
        peer.subscribe(&["left"]).await;
        peers.push(peer);
    }
    let internal = cluster.processes[0].internal[0];
    cluster.processes[0].signal("TERM");
    until_status(internal, "/readyz", 503).await;
    // It is draining, slowly.
    time_passes(Duration::from_millis(300)).await;
    assert_eq!(http::status(internal, "/healthz").await, Some(200));
    cluster.processes[0].signal("TERM");
    let status = cluster.processes[0].ended(Duration::from_secs(3)).await;
    assert_eq!(status.code(), Some(0), "{status}");
    let ticket = peers.pop().unwrap().cut();
    let again = Peer::resume(cluster.second(), Encoding::Json, &ticket).await;
    assert_eq!(again.ticket.session, ticket.session);
}

async fn until_status(port: u16, path: &str, wanted: u16) {
    until("the status changes", SOON, || async {
        (http::status(port, path).await == Some(wanted)).then_some(())
    })
    .await;
}
