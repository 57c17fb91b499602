//! Who is in a topic: asked for, and told while it changes.

use std::time::Duration;

use serde_json::{Value, json};
use sparkway_client::Encoding;

use crate::everywhere;
use crate::harness::cluster::Cluster;
use crate::harness::http;
use crate::harness::peer::Peer;
use crate::harness::tokens::{SECRET, token};
use crate::harness::until;

/// A grace that is over soon, and a lease that a test can wait for.
const LATER: Duration = Duration::from_mins(1);

async fn who(peer: &mut Peer, topic: &str) -> Value {
    peer.done("topic:presence", json!({"topic": topic})).await
}

/// The next `topic:join` or `topic:leave`.
async fn change(peer: &mut Peer) -> (String, Value) {
    loop {
        let frame = peer.next().await;
        let kind = frame["type"].as_str().expect("a type").to_owned();
        if kind == "topic:join" || kind == "topic:leave" {
            return (kind, frame["data"]["user"].clone());
        }
    }
}

/// Changes until one of this kind about this user; none of another kind about him comes before.
async fn change_of(peer: &mut Peer, kind: &str, user: &Value) {
    loop {
        let (heard, whom) = change(peer).await;
        if whom == *user {
            assert_eq!(heard, kind);
            return;
        }
    }
}

everywhere! {
    async fn who_subscribes_is_in_the_topic_until_he_leaves_it(place: &Place<'_>) {
        let topic = place.topic("presence");
        let mut peer = Peer::connect(place.first(), place.encoding).await;
        let nobody = json!({"users": [], "count": 0, "truncated": false});
        assert_eq!(who(&mut peer, &topic).await, nobody);
        peer.subscribe(&[&topic]).await;
        let me = who(&mut peer, &topic).await;
        assert_eq!((&me["count"], &me["truncated"]), (&json!(1), &json!(false)));
        // A client without a user has a name that says nothing of it, and no two have the same.
        let name = me["users"][0].as_str().expect("a name").to_owned();
        assert!(name.starts_with("anon-"), "{name}");
        let mut other = Peer::connect(place.second(), place.encoding).await;
        other.subscribe(&[&topic]).await;
        assert_eq!(who(&mut peer, &topic).await["count"], 2);
        assert_eq!(who(&mut other, &topic).await, who(&mut peer, &topic).await);
        other.done("topic:unsubscribe", json!({"topics": [topic]})).await;
        assert_eq!(who(&mut other, &topic).await, me);
        // A client that closes with 1000 ends its session, and is gone at once.
        drop(peer.wire.close(1000, "").await);
        let gone = || async {
            let mut observer = Peer::connect(place.second(), place.encoding).await;
            (who(&mut observer, &topic).await == nobody).then_some(())
        };
        until("the topic is empty", LATER, gone).await;
    }

    async fn who_wants_to_know_is_told_who_comes_and_leaves(place: &Place<'_>) {
        let topic = place.topic("watched");
        let mut watcher = Peer::connect(place.first(), place.encoding).await;
        let mut plain = Peer::connect(place.first(), place.encoding).await;
        plain.subscribe(&[&topic]).await;
        watcher.done("topic:subscribe", json!({"topics": [topic], "presence": true})).await;
        let known = who(&mut watcher, &topic).await;
        let mut guest = Peer::connect(place.second(), place.encoding).await;
        guest.subscribe(&[&topic]).await;
        let all = who(&mut guest, &topic).await;
        let users = all["users"].as_array().expect("users");
        let known = known["users"].as_array().expect("users");
        let new: Vec<&Value> = users.iter().filter(|user| !known.contains(user)).collect();
        assert_eq!((users.len(), new.len()), (3, 1));
        let new = new[0].clone();
        change_of(&mut watcher, "topic:join", &new).await;
        guest.done("topic:unsubscribe", json!({"topics": [topic]})).await;
        change_of(&mut watcher, "topic:leave", &new).await;
        // Who did not ask for it is told nothing.
        plain.hears_nothing().await;
        // It can be asked for later, and no longer.
        watcher.done("topic:subscribe", json!({"topics": [topic], "presence": false})).await;
        guest.subscribe(&[&topic]).await;
        let id = guest.publish(&topic, json!(1)).await;
        watcher.saw(&id).await;
        watcher.hears_nothing().await;
    }
}

/// Users and sessions: with credentials, and a grace that a test can wait for.
async fn cluster(grace: &str) -> Cluster {
    Cluster::redis(&[
        ("auth.mode", "required"),
        ("auth.hs256_secret", SECRET),
        ("presence.grace", grace),
    ])
    .await
}

async fn guest(url: &str, user: &str, topic: &str) -> Peer {
    let mut peer = Peer::connect_as(url, &token(user, &["*"], &["*"])).await;
    peer.subscribe(&[topic]).await;
    peer
}

async fn watcher(url: &str, topic: &str) -> Peer {
    let mut peer = Peer::connect_as(url, &token("watcher", &["*"], &["*"])).await;
    peer.done(
        "topic:subscribe",
        json!({"topics": [topic], "presence": true}),
    )
    .await;
    change_of(&mut peer, "topic:join", &json!("watcher")).await;
    peer
}

#[tokio::test]
async fn a_user_is_in_a_topic_once_however_many_sessions_he_has() {
    let cluster = cluster("1s").await;
    let mut watcher = watcher(cluster.first(), "room").await;
    let mut one = guest(cluster.first(), "ada", "room").await;
    let two = guest(cluster.second(), "ada", "room").await;
    let _bob = guest(cluster.second(), "bob", "room").await;
    assert_eq!(
        change(&mut watcher).await,
        ("topic:join".into(), json!("ada"))
    );
    assert_eq!(
        change(&mut watcher).await,
        ("topic:join".into(), json!("bob"))
    );
    let all = who(&mut one, "room").await;
    let mut users: Vec<&str> = all["users"]
        .as_array()
        .expect("users")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    users.sort_unstable();
    assert_eq!(
        (users, &all["count"]),
        (vec!["ada", "bob", "watcher"], &json!(3))
    );
    drop(two.cut());
    one.done("topic:unsubscribe", json!({"topics": ["room"]}))
        .await;
    assert_eq!(
        change(&mut watcher).await,
        ("topic:leave".into(), json!("ada"))
    );
}

#[tokio::test]
async fn a_resume_within_the_grace_is_no_leave_and_no_join() {
    let cluster = cluster("1m").await;
    let mut watcher = watcher(cluster.first(), "room").await;
    let ada = guest(cluster.first(), "ada", "room").await;
    change_of(&mut watcher, "topic:join", &json!("ada")).await;
    let mut ticket = ada.cut();
    for url in [cluster.second(), cluster.first(), cluster.second()] {
        let mut back = Peer::resume(url, Encoding::Json, &ticket).await;
        back.replayed().await;
        assert_eq!(who(&mut back, "room").await["count"], 2);
        ticket = back.cut();
    }
    // Taken over while the former connection still stands.
    let mut first = Peer::resume(cluster.first(), Encoding::Json, &ticket).await;
    first.replayed().await;
    let mut back = Peer::resume(cluster.second(), Encoding::Json, &first.ticket).await;
    back.replayed().await;
    back.done("topic:unsubscribe", json!({"topics": ["room"]}))
        .await;
    // Nothing came in between.
    assert_eq!(
        change(&mut watcher).await,
        ("topic:leave".into(), json!("ada"))
    );
}

#[tokio::test]
async fn members_of_a_killed_node_leave_once_after_the_grace() {
    let mut cluster = cluster("1s").await;
    let mut watcher = watcher(cluster.second(), "room").await;
    let mut lost = Vec::new();
    for user in ["ada", "bob", "cleo"] {
        lost.push(guest(cluster.first(), user, "room").await);
        change_of(&mut watcher, "topic:join", &json!(user)).await;
    }
    let back = lost.pop().expect("three").cut();
    cluster.processes[0].kill();
    // One of them comes back within the grace.
    let mut cleo = Peer::resume(cluster.second(), Encoding::Json, &back).await;
    cleo.replayed().await;
    let end = tokio::time::Instant::now() + LATER;
    while who(&mut cleo, "room").await["count"] != 2 {
        assert!(tokio::time::Instant::now() < end, "they leave in time");
        watcher.is_alive().await;
        cleo.is_alive().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut heard = vec![change(&mut watcher).await, change(&mut watcher).await];
    heard.sort_by_key(|(_, user)| user.to_string());
    let leave = |user: &str| ("topic:leave".to_owned(), json!(user));
    assert_eq!(heard, [leave("ada"), leave("bob")]);
    watcher.hears_nothing().await;
    let text = http::body(cluster.processes[1].internal[0], "/metrics").await;
    let line = "sparkway_presence_changes_total{change=\"timeout\"} 2";
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[tokio::test]
async fn a_namespace_without_presence_says_so_and_grants_count() {
    let cluster = Cluster::redis(&[
        ("auth.mode", "required"),
        ("auth.hs256_secret", SECRET),
        ("namespaces.quiet.presence", "false"),
    ])
    .await;
    let limited = token("ada", &["quiet:*", "room:1"], &[]);
    let mut peer = Peer::connect_as(cluster.first(), &limited).await;
    peer.subscribe(&["quiet:1"]).await;
    let asked = |topic: &str| json!({"topic": topic});
    assert_eq!(
        peer.refused("topic:presence", asked("quiet:1")).await,
        "unsupported"
    );
    assert_eq!(
        peer.refused("topic:presence", asked("room:2")).await,
        "forbidden"
    );
    assert_eq!(who(&mut peer, "room:1").await["count"], 0);
}
