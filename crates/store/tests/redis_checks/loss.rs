//! The server comes back without what it held: that is reported, and ids never go back.

use std::sync::Arc;

use sparkway_protocol::{MessageId, NodeId, Partition};
use sparkway_store::redis::RedisStore;
use sparkway_store::{Hole, NodeLease, Store};

use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{PATIENCE, Reader, ids, message, publish, topic};
use crate::redis_support::server::Server;

fn covers(hole: Hole, id: MessageId) -> bool {
    hole.after < id && id < hole.before
}

async fn store(server: &Server) -> Arc<RedisStore> {
    Arc::new(RedisStore::connect(settings(&server.url())).await.unwrap())
}

/// Reads until a hole that covers the id has been told.
async fn told_of_loss(reader: &mut Reader, id: MessageId) {
    let telling = async {
        while !reader.holes.iter().any(|&hole| covers(hole, id)) {
            reader.step().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    told.expect("the loss is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_server_after_a_crash_is_reported_and_ids_rise() {
    let mut server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    let mut newest = MessageId::ZERO;
    for _ in 0..3 {
        let lost = publish(&*store, message(&room, "lost")).await;
        assert!(lost > newest, "{lost} after {newest}");
        reader.reach(lost).await;
        server.kill();
        server.restart();
        newest = publish(&*store, message(&room, "after")).await;
        assert!(newest > lost, "{newest} after {lost}");
        told_of_loss(&mut reader, lost).await;
        reader.reach(newest).await;
    }
    let holes = store.holes(Partition::default()).await.unwrap();
    assert_eq!(holes.len(), 1, "what was known of older holes is lost too");
}

/// The new node knows no ids: for it the empty server is a new one. The old node's reader is told
/// all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_reported_when_a_new_node_writes_first() {
    let mut server = Server::start(&[]);
    // The old node has a user of its own, so that it stays away until that exists again.
    let let_in = |server: &Server| {
        let rights = ["on", ">word", "~*", "&*", "+@all"];
        let words = [&["ACL", "SETUSER", "old"][..], &rights].concat();
        assert_eq!(server.cli(&words).trim(), "OK");
    };
    let_in(&server);
    let url = format!("redis://old:word@127.0.0.1:{}", server.port);
    let old = Arc::new(RedisStore::connect(settings(&url)).await.unwrap());
    let room = topic("room:1");
    let mut reader = Reader::of(old.clone(), std::slice::from_ref(&room)).await;
    let lost = publish(&*old, message(&room, "lost")).await;
    reader.reach(lost).await;
    server.kill();
    server.restart();
    let new = store(&server).await;
    let after = publish(&*new, message(&room, "after")).await;
    assert!(after > lost);
    let holes = new.holes(Partition::default()).await.unwrap();
    assert_eq!(holes, [], "nobody knows yet that there was something");
    let_in(&server);
    told_of_loss(&mut reader, lost).await;
    reader.reach(after).await;
    let holes = new.holes(Partition::default()).await.unwrap();
    assert!(covers(holes[0], lost), "now every node knows");
}

/// The node that comes first after a loss knows less than the one that comes later: what that adds
/// is told to whoever was there, before anything that was stored behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_that_grows_is_told_to_those_who_came_before() {
    for (is_reader, is_ahead) in [(false, false), (true, false), (true, true)] {
        let mut server = Server::start(&[]);
        let let_in = |server: &Server| {
            let rights = ["on", ">word", "~*", "&*", "+@all"];
            let words = [&["ACL", "SETUSER", "late"][..], &rights].concat();
            assert_eq!(server.cli(&words).trim(), "OK");
        };
        let_in(&server);
        let url = format!("redis://late:word@127.0.0.1:{}", server.port);
        let late = Arc::new(RedisStore::connect(settings(&url)).await.unwrap());
        let early = store(&server).await;
        let (heard, unheard) = (topic("room:1"), topic("room:2"));
        let mut reader = Reader::of(early.clone(), std::slice::from_ref(&heard)).await;
        let seen = publish(&*early, message(&heard, "seen")).await;
        reader.reach(seen).await;
        // Ids run ahead of time, as those of a former master do that goes on for a while.
        let ahead = seen.get() + 60_000 * 4096;
        server.cli(&["SET", "sw:{ms3}:clock", &ahead.to_string()]);
        let lost = publish(&*late, message(&unheard, "lost")).await;
        assert!(lost.get() > ahead);
        server.kill();
        server.restart();
        // The early one goes on, and hears of what it can know of.
        let between = publish(&*early, message(&heard, "between")).await;
        reader.reach(between).await;
        assert!(between < lost);
        assert!(!reader.holes.is_empty() && !reader.holes.iter().any(|hole| covers(*hole, lost)));
        let connections = reader.repairs;
        let mut expected = vec![seen, between];
        if is_ahead {
            // The new master has given out higher ids meanwhile than the former one ever did.
            let beyond = lost.get() + 60_000 * 4096;
            server.cli(&["SET", "sw:{ms3}:clock", &beyond.to_string()]);
            let higher = publish(&*early, message(&heard, "higher")).await;
            reader.reach(higher).await;
            assert!(higher > lost);
            expected.push(higher);
        }
        let_in(&server);
        let after = if is_reader {
            // A feed alone says what its node knows, too.
            let _feed = Reader::of(late.clone(), std::slice::from_ref(&unheard)).await;
            publish(&*early, message(&heard, "after")).await
        } else {
            publish(&*late, message(&heard, "after")).await
        };
        assert!(after > lost);
        while reader.entries.last().is_none_or(|entry| entry.id < after) {
            reader.step().await;
        }
        expected.push(after);
        assert_eq!(ids(&reader.entries), expected);
        // Everybody who follows is told, however far it has come.
        let newest = expected[expected.len() - 2];
        let tells = |hole: &Hole| covers(*hole, lost) && hole.before > newest;
        let told = reader.holes.iter().any(tells);
        assert!(told, "{lost} in {:?}, {is_reader} {is_ahead}", reader.holes);
        assert_eq!(reader.repairs, connections, "on the connection that stood");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_server_goes_on_above_every_known_id() {
    let server = Server::start(&[]);
    let store = store(&server).await;
    let room = topic("room:1");
    let lost = publish(&*store, message(&room, "lost")).await;
    server.cli(&["FLUSHALL"]);
    let after = publish(&*store, message(&room, "after")).await;
    assert!(after > lost);
    let holes = store.holes(Partition::default()).await.unwrap();
    assert!(holes.iter().any(|&hole| covers(hole, lost)), "{holes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn living_node_brings_layout_and_key_back_to_an_empty_server() {
    let mut server = Server::start(&[]);
    let old = store(&server).await;
    let key = old.cluster_key().await.unwrap();
    server.kill();
    server.restart();
    let lease = NodeLease {
        node: NodeId::parse("node-1").unwrap(),
        connections: 0,
        spare_accepts_per_second: 0,
        draining: false,
    };
    // As every node does every few seconds.
    while old.lease(lease.clone(), 60_000).await.is_err() {}
    let new = store(&server).await;
    assert_eq!(new.cluster_key().await, Ok(key));
}

/// The clock had run ahead of time, and the node that writes first had seen less than the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_reported_in_full_when_a_node_that_lags_behind_writes_first() {
    let mut server = Server::start(&[]);
    let (behind, ahead) = (store(&server).await, store(&server).await);
    let room = topic("room:1");
    let early = publish(&*behind, message(&room, "early")).await;
    let clock = MessageId::at(early.unix_ms() + 3_600_000, Partition::default());
    server.cli(&["SET", "sw:{ms3}:clock", &clock.to_string()]);
    let lost = publish(&*ahead, message(&room, "lost")).await;
    assert!(lost > clock);
    server.kill();
    server.restart();
    let first = publish(&*behind, message(&room, "first")).await;
    assert!(first < lost, "it knows no better");
    let after = publish(&*ahead, message(&room, "after")).await;
    assert!(after > lost);
    let holes = ahead.holes(Partition::default()).await.unwrap();
    assert_eq!(holes.len(), 1, "{holes:?}");
    assert!(
        covers(holes[0], lost) && covers(holes[0], early),
        "{holes:?}"
    );
}

/// Where ids run ahead of time, other nodes and clients may know newer ones of the former process
/// than the node that comes first: none of those is given out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_run_ahead_of_time_leave_room_behind_a_loss() {
    for is_reader in [false, true] {
        let mut server = Server::start(&[]);
        let node = store(&server).await;
        let room = topic("room:1");
        let early = publish(&*node, message(&room, "early")).await;
        let clock = MessageId::at(early.unix_ms() + 3_600_000, Partition::default());
        server.cli(&["SET", "sw:{ms3}:clock", &clock.to_string()]);
        let known = publish(&*node, message(&room, "known")).await;
        server.kill();
        server.restart();
        if is_reader {
            drop(Reader::of(node.clone(), std::slice::from_ref(&room)).await);
        }
        let after = publish(&*node, message(&room, "after")).await;
        let room_ms = after.unix_ms() - known.unix_ms();
        assert!(
            (10_000..10_100).contains(&room_ms),
            "{room_ms}, {is_reader}"
        );
        let holes = node.holes(Partition::default()).await.unwrap();
        assert_eq!(holes.len(), 1, "{holes:?}");
        assert!(
            covers(holes[0], known) && holes[0].before <= after,
            "{holes:?}"
        );
    }
}
