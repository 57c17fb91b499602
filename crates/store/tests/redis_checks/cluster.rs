//! A cluster changes under the store: slots move, masters die.

use std::sync::Arc;

use sparkway_protocol::{Durability, Partition, TopicName};
use sparkway_store::redis::RedisStore;
use sparkway_store::{Hole, Store};

use crate::redis_support::cluster::{Cluster, until};
use crate::redis_support::fixture::settings;
use crate::redis_support::reader::{Publisher, Reader, ids, log, message, publish, topic};
use crate::redis_support::server::Server;

/// The slot of partition 0 on a cluster.
const SLOT: &str = "512";

async fn store(cluster: &Cluster) -> Arc<RedisStore> {
    Arc::new(RedisStore::connect(settings(&cluster.url())).await.unwrap())
}

/// Topics of partition 0.
fn rooms(store: &RedisStore, count: usize) -> Vec<TopicName> {
    let names = (0..).map(|number| topic(&format!("room:{number}")));
    let first = names.filter(|name| store.partitions().of(name.as_str()) == Partition::default());
    first.take(count).collect()
}

/// Moves partition 0's slot from one master to another.
fn migrate(from: &Server, to: &Server) {
    move_keys(from, to);
    give(from, to);
}

/// All keys of the slot, one by one. Meanwhile nobody serves it whole.
fn move_keys(from: &Server, to: &Server) {
    let (from_id, to_id) = (from.cli(&["CLUSTER", "MYID"]), to.cli(&["CLUSTER", "MYID"]));
    let (from_id, to_id) = (from_id.trim(), to_id.trim());
    to.cli(&["CLUSTER", "SETSLOT", SLOT, "IMPORTING", from_id]);
    from.cli(&["CLUSTER", "SETSLOT", SLOT, "MIGRATING", to_id]);
    let port = to.port.to_string();
    loop {
        let keys = from.cli(&["--raw", "CLUSTER", "GETKEYSINSLOT", SLOT, "100"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        for key in keys {
            let moved = from.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "2000", "REPLACE"]);
            assert!(["OK", "NOKEY"].contains(&moved.trim()), "{moved}");
        }
    }
}

/// The slot itself.
fn give(from: &Server, to: &Server) {
    let to_id = to.cli(&["CLUSTER", "MYID"]);
    let to_id = to_id.trim();
    for node in [to, from] {
        node.cli(&["CLUSTER", "SETSLOT", SLOT, "NODE", to_id]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_that_moves_under_load_loses_nothing() {
    let cluster = Cluster::start(2, 0);
    let (writer, reading) = (store(&cluster).await, store(&cluster).await);
    let rooms = rooms(&writer, 3);
    let mut reader = Reader::of(reading, &rooms).await;
    let publisher = Publisher::start(writer.clone(), &rooms, Durability::Stored);
    while reader.entries.len() < 50 {
        reader.step().await;
    }
    for (from, to) in [(0, 1), (1, 0)] {
        tokio::task::block_in_place(|| migrate(&cluster.nodes[from], &cluster.nodes[to]));
        let repairs = reader.repairs;
        while reader.repairs == repairs {
            reader.step().await;
        }
        let seen = reader.entries.len();
        while reader.entries.len() < seen + 50 {
            reader.step().await;
        }
    }
    let given = publisher.stop().await;
    reader.reach(*given.last().unwrap()).await;
    assert_eq!(ids(&reader.entries), given, "every one, once, in order");
    let mut stored = Vec::new();
    for room in &rooms {
        stored.extend(ids(&log(&*writer, room).await));
    }
    stored.sort_unstable();
    assert_eq!(stored, given);
    // Nobody is told of a gap that there is not.
    assert_eq!(reader.holes, []);
    assert_eq!(writer.holes(Partition::default()).await.unwrap(), []);
}

/// A node that starts after the move knows nothing of it, and hears nothing wrong either: whoever
/// was there has settled it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_that_moved_is_no_loss_for_whoever_only_reads() {
    let cluster = Cluster::start(2, 0);
    let (writer, reading) = (store(&cluster).await, store(&cluster).await);
    let rooms = rooms(&writer, 1);
    let mut reader = Reader::of(reading, &rooms).await;
    let before = publish(&*writer, message(&rooms[0], "before")).await;
    reader.reach(before).await;
    tokio::task::block_in_place(|| migrate(&cluster.nodes[0], &cluster.nodes[1]));
    let repairs = reader.repairs;
    while reader.repairs == repairs {
        reader.step().await;
    }
    let late = store(&cluster).await;
    let after = publish(&*late, message(&rooms[0], "after")).await;
    reader.reach(after).await;
    assert_eq!(ids(&reader.entries), [before, after]);
    assert_eq!(reader.holes, []);
    assert_eq!(late.holes(Partition::default()).await.unwrap(), []);
}

/// The new master is killed after the move and comes back without what was written since, though
/// with everything that was moved: that is a loss, whatever the former master says, and also where
/// the first node that writes then has seen nothing of what is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn master_that_forgets_what_it_got_after_a_move_is_reported() {
    let mut cluster = Cluster::start(2, 0);
    // The old node has a user of its own, so that it stays away until that exists again.
    let let_in = |server: &Server| {
        let rights = ["on", ">word", "~*", "&*", "+@all"];
        let words = [&["ACL", "SETUSER", "old"][..], &rights].concat();
        assert_eq!(server.cli(&words).trim(), "OK");
    };
    cluster.nodes.iter().for_each(let_in);
    let url = cluster.url().replace("://", "://old:word@");
    let old = Arc::new(RedisStore::connect(settings(&url)).await.unwrap());
    let rooms = rooms(&old, 1);
    let mut reader = Reader::of(old.clone(), &rooms).await;
    let before = publish(&*old, message(&rooms[0], "before")).await;
    reader.reach(before).await;
    tokio::task::block_in_place(|| {
        move_keys(&cluster.nodes[0], &cluster.nodes[1]);
        // As moved, with the former master's mark.
        assert_eq!(cluster.nodes[1].cli(&["SAVE"]).trim(), "OK");
        give(&cluster.nodes[0], &cluster.nodes[1]);
    });
    let lost = publish(&*old, message(&rooms[0], "lost")).await;
    reader.reach(lost).await;
    assert_eq!(reader.holes, []);
    tokio::task::block_in_place(|| {
        cluster.nodes[1].kill();
        cluster.nodes[1].restart();
        cluster.agree(&cluster.nodes.iter().collect::<Vec<_>>());
    });
    let new = store(&cluster).await;
    let after = publish(&*new, message(&rooms[0], "after")).await;
    assert!(after > lost);
    let_in(&cluster.nodes[1]);
    while reader.holes.is_empty() {
        reader.step().await;
    }
    reader.reach(after).await;
    let covers = |hole: &Hole| hole.after < lost && lost < hole.before;
    assert!(reader.holes.iter().any(covers), "{:?}", reader.holes);
}

/// Without the former master nobody knows whether it gave everything away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slot_that_moved_is_reported_when_its_former_master_cannot_be_asked() {
    let mut cluster = Cluster::start(3, 0);
    // Whoever wants to serve at all does so without one of three.
    for node in &cluster.nodes {
        node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (writer, reading) = (store(&cluster).await, store(&cluster).await);
    let rooms = rooms(&writer, 1);
    let before = publish(&*writer, message(&rooms[0], "before")).await;
    tokio::task::block_in_place(|| {
        migrate(&cluster.nodes[0], &cluster.nodes[1]);
        cluster.nodes[0].kill();
    });
    let after = publish(&*writer, message(&rooms[0], "after")).await;
    assert!(after > before);
    let holes = reading.holes(Partition::default()).await.unwrap();
    let covers = |hole: &Hole| hole.after >= before && hole.before <= after;
    assert!(holes.iter().any(covers), "{holes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_that_takes_over_goes_on_and_the_change_is_reported() {
    let mut cluster = Cluster::start(3, 1);
    let (writer, reading) = (store(&cluster).await, store(&cluster).await);
    let rooms = rooms(&writer, 2);
    let mut reader = Reader::of(reading, &rooms).await;
    let mut before = Vec::new();
    for number in 0..50 {
        before.push(publish(&*writer, message(&rooms[number % 2], "x")).await);
    }
    // What has reached the replica survives.
    let offset = format!("slave_repl_offset:{}", offset_of(&cluster.nodes[0]));
    until("the replica has everything", || {
        cluster.nodes[3]
            .cli(&["INFO", "replication"])
            .contains(&offset)
    });
    cluster.nodes[0].kill();
    let after = publish(&*writer, message(&rooms[0], "after")).await;
    while reader.holes.is_empty() {
        reader.step().await;
    }
    reader.reach(after).await;
    before.push(after);
    assert_eq!(ids(&reader.entries), before);
    assert!(reader.repairs > 0);
    assert!(reader.holes[0].before > before[49], "{:?}", reader.holes);
}

fn offset_of(master: &Server) -> String {
    let text = master.cli(&["INFO", "replication"]);
    let mut lines = text.lines();
    let offset = lines.find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.unwrap().trim().to_owned()
}
