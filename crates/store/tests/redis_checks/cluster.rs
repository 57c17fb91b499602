//! A cluster changes under the store: slots move, masters die.

use std::sync::Arc;

use sparkway_protocol::{Durability, Partition, TopicName};
use sparkway_store::Store;
use sparkway_store::redis::RedisStore;

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

/// Moves partition 0's slot from one master to another, key by key.
fn migrate(from: &Server, to: &Server) {
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
