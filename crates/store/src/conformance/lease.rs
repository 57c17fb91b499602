//! Leases, deadlines, and who is told that a session expired.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sparkway_protocol::SessionId;

use super::fixture::{Fixture, until};
use super::sample::{Bench, LEASE_MS, claim, detach, node};
use crate::{Expired, NodeLease, Remember};

/// Sweeps until `wanted` sessions expired; fails when it takes too long.
async fn expired(bench: &Bench, wanted: usize) -> Vec<Expired> {
    let mut all = Vec::new();
    until("all have expired", async || {
        let swept = bench.store.sweep(bench.partition, 60_000, 100).await;
        all.extend(swept.unwrap());
        (all.len() >= wanted).then_some(())
    })
    .await;
    all
}

pub(super) async fn leases_show_what_nodes_say_of_themselves(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (busy, leaving) = (node(), node());
    bench.lease(&busy, 60_000).await;
    let busy = NodeLease {
        node: busy,
        connections: 12_345,
        spare_accepts_per_second: u32::MAX,
        draining: true,
    };
    bench.store.lease(busy.clone(), 60_000).await.unwrap();
    bench.lease(&leaving, 60_000).await;
    let named = async |name| {
        other
            .store
            .nodes()
            .await
            .unwrap()
            .into_iter()
            .find(|lease| lease.node == name)
    };
    assert_eq!(named(busy.node.clone()).await, Some(busy.clone()));
    assert!(named(leaving.clone()).await.is_some());
    bench.store.release(leaving.clone()).await.unwrap();
    bench.store.release(leaving.clone()).await.unwrap();
    assert_eq!(named(leaving).await, None);
    bench.lease(&busy.node, 300).await;
    fixture.advance(300).await;
    let has_lapsed = async || named(busy.node.clone()).await.is_none().then_some(());
    until("the lease has lapsed", has_lapsed).await;
}

pub(super) async fn lapsed_lease_detaches_sessions(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (dead, alive) = (node(), bench.node().await);
    bench.lease(&dead, 2000).await;
    let (lost, kept) = (bench.open(&dead).await, bench.open(&alive).await);
    let swept = other
        .store
        .sweep(bench.partition, 60_000, 10)
        .await
        .unwrap();
    assert!(swept.is_empty());
    assert!(
        bench.load(lost.session).await.unwrap().attached,
        "the lease holds"
    );
    fixture.advance(2000).await;
    until("the session is detached", async || {
        let swept = other
            .store
            .sweep(bench.partition, 60_000, 10)
            .await
            .unwrap();
        assert!(swept.is_empty(), "its window begins only now");
        let record = bench.load(lost.session).await.unwrap();
        (!record.attached).then_some(())
    })
    .await;
    assert!(bench.load(kept.session).await.unwrap().attached);
    // It can be taken up again; nobody is left to be told.
    let claimed = bench.store.claim(claim(lost.session, 1, &alive)).await;
    assert_eq!(claimed.unwrap().former_owner, None);
}

/// A node that stalled for longer than its lease still holds its connections.
pub(super) async fn node_that_comes_back_keeps_its_sessions(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let stalled = node();
    bench.lease(&stalled, 300).await;
    let record = bench.open(&stalled).await;
    fixture.advance(300).await;
    let sweep = async || {
        let swept = other.store.sweep(bench.partition, 300, 10).await.unwrap();
        assert!(swept.is_empty(), "{swept:?}");
        bench.load(record.session).await.unwrap()
    };
    until("the session is detached", async || {
        (!sweep().await.attached).then_some(())
    })
    .await;
    bench.lease(&stalled, LEASE_MS).await;
    fixture.advance(300).await;
    until("the session is attached again", async || {
        sweep().await.attached.then_some(())
    })
    .await;
    assert_eq!(sweep().await, record);
    // It is a session of its node as before.
    bench.store.release(stalled).await.unwrap();
    until("the session is detached again", async || {
        (!sweep().await.attached).then_some(())
    })
    .await;
}

pub(super) async fn released_lease_detaches_sessions(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let gone = bench.node().await;
    let record = bench.open(&gone).await;
    bench.store.release(gone).await.unwrap();
    until("the session is detached", async || {
        bench.store.sweep(bench.partition, 300, 10).await.unwrap();
        let record = bench.load(record.session).await.unwrap();
        (!record.attached).then_some(())
    })
    .await;
    fixture.advance(300).await;
    assert_eq!(expired(&bench, 1).await[0].session, record.session);
}

pub(super) async fn sessions_of_a_claimed_node_are_not_detached(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (dead, alive) = (bench.node().await, bench.node().await);
    let record = bench.open(&dead).await;
    let claimed = bench.store.claim(claim(record.session, 1, &alive)).await;
    let claimed = claimed.unwrap().record;
    bench.store.release(dead).await.unwrap();
    for _ in 0..3 {
        bench.store.sweep(bench.partition, 1, 10).await.unwrap();
    }
    assert_eq!(bench.load(record.session).await, Some(claimed));
}

pub(super) async fn expired_session_is_told_to_exactly_one_sweeper(fixture: &dyn Fixture) {
    let nodes = [Bench::new(fixture), Bench::new(fixture)];
    let owner = nodes[0].node().await;
    let mut wanted = BTreeSet::new();
    for _ in 0..30 {
        let record = nodes[0].open(&owner).await;
        let leave = detach(record.session, record.epoch, 300);
        nodes[0].detach(leave).await.unwrap();
        wanted.insert(record.session);
    }
    fixture.advance(300).await;
    let mut told: Vec<SessionId> = Vec::new();
    until("all have expired", async || {
        let sweeps = (0..6).map(|at| {
            let bench = nodes[at % 2].clone();
            tokio::spawn(async move { bench.store.sweep(bench.partition, 1000, 7).await.unwrap() })
        });
        for swept in join_all(sweeps).await {
            let swept = swept.unwrap();
            assert!(swept.len() <= 7, "at most the limit");
            told.extend(swept.into_iter().map(|expired| expired.session));
        }
        (told.len() >= wanted.len()).then_some(())
    })
    .await;
    assert_eq!(told.len(), wanted.len(), "each is told once");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), wanted);
    for &session in &wanted {
        assert_eq!(nodes[1].load(session).await, None);
    }
}

pub(super) async fn session_expires_at_its_deadline_and_not_before(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let (early, late) = (bench.open(&owner).await, bench.open(&owner).await);
    for (record, window_ms) in [(&late, 300), (&early, 300), (&late, 60_000)] {
        let leave = detach(record.session, record.epoch, window_ms);
        bench.detach(leave).await.unwrap();
    }
    fixture.advance(300).await;
    let swept = expired(&bench, 1).await;
    assert_eq!(swept.len(), 1, "the later deadline counts");
    assert_eq!(swept[0].session, early.session);
    let held = bench.load(late.session).await.unwrap();
    assert!(!held.attached);
}

pub(super) async fn claimed_session_does_not_expire(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let (back, gone) = (bench.open(&owner).await, bench.open(&owner).await);
    for record in [&back, &gone] {
        let leave = detach(record.session, record.epoch, 300);
        bench.detach(leave).await.unwrap();
    }
    let claimed = bench.store.claim(claim(back.session, 1, &owner)).await;
    let epoch = claimed.unwrap().record.epoch;
    fixture.advance(400).await;
    let swept = expired(&bench, 1).await;
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].session, gone.session);
    let change = Remember::nothing(back.session, epoch);
    assert_eq!(bench.store.remember(change).await, Ok(()));
}

pub(super) async fn last_session_of_a_user_is_named(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let user = bench.user();
    for expected in [false, true] {
        // The second round ends the session that the first one kept.
        let record = bench
            .open_record(bench.record_of(user.clone(), &owner))
            .await;
        let other = bench.record_of(user.clone(), &owner);
        let leave = detach(record.session, record.epoch, 1);
        bench.detach(leave).await.unwrap();
        let other = if expected {
            None
        } else {
            Some(bench.open_record(other).await)
        };
        fixture.advance(1).await;
        let swept = expired(&bench, 1).await;
        let told = Expired {
            session: record.session,
            user: Some(user.clone()),
            last_of_user: expected,
        };
        assert_eq!(swept, [told]);
        if let Some(other) = other {
            bench.store.end(other.session, other.epoch).await.unwrap();
        }
    }
}
