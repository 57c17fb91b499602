//! Taking a session over.

use futures_util::future::join_all;
use sparkway_protocol::{CloseReason, Epoch, Format, SessionId};
use tokio::sync::mpsc;

use super::fixture::{Fixture, PATIENCE, until};
use super::sample::{Bench, claim, detach, node};
use crate::{Claim, ClaimError, Control, OnlyOne, Open, Remember, SessionRecord, WriteError};

/// The next control message that names this session.
async fn told(control: &mut mpsc::Receiver<Control>, wanted: SessionId) -> Control {
    let next = async {
        loop {
            let told = control.recv().await.expect("an open control channel");
            match told {
                Control::Superseded { session, .. } | Control::Close { session, .. }
                    if session == wanted =>
                {
                    return told;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, next)
        .await
        .expect("told in time")
}

/// Waits until messages to a node arrive at `control`: a backend may still be subscribing.
async fn listening(bench: &Bench, control: &mut mpsc::Receiver<Control>, owner: &crate::NodeId) {
    let mut record = bench.open(owner).await;
    let started = tokio::time::Instant::now();
    loop {
        let again = claim(record.session, record.generation, owner);
        record = bench.store.claim(again).await.unwrap().record;
        let wait = std::time::Duration::from_millis(100);
        if tokio::time::timeout(wait, control.recv()).await.is_ok() {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the node is never told");
    }
    bench.store.end(record.session, record.epoch).await.unwrap();
}

pub(super) async fn claim_moves_the_session_to_the_node(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let before = bench.open(&former).await;
    let claimed = other
        .store
        .claim(claim(before.session, 1, &owner))
        .await
        .unwrap();
    assert_eq!(claimed.former_owner, Some(former));
    assert!(claimed.record.epoch > before.epoch);
    assert_eq!(claimed.record.owner, owner);
    assert!(claimed.record.attached);
    assert_eq!(
        bench.load(before.session).await,
        Some(claimed.record.clone())
    );
    let kept = SessionRecord {
        epoch: before.epoch,
        owner: before.owner.clone(),
        generation: before.generation,
        confirmed: before.confirmed,
        ..claimed.record
    };
    assert_eq!(kept, before, "nothing else has changed");
}

pub(super) async fn claim_of_a_detached_session_names_no_former_owner(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (former, owner) = (bench.node().await, bench.node().await);
    let record = bench.open(&former).await;
    let leave = detach(record.session, record.epoch, 60_000);
    bench.detach(leave).await.unwrap();
    assert!(!bench.load(record.session).await.unwrap().attached);
    let claimed = bench.store.claim(claim(record.session, 1, &owner)).await;
    let claimed = claimed.unwrap();
    assert_eq!(claimed.former_owner, None);
    assert!(claimed.record.attached);
}

pub(super) async fn claim_of_an_unknown_session_is_refused(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let missing = bench.record(&node()).session;
    let refused = bench.store.claim(claim(missing, 1, &node())).await;
    assert_eq!(refused, Err(ClaimError::Unknown));
    assert_eq!(bench.load(missing).await, None);
}

pub(super) async fn generation_rules_of_claim(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let record = bench.open(&owner).await;
    let (session, epoch) = (record.session, record.epoch);
    let set = Remember {
        generations: Some((8, 7)),
        ..Remember::nothing(session, epoch)
    };
    bench.store.remember(set).await.unwrap();
    for wrong in [0, 1, 6] {
        let refused = bench.store.claim(claim(session, wrong, &owner)).await;
        assert_eq!(refused, Err(ClaimError::BadGeneration), "{wrong}");
    }
    let held = bench.load(session).await.unwrap();
    assert_eq!(held.epoch, epoch, "a refused claim changes nothing");
    // The older valid one: the newer token was never confirmed by the client. One above the
    // record's: it was issued, and the write of its generation was lost.
    for (shown, expected) in [(7, (7, 8)), (8, (8, 9)), (8, (8, 9)), (11, (11, 12))] {
        let claimed = bench.store.claim(claim(session, shown, &owner)).await;
        let record = claimed.unwrap().record;
        assert_eq!((record.confirmed, record.generation), expected);
    }
    let replayed = bench.store.claim(claim(session, 8, &owner)).await;
    assert_eq!(replayed, Err(ClaimError::BadGeneration));
}

pub(super) async fn token_that_was_voided_stays_void_when_an_older_rotation_is_repeated(
    fixture: &dyn Fixture,
) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let record = bench.open(&owner).await;
    let rotated = |generations| Remember {
        generations: Some(generations),
        ..Remember::nothing(record.session, record.epoch)
    };
    // Offered, then confirmed; then the offer again, whose answer was lost.
    for generations in [(8, 7), (8, 8), (8, 7)] {
        bench.store.remember(rotated(generations)).await.unwrap();
    }
    let refused = bench.store.claim(claim(record.session, 7, &owner)).await;
    assert_eq!(refused, Err(ClaimError::BadGeneration));
}

pub(super) async fn repeated_claim_with_one_nonce_is_one_claim(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let record = bench.open(&former).await;
    let same = claim(record.session, 1, &owner);
    let first = bench.store.claim(same.clone()).await.unwrap();
    let again = other.store.claim(same.clone()).await.unwrap();
    assert_eq!(again, first, "the former owner included");
    assert_eq!(bench.load(record.session).await, Some(first.record.clone()));
    // A new connection of the same node is another claim.
    let new = claim(record.session, first.record.generation, &owner);
    let second = bench.store.claim(new).await.unwrap();
    assert!(second.record.epoch > first.record.epoch);
    assert_eq!(second.former_owner, Some(owner));
}

pub(super) async fn claims_of_two_nodes_with_one_nonce_are_two(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (one, two) = (bench.node().await, bench.node().await);
    let record = bench.open(&one).await;
    let first = claim(record.session, 1, &one);
    let second = Claim {
        node: two.clone(),
        ..first.clone()
    };
    let first = bench.store.claim(first).await.unwrap();
    let second = bench.store.claim(second).await.unwrap();
    assert!(second.record.epoch > first.record.epoch);
    assert_eq!(second.former_owner, Some(one));
}

pub(super) async fn two_claims_at_once_leave_one_owner(fixture: &dyn Fixture) {
    let nodes = [Bench::new(fixture), Bench::new(fixture)];
    let names = [nodes[0].node().await, nodes[0].node().await];
    for _ in 0..20 {
        let record = nodes[0].open(&names[0]).await;
        let claims = (0..6).map(|at| {
            let bench = nodes[at % 2].clone();
            let claim = claim(record.session, 1, &names[at % 2]);
            tokio::spawn(async move { bench.store.claim(claim).await.unwrap().record })
        });
        let mut claimed: Vec<_> = join_all(claims)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        claimed.sort_by_key(|record| record.epoch);
        let mut last = record.epoch;
        for owner in &claimed {
            assert!(owner.epoch > last, "no epoch has two owners");
            last = owner.epoch;
        }
        let held = nodes[0].load(record.session).await.unwrap();
        assert_eq!(Some(&held), claimed.last());
        for old in &claimed[..5] {
            let change = Remember::nothing(old.session, old.epoch);
            let refused = nodes[1].store.remember(change).await;
            assert_eq!(refused, Err(WriteError::Fenced));
        }
    }
}

pub(super) async fn former_owner_is_told(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let mut control = bench.store.control(&former);
    listening(&other, &mut control, &former).await;
    let record = bench.open(&former).await;
    let claimed = other.store.claim(claim(record.session, 1, &owner)).await;
    let epoch = claimed.unwrap().record.epoch;
    let session = record.session;
    let expected = Control::Superseded { session, epoch };
    assert_eq!(told(&mut control, session).await, expected);
}

/// Its lease ran out, but it may still hold the connection.
pub(super) async fn former_owner_without_a_lease_is_told(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (stalled, owner) = (bench.node().await, bench.node().await);
    let mut control = bench.store.control(&stalled);
    listening(&other, &mut control, &stalled).await;
    let record = bench.open(&stalled).await;
    bench.store.release(stalled).await.unwrap();
    until("the session is detached", async || {
        let swept = other.store.sweep(bench.partition, 60_000, 10).await;
        assert_eq!(swept, Ok(vec![]));
        (!bench.load(record.session).await.unwrap().attached).then_some(())
    })
    .await;
    let claimed = other.store.claim(claim(record.session, 1, &owner)).await;
    let claimed = claimed.unwrap();
    assert_eq!(claimed.former_owner, None, "it was not attached");
    let (session, epoch) = (record.session, claimed.record.epoch);
    let expected = Control::Superseded { session, epoch };
    assert_eq!(told(&mut control, session).await, expected);
}

pub(super) async fn only_one_survives_of_many_opens(fixture: &dyn Fixture) {
    let nodes = [Bench::new(fixture), Bench::new(fixture)];
    let names = [nodes[0].node().await, nodes[0].node().await];
    for _ in 0..10 {
        let user = nodes[0].user();
        let opens = (0..6).map(|at| {
            let bench = nodes[at % 2].clone();
            let record = bench.record_of(user.clone(), &names[at % 2]);
            let session = record.session;
            let open = Open {
                record,
                only_one: OnlyOne::OfUser,
            };
            tokio::spawn(async move { (session, bench.store.open(open).await.unwrap()) })
        });
        let opened: Vec<_> = join_all(opens)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let mut removed: Vec<_> = opened
            .iter()
            .flat_map(|(_, opened)| opened.removed.iter().copied())
            .collect();
        removed.sort_unstable();
        assert_eq!(removed.len(), 5, "each is removed once");
        removed.dedup();
        assert_eq!(removed.len(), 5, "each is removed once");
        for (session, opened) in opened {
            let is_kept = nodes[1].load(session).await.is_some();
            assert_eq!(is_kept, !removed.contains(&session));
            let change = Remember::nothing(session, opened.epoch);
            let written = nodes[0].store.remember(change).await;
            assert_eq!(written.is_ok(), is_kept);
        }
    }
}

pub(super) async fn owner_of_a_removed_session_is_told(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let mut control = bench.store.control(&former);
    listening(&other, &mut control, &former).await;
    let old = bench.open(&former).await;
    let record = other.record_of(old.user.clone().unwrap(), &owner);
    let open = Open {
        record,
        only_one: OnlyOne::OfUser,
    };
    let opened = other.store.open(open).await.unwrap();
    assert_eq!(opened.removed, [old.session]);
    match told(&mut control, old.session).await {
        Control::Superseded { epoch, .. } => assert!(epoch > old.epoch),
        Control::Close { reason, .. } => assert_eq!(reason, CloseReason::Superseded),
        other => panic!("told {other:?}"),
    }
}

/// The word to the former owner may be lost; its record is missing then, and it must not take that
/// for a loss of the store and write the record again.
pub(super) async fn removed_session_is_not_written_again(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let old = bench.open(&former).await;
    let record = other.record_of(old.user.clone().unwrap(), &owner);
    let open = Open {
        record,
        only_one: OnlyOne::OfUser,
    };
    other.store.open(open).await.unwrap();
    let change = Remember::nothing(old.session, old.epoch);
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Fenced));
    let restored = bench.store.restore(old.clone()).await;
    assert_eq!(restored, Err(WriteError::Fenced));
    let claimed = bench.store.claim(claim(old.session, 1, &former)).await;
    assert_eq!(claimed, Err(ClaimError::Unknown));
    assert_eq!(bench.load(old.session).await, None);
}

pub(super) async fn one_user_may_have_many_sessions(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    let user = bench.user();
    let first = bench
        .open_record(bench.record_of(user.clone(), &owner))
        .await;
    let second = bench.open_record(bench.record_of(user, &owner)).await;
    for record in [first, second] {
        assert_eq!(bench.load(record.session).await, Some(record));
    }
}

pub(super) async fn restore_after_loss_raises_epoch(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let owner = bench.node().await;
    fixture.save().await;
    let record = bench.open(&owner).await;
    let (session, epoch) = (record.session, record.epoch);
    fixture.lose_since_save().await;
    bench.lease(&owner, super::sample::LEASE_MS).await;
    let is_lost = async || {
        bench
            .store
            .load(session)
            .await
            .ok()?
            .is_none()
            .then_some(())
    };
    until("the store is back without the session", is_lost).await;
    let change = Remember::nothing(session, epoch);
    let answer = bench.store.remember(change.clone()).await;
    assert_eq!(answer, Err(WriteError::Gone), "missing is not a fence");
    let raised = bench.store.restore(record.clone()).await.unwrap();
    assert_eq!(raised, Epoch(epoch.0 + 1));
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Fenced));
    let expected = SessionRecord {
        epoch: raised,
        ..record
    };
    assert_eq!(bench.load(session).await, Some(expected.clone()));
    // What was restored can be claimed as ever, and is found by its owner's lease.
    let claimed = bench
        .store
        .claim(claim(session, 1, &bench.node().await))
        .await;
    assert_eq!(claimed.unwrap().former_owner, Some(expected.owner));
}

/// The former owner, whose claim is lost, may write late: its node repeats what was not answered.
pub(super) async fn claim_after_a_lost_one_is_fenced_from_it(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let (former, owner) = (bench.node().await, bench.node().await);
    let session = bench.open(&former).await.session;
    fixture.save().await;
    let lost = bench.store.claim(claim(session, 1, &former)).await;
    let lost = lost.unwrap().record.epoch;
    fixture.advance(10).await;
    fixture.lose_since_save().await;
    let again = claim(session, 1, &owner);
    let claims = async || bench.store.claim(again.clone()).await.ok();
    let now = until("the session is claimed once more", claims)
        .await
        .record;
    assert!(now.epoch > lost, "who came last has it");
    let change = Remember::nothing(session, lost);
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Fenced));
    let detached = bench.detach(detach(session, lost, 60_000)).await;
    assert_eq!(detached, Err(WriteError::Fenced));
    assert_eq!(
        bench.store.end(session, lost).await,
        Err(WriteError::Fenced)
    );
    assert_eq!(bench.load(session).await, Some(now));
}

pub(super) async fn restore_replaces_only_an_older_record(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let held = bench.open(&bench.node().await).await;
    let with_epoch = |epoch| SessionRecord {
        epoch: Epoch(epoch),
        grants: "newer".into(),
        ..held.clone()
    };
    let same = bench.store.restore(with_epoch(held.epoch.0)).await;
    assert_eq!(same, Err(WriteError::Fenced));
    assert_eq!(bench.load(held.session).await.as_ref(), Some(&held));
    // The store came back with an older copy than the owner's.
    let newer = held.epoch.0 + 4;
    let change = Remember::nothing(held.session, Epoch(newer));
    assert_eq!(bench.store.remember(change).await, Err(WriteError::Gone));
    let raised = bench.store.restore(with_epoch(newer)).await;
    assert_eq!(raised, Ok(Epoch(newer + 1)));
    assert_eq!(bench.load(held.session).await, Some(with_epoch(newer + 1)));
}

/// The store went back behind a claim: who it takes for the owner may still hold the connection.
pub(super) async fn restore_tells_the_owner_of_an_older_record(fixture: &dyn Fixture) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let (former, owner) = (bench.node().await, bench.node().await);
    let mut control = bench.store.control(&former);
    listening(&other, &mut control, &former).await;
    let held = bench.open(&former).await;
    let claimed = SessionRecord {
        epoch: Epoch(held.epoch.0 + 1),
        owner,
        ..held.clone()
    };
    let epoch = other.store.restore(claimed).await.unwrap();
    let session = held.session;
    let expected = Control::Superseded { session, epoch };
    assert_eq!(told(&mut control, session).await, expected);
}

/// One connection per user in a dialect leaves the user's others alone.
pub(super) async fn only_one_of_a_dialect_ends_no_other_dialects_sessions(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let node = bench.node().await;
    let user = bench.user();
    let mut spark = bench.record_of(user.clone(), &node);
    spark.format = Format::SparkJson;
    let chat = |record: SessionRecord| SessionRecord {
        format: Format::Chat,
        ..record
    };
    let (first, second) = (
        chat(bench.record_of(user.clone(), &node)),
        chat(bench.record_of(user, &node)),
    );
    let mut removed = Vec::new();
    for record in [spark.clone(), first.clone(), second.clone()] {
        let only_one = OnlyOne::OfDialect;
        let open = Open { record, only_one };
        removed.push(bench.store.open(open).await.unwrap().removed);
    }
    assert_eq!(removed, [vec![], vec![], vec![first.session]]);
    assert!(bench.load(spark.session).await.is_some());
    assert!(bench.load(first.session).await.is_none());
    assert!(bench.load(second.session).await.is_some());
}
