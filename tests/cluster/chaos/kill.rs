//! A node dies in the middle of traffic.

use crate::chaos::judge;
use crate::harness::cluster::Cluster;
use crate::harness::crowd::{Crowd, Member, Size};
use crate::harness::history::Step;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_session_of_a_killed_node_resumes_on_the_other_and_sees_every_message_once() {
    let mut cluster = Cluster::redis(&[]).await;
    let mut crowd = Crowd::gather(&cluster, Size::FULL).await;
    crowd.publish(&cluster, Size::FULL).await;
    crowd.all_saw(10).await;
    cluster.processes[0].kill();
    for (at, member) in crowd.members.iter().enumerate() {
        if is_at_first(at) {
            member.resumed(1).await;
        }
    }
    let seen: Vec<usize> = crowd.members.iter().map(Member::count).collect();
    for (member, seen) in crowd.members.iter().zip(seen) {
        member.saw(seen + 10).await;
    }
    let history = crowd.finish(cluster.second()).await;
    judge(&history, Size::FULL.sessions * 20);
    for (at, session) in history.sessions.iter().enumerate() {
        let expected = usize::from(is_at_first(at));
        assert_eq!(session.resumes(), expected, "session {at}");
        if is_at_first(at) {
            let named_its_last =
                |step: &Step| matches!(step, Step::Resuming { last } if last.len() == 1);
            assert!(session.steps.iter().any(named_its_last), "session {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_per_partition_survives_a_killed_node_when_there_are_several() {
    let mut cluster = Cluster::redis(&[("store.partitions", "4")]).await;
    let size = Size {
        sessions: 40,
        topics: 20,
        ..Size::FULL
    };
    let mut crowd = Crowd::gather(&cluster, size).await;
    crowd.publish(&cluster, size).await;
    crowd.all_saw(10).await;
    cluster.processes[0].kill();
    for (at, member) in crowd.members.iter().enumerate() {
        if is_at_first(at) {
            member.resumed(1).await;
        }
        member.saw(member.count() + 10).await;
    }
    let history = crowd.finish(cluster.second()).await;
    judge(&history, size.sessions * 20);
}

/// Members are spread in pairs, so that both encodings are on both nodes.
fn is_at_first(member: usize) -> bool {
    (member / 2).is_multiple_of(2)
}
