//! Faults between the nodes and the store, in the middle of traffic: nobody notices.

use std::time::Duration;

use crate::chaos::judge;
use crate::harness::cluster::Cluster;
use crate::harness::crowd::{Crowd, Size};
use crate::harness::time_passes;

const SIZE: Size = Size {
    sessions: 40,
    topics: 20,
    ..Size::FULL
};

/// Carries out a fault several times while 40 sessions follow 20 topics.
async fn under(times: usize, mut fault: impl AsyncFnMut(&Cluster)) {
    let cluster = Cluster::redis(&[]).await;
    let mut crowd = Crowd::gather(&cluster, SIZE).await;
    crowd.publish(&cluster, SIZE).await;
    for _ in 0..times {
        for member in &crowd.members {
            member.saw(member.count() + 2).await;
        }
        fault(&cluster).await;
    }
    for member in &crowd.members {
        member.saw(member.count() + 5).await;
    }
    let history = crowd.finish(cluster.second()).await;
    judge(&history, SIZE.sessions * times);
    assert_eq!(history.resumes(), 0, "no client should have noticed");
}

fn redis(cluster: &Cluster, words: &[&str]) {
    cluster.redis.as_ref().unwrap().cli(words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_subscriber_connections_are_repaired_unseen() {
    under(10, async |cluster| {
        redis(cluster, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_command_connections_are_repaired_unseen() {
    under(10, async |cluster| {
        redis(cluster, &["CLIENT", "KILL", "TYPE", "normal"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again() {
    under(5, async |cluster| redis(cluster, &["SCRIPT", "FLUSH"])).await;
}

/// What the subscriber connection had received and not read is lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_froze_and_lost_its_subscriber_connection_repairs_it() {
    under(3, async |cluster| {
        cluster.processes[0].signal("STOP");
        time_passes(Duration::from_millis(300)).await;
        redis(cluster, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        cluster.processes[0].signal("CONT");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_froze_for_a_moment_loses_nothing() {
    under(3, async |cluster| {
        let redis = cluster.redis.as_ref().unwrap();
        redis.signal("STOP");
        time_passes(Duration::from_millis(700)).await;
        redis.signal("CONT");
    })
    .await;
}
