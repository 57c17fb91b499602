//! The master dies, and sentinel makes another one.

use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::Durability;
use sparkway_store::feed::FEED_EVENTS;
use sparkway_store::redis::{RedisSettings, RedisStore};
use sparkway_store::{Append, Store, StoreError, WriteError};

use crate::redis_support::cluster::until;
use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{Publisher, Reader, append, ids, log, message, publish, topic};
use crate::redis_support::sentinel::Watched;
use crate::redis_support::server::Server;

fn replicated(message: Append) -> Append {
    Append {
        durability: Durability::Replicated,
        ..message
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicated_publishes_survive_a_failover_that_is_reported() {
    let mut servers = Watched::start();
    let connected = RedisStore::connect(settings(&servers.url())).await;
    let store = Arc::new(connected.unwrap());
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    let mut given = Vec::new();
    for _ in 0..50 {
        given.push(publish(&*store, replicated(message(&room, "x"))).await);
    }
    servers.master.kill();
    let after = publish(&*store, message(&room, "after")).await;
    given.push(after);
    while reader.holes.is_empty() {
        reader.step().await;
    }
    reader.reach(after).await;
    assert_eq!(ids(&reader.entries), given);
    assert_eq!(ids(&log(&*store, &room).await), given, "nothing was lost");
    assert!(reader.repairs > 0);
    // Its only replica is the new master now: nobody is left to confirm.
    let alone = append(&*store, replicated(message(&room, "alone"))).await;
    assert_eq!(alone, Err(WriteError::Store(StoreError::NotReplicated)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordered_failover_leaves_the_old_master_at_once() {
    let servers = Watched::start();
    let connected = RedisStore::connect(settings(&servers.url())).await;
    let store = Arc::new(connected.unwrap());
    let room = topic("room:1");
    let mut reader = Reader::of(store.clone(), std::slice::from_ref(&room)).await;
    let rooms = std::slice::from_ref(&room);
    let publisher = Publisher::start(store.clone(), rooms, Durability::Replicated);
    // The sentinel has to hear of the replica's state before it obeys.
    tokio::task::block_in_place(|| {
        until("the failover begins", || {
            let ordered = servers.sentinel.cli(&["SENTINEL", "FAILOVER", "mymaster"]);
            ordered.trim() == "OK"
        });
    });
    while reader.holes.is_empty() {
        reader.step().await;
    }
    let seen = reader.entries.len();
    while reader.entries.len() < seen + 10 {
        reader.step().await;
    }
    let given = publisher.stop().await;
    reader.reach(*given.last().unwrap()).await;
    let stored = ids(&log(&*store, &room).await);
    assert!(
        given.iter().all(|id| stored.contains(id)),
        "acknowledged is stored"
    );
    let role = servers.replica.cli(&["ROLE"]);
    assert!(role.starts_with("master"), "{role}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicated_publishes_at_once_share_their_waits() {
    let servers = Watched::start();
    let connected = RedisStore::connect(settings(&servers.url())).await;
    let store = Arc::new(connected.unwrap());
    let publishers: Vec<_> = (0..32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let room = topic(&format!("room:{number}"));
                for _ in 0..20 {
                    publish(&*store, replicated(message(&room, "x"))).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let stats = servers.master.cli(&["INFO", "commandstats"]);
    let calls = stats.lines().find_map(|line| {
        let rest = line.strip_prefix("cmdstat_wait:calls=")?;
        rest.split(',').next()?.parse::<u32>().ok()
    });
    let calls = calls.unwrap();
    assert!((1..320).contains(&calls), "{calls} waits for 640 publishes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_without_a_replica_is_stored_but_not_acknowledged() {
    let server = Server::start(&[]);
    let store = RedisStore::connect(RedisSettings {
        command_deadline: Duration::from_millis(600),
        ..settings(&server.url())
    });
    let store = store.await.unwrap();
    let room = topic("room:1");
    let same = replicated(message(&room, "x"));
    let plain = message(&room, "y");
    let batch = vec![same.clone(), plain];
    let partition = sparkway_protocol::Partition::default();
    let answers = store.append(partition, batch).await.unwrap();
    assert_eq!(
        answers[0],
        Err(WriteError::Store(StoreError::NotReplicated))
    );
    assert!(answers[1].is_ok(), "the other one asked for no replica");
    let again = append(&store, same).await;
    assert_eq!(again, Err(WriteError::Store(StoreError::NotReplicated)));
    assert_eq!(log(&store, &room).await.len(), 2, "a repeat is stored once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_is_never_taken_for_a_master() {
    let servers = Watched::start();
    let settings = RedisSettings {
        command_deadline: Duration::from_millis(500),
        ..settings(&servers.replica.url())
    };
    let refused = RedisStore::connect(settings).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
}

/// Makes a master of the replica, which the sentinel names from now on. The former one is told nothing.
fn name_the_other(servers: &Watched) {
    let other = servers.replica.port.to_string();
    let alone = servers.replica.cli(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(alone.trim(), "OK");
    servers.replica.cli(&["CONFIG", "RESETSTAT"]);
    for words in [
        &["SENTINEL", "REMOVE", "mymaster"][..],
        &["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &other, "1"],
    ] {
        assert_eq!(servers.sentinel.cli(words).trim(), "OK");
    }
}

/// A former master that nobody could reach to tell it so goes on answering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_leave_a_master_that_still_answers_when_the_sentinels_name_another() {
    let servers = Watched::start();
    let connected = RedisStore::connect(settings(&servers.url())).await;
    let store = Arc::new(connected.unwrap());
    let room = topic("room:1");
    publish(&*store, message(&room, "before")).await;
    name_the_other(&servers);
    let has_moved = || {
        let stats = servers.replica.cli(&["INFO", "commandstats"]);
        stats.contains("cmdstat_xadd")
    };
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    while !has_moved() {
        assert!(tokio::time::Instant::now() < end, "it stays where it was");
        publish(&*store, message(&room, "after")).await;
    }
    let role = servers.master.cli(&["ROLE"]);
    assert!(role.starts_with("master"), "nobody told it: {role}");
}

/// Who reads the feed may be waiting for an answer of the next server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_leaves_a_former_master_while_nobody_takes_what_it_heard() {
    let servers = Watched::start();
    let connected = RedisStore::connect(settings(&servers.url())).await;
    let store = Arc::new(connected.unwrap());
    let room = topic("room:1");
    let rooms = std::slice::from_ref(&room);
    let mut reader = Reader::of(store.clone(), rooms).await;
    let partition = store.partitions().of(room.as_str());
    let most = FEED_EVENTS + 1000;
    let mut given = Vec::new();
    while given.len() < most {
        let batch = (0..50).map(|_| message(&room, "x")).collect();
        let stored = store.append(partition, batch).await.unwrap();
        given.extend(stored.into_iter().map(|stored| stored.unwrap().id));
    }
    let newest = given.last().unwrap().to_string();
    tokio::task::block_in_place(|| {
        until("the replica has it", || {
            servers.replica.cli(&["GET", "sw:{ms3}:clock"]).trim() == newest
        });
        name_the_other(&servers);
        until("the feed follows", || {
            let followed = servers.replica.cli(&["PUBSUB", "CHANNELS"]);
            followed.contains(room.as_str())
        });
    });
    // Nothing is missing for that.
    let last = publish(&*store, message(&room, "last")).await;
    given.push(last);
    reader.reach(last).await;
    assert_eq!(ids(&reader.entries), given);
}
