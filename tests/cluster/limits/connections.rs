//! How many come in, and how fast.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::limited;
use crate::harness::bystander::Bystander;
use crate::harness::cluster::Cluster;
use crate::harness::http::{self, UPGRADE, ask, upgrade};
use crate::harness::peer::{Peer, close_frame, code_of, last_words, next, open};
use crate::harness::{SOON, tokens, until};

/// An upgraded connection that says nothing more.
async fn idle(port: u16, more: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(upgrade(more).as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    let read = tokio::time::timeout(SOON, stream.read(&mut head)).await;
    let read = read.expect("an answer").expect("an answer");
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let status = head.split(' ').nth(1).expect("a status").parse();
    (status.expect("a status"), stream)
}

#[tokio::test]
async fn connections_beyond_those_of_the_node_are_answered_503_and_find_room_later() {
    let cluster = Cluster::memory(&[("limits.connections", "3")]).await;
    let (port, node) = (cluster.port(), &cluster.processes[0]);
    assert_eq!(node.metric("sparkway_connection_limit").await, 3);
    let mut open = Vec::new();
    for _ in 0..3 {
        let (status, stream) = idle(port, "").await;
        assert_eq!(status, 101);
        open.push(stream);
    }
    let answer = ask(port, UPGRADE).await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{}", answer.head);
    assert_eq!(limited(node, "connections").await, 1);
    // Whoever does not want a connection is served.
    assert_eq!(http::status(port, "/healthz").await, Some(200));
    drop(open.pop());
    until("there is room again", SOON, async || {
        let (status, stream) = idle(port, "").await;
        (status == 101).then_some(stream)
    })
    .await;
}

#[tokio::test]
async fn connections_of_an_address_are_limited_and_only_a_trusted_proxy_names_it() {
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let two = ("limits.connections_per_address", "2");
    let trusting = Cluster::memory(&[two, ("server.trusted_proxies", "127.0.0.0/8")]).await;
    let port = trusting.port();
    let first = idle(port, &from("203.0.113.1")).await;
    let second = idle(port, &from("203.0.113.1")).await;
    assert_eq!((first.0, second.0), (101, 101));
    // What a client writes itself stands further left and does not help it.
    for spoofed in [
        "203.0.113.1",
        "198.51.100.7, 203.0.113.1",
        "127.0.0.1, 198.51.100.7, 203.0.113.1",
    ] {
        let answer = ask(port, upgrade(&from(spoofed))).await.unwrap();
        assert_eq!(answer.status, 429, "{spoofed}");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(
        limited(&trusting.processes[0], "address_connections").await,
        3
    );
    let other = idle(port, &from("203.0.113.2")).await;
    assert_eq!(other.0, 101);
    let many_hops = vec!["127.0.0.9"; 50].join(", ");
    let (status, _hops) = idle(port, &from(&many_hops)).await;
    assert_eq!(status, 101);
    drop(first);
    until("there is room again", SOON, async || {
        let (status, stream) = idle(port, &from("203.0.113.1")).await;
        (status == 101).then_some(stream)
    })
    .await;

    // Where nobody is trusted all of these are one client.
    let plain = Cluster::memory(&[two]).await;
    let _held = (
        idle(plain.port(), &from("203.0.113.1")).await,
        idle(plain.port(), &from("203.0.113.2")).await,
    );
    let answer = ask(plain.port(), upgrade(&from("203.0.113.3"))).await;
    assert_eq!(answer.unwrap().status, 429);
}

#[tokio::test]
async fn connections_of_a_user_are_limited_and_a_further_one_is_told() {
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", tokens::SECRET),
        ("limits.connections_per_user", "1"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let token = tokens::token("alice", &["*"], &["*"]);
    let first = Peer::connect_as(cluster.first(), &token).await;
    let mut second = open(cluster.first(), Encoding::Json).await;
    let connect = json!({"type": "ws:connect", "id": "c", "data": {"token": token}});
    second.send(&connect).await.unwrap();
    let refusal = next(&mut second).await;
    assert_eq!(code_of(&refusal), "limit_exceeded");
    assert_eq!(refusal["data"]["ackId"], "c");
    let (frames, closed) = last_words(&mut second).await;
    assert_eq!(closed.code, Some(1013));
    assert_eq!(frames, [close_frame(1013, "Try again later", false)]);
    assert_eq!(limited(&cluster.processes[0], "user_connections").await, 1);
    // Others, and the same session on a new connection, come in.
    Peer::connect_as(cluster.first(), &tokens::token("bob", &[], &[])).await;
    Peer::resume(cluster.first(), Encoding::Json, &first.ticket).await;
}

#[tokio::test]
async fn sessions_that_wait_to_be_resumed_are_no_way_around_the_limit_of_a_user() {
    let settings = [
        ("auth.mode", "required"),
        ("auth.hs256_secret", tokens::SECRET),
        ("limits.connections_per_user", "1"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let token = tokens::token("alice", &["*"], &["*"]);
    let waiting = Peer::connect_as(cluster.first(), &token).await.cut();
    let _present = until("the first has left its place", SOON, async || {
        let mut wire = open(cluster.first(), Encoding::Json).await;
        let connect = json!({"type": "ws:connect", "data": {"token": token}});
        wire.send(&connect).await.unwrap();
        let answer = next(&mut wire).await;
        (answer["type"] == "ws:connect_ack").then_some(wire)
    })
    .await;
    // Attempts before the place was free were refused as well.
    let before = limited(&cluster.processes[0], "user_connections").await;
    let mut wire = open(cluster.first(), Encoding::Json).await;
    let resume = json!({"type": "ws:resume", "id": "r", "data": waiting.data()});
    wire.send(&resume).await.unwrap();
    let refusal = next(&mut wire).await;
    assert_eq!(refusal["type"], "ws:resume_failed", "{refusal}");
    assert_eq!(refusal["data"]["reason"], "unavailable");
    let after = limited(&cluster.processes[0], "user_connections").await;
    assert_eq!(after, before + 1);
}

#[tokio::test]
async fn handshakes_have_a_rate_per_node_and_per_address() {
    let cluster = Cluster::memory(&[
        ("limits.handshakes_per_second", "20"),
        ("limits.handshakes_per_address", "5"),
        ("server.trusted_proxies", "127.0.0.1"),
    ])
    .await;
    let port = cluster.port();
    let ask_from = async |address: &str| {
        let request = upgrade(&format!("X-Forwarded-For: {address}\r\n"));
        ask(port, request).await.unwrap()
    };
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(ask_from("203.0.113.1").await.status);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert!((1..=7).contains(&refused), "{statuses:?}");
    let mut statuses = Vec::new();
    for number in 0..60 {
        let answer = ask_from(&format!("198.51.100.{number}")).await;
        if answer.status == 503 {
            assert!(answer.header("retry-after").is_some());
        }
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(!statuses.contains(&429), "{statuses:?}");
    let node = &cluster.processes[0];
    assert!(limited(node, "handshakes").await > 0);
    assert!(limited(node, "address_handshakes").await > 0);
}

/// What becomes of handshakes that come all at once.
async fn all_at_once(port: u16, count: usize) -> Vec<Option<u16>> {
    let tries = (0..count).map(async |_| ask(port, UPGRADE).await.map(|answer| answer.status));
    futures_util::future::join_all(tries).await
}

#[tokio::test]
async fn twice_the_rate_of_handshakes_is_answered_and_the_rest_is_closed_unread() {
    let cluster = Cluster::memory(&[("limits.handshakes_per_address", "5")]).await;
    let node = &cluster.processes[0];
    let began = tokio::time::Instant::now();
    let answers = all_at_once(cluster.port(), 200).await;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let of = |status| answers.iter().filter(|answer| **answer == status).count();
    // Five, and as many per second while they came; twice as many are heard.
    let most = 5 * (1 + seconds);
    assert!((5..=most).contains(&of(Some(101))), "{answers:?}");
    let heard = of(Some(101)) + of(Some(429));
    assert!((10..=2 * most).contains(&heard), "{answers:?}");
    assert_eq!(heard + of(None), 200, "{answers:?}");
    let counted = limited(node, "address_handshakes").await;
    assert_eq!(usize::try_from(counted).unwrap(), 200 - of(Some(101)));
    until("whoever waits a moment comes in", SOON, async || {
        let answer = ask(cluster.port(), UPGRADE).await?;
        (answer.status == 101).then_some(())
    })
    .await;
    // A proxy stands for many: those behind it are told apart by their heads, and all answered.
    let settings = [
        ("limits.handshakes_per_address", "5"),
        ("server.trusted_proxies", "127.0.0.1"),
    ];
    let cluster = Cluster::memory(&settings).await;
    let answers = all_at_once(cluster.port(), 100).await;
    assert!(!answers.contains(&None), "{answers:?}");
}

#[tokio::test]
async fn the_deadline_of_handshakes_is_the_configured_one() {
    let cluster = Cluster::memory(&[("limits.handshake_timeout", "300ms")]).await;
    let began = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.port()))
        .await
        .unwrap();
    stream.write_all(b"GET /ws HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("closed");
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_millis(250), "{lasted:?}");
    assert!(lasted < Duration::from_secs(4), "{lasted:?}");
    let series = "sparkway_handshakes_total{result=\"timeout\"}";
    assert_eq!(cluster.processes[0].metric(series).await, 1);
}

/// Thousands that begin a handshake and never end it take up all places there are for those that
/// are not upgraded yet; whoever is honest comes in all the same, without waiting for a deadline.
#[tokio::test]
async fn slow_handshakes_give_way_to_honest_ones() {
    let node = "limits.handshake_timeout";
    let cluster = Cluster::memory(&[(node, "60s")]).await;
    let bystander = Bystander::at(cluster.first()).await;
    let port = cluster.port();
    let mut slow = Vec::new();
    for number in 0..3000_usize {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let half = &UPGRADE.as_bytes()[..number % 100];
        let _ = stream.write_all(half).await;
        slow.push(stream);
        if number % 200 == 199 {
            Peer::connect(cluster.first(), Encoding::Json).await;
        }
    }
    assert!(limited(&cluster.processes[0], "slow_handshakes").await > 100);
    bystander.noticed_nothing().await;
}
