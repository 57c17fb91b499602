//! A deployment: nodes leave and come back one after the other, under load.

use std::time::Duration;

use tokio::time::Instant;

use crate::chaos::judge;
use crate::harness::cluster::Cluster;
use crate::harness::crowd::{Crowd, Member, Size};

/// Reconnects per second that the cluster allows.
const BUDGET: usize = 250;
/// A second holds a few more where clients and nodes wait for a processor.
const ALLOWED: usize = BUDGET * 12 / 10;
/// Longest time for a drain of half of all sessions, and the last close handshakes.
const GRACE: Duration = Duration::from_secs(45);

const SETTINGS: &[(&str, &str)] = &[
    ("drain.readiness_delay", "300ms"),
    ("drain.duration", "15s"),
    ("drain.max_rate", "250"),
];

/// The most resumes that any second of the history holds.
fn busiest_second(mut resumes: Vec<Instant>) -> usize {
    resumes.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for last in 0..resumes.len() {
        while resumes[last] - resumes[first] >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_deployment_loses_nothing_and_keeps_within_the_budget() {
    let mut cluster = Cluster::three(SETTINGS).await;
    let size = Size {
        sessions: 3000,
        topics: 300,
        follows: 2,
        publishers: 4,
        pause: Duration::from_millis(50),
    };
    let mut crowd = Crowd::gather(&cluster, size).await;
    crowd.publish(&cluster, size).await;
    crowd.all_saw(1).await;
    for at in 0..3 {
        let process = &mut cluster.processes[at];
        process.signal("TERM");
        let status = process.ended(GRACE).await;
        assert_eq!(status.code(), Some(0), "node {at}");
        process.restart().await;
    }
    let seen: Vec<usize> = crowd.members.iter().map(Member::count).collect();
    for (member, seen) in crowd.members.iter().zip(seen) {
        member.saw(seen + 1).await;
    }
    let moved: Vec<Instant> = crowd.members.iter().flat_map(Member::resumed_at).collect();
    let (count, most) = (moved.len(), busiest_second(moved));
    eprintln!("{count} resumes, at most {most} in a second, budget {BUDGET}");
    assert!(count >= size.sessions, "every node was left: {count}");
    assert!(most <= ALLOWED, "{most} resumes in a second");
    let history = crowd.finish(cluster.second()).await;
    judge(&history, size.sessions * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drains_at_once_share_the_budget_and_exit_0() {
    let mut cluster = Cluster::three(SETTINGS).await;
    let size = Size {
        sessions: 1500,
        topics: 300,
        follows: 2,
        publishers: 2,
        pause: Duration::from_millis(50),
    };
    let crowd = Crowd::gather(&cluster, size).await;
    let began = Instant::now();
    // Those of one node would be gone in 2 s at the whole budget.
    cluster.processes[0].signal("TERM");
    cluster.processes[1].signal("TERM");
    for at in 0..2 {
        let status = cluster.processes[at].ended(GRACE).await;
        assert_eq!(status.code(), Some(0), "node {at}");
    }
    let moved: Vec<Instant> = crowd.members.iter().flat_map(Member::resumed_at).collect();
    let (count, most) = (moved.len(), busiest_second(moved));
    eprintln!(
        "{count} resumes in {:?}, at most {most} in a second",
        began.elapsed()
    );
    assert!(count >= 900, "two of three nodes were left: {count}");
    assert!(most <= ALLOWED, "{most} resumes in a second");
    let history = crowd.finish(&cluster.processes[2].url(0)).await;
    judge(&history, 0);
}
