//! Revocations of tokens: told, kept, forgotten.

use tokio::sync::mpsc;

use super::fixture::{Fixture, PATIENCE, until};
use super::sample::{Bench, node, unique};
use crate::{Control, Revocation};

/// A revocation with a text that no other check uses.
fn revocation(stem: &str, until_ms: u64) -> Revocation {
    Revocation {
        what: format!("{stem}:{}", unique()).into(),
        until_ms,
    }
}

async fn kept(bench: &Bench) -> Vec<Revocation> {
    let mut all = bench.store.revocations().await.unwrap();
    all.sort_by(|one, other| one.what.cmp(&other.what));
    all
}

async fn hears(control: &mut mpsc::Receiver<Control>, wanted: &Revocation) -> bool {
    let next = async {
        loop {
            if control.recv().await.unwrap() == Control::Revoked(wanted.clone()) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE / 20, next).await.is_ok()
}

pub(super) async fn a_revocation_is_told_to_all_nodes_and_kept_for_those_that_come_later(
    fixture: &dyn Fixture,
) {
    let (bench, other) = (Bench::new(fixture), Bench::new(fixture));
    let mut controls = [bench.store.control(&node()), other.store.control(&node())];
    let far_ms = fixture.now_ms() + 3_600_000;
    for control in &mut controls {
        // A backend may still be subscribing.
        until("the node is told", async || {
            let probe = revocation("probe", far_ms);
            bench.store.revoke(probe.clone()).await.unwrap();
            hears(control, &probe).await.then_some(())
        })
        .await;
    }
    let odd = revocation("t:a:{}\u{e9} |\"", far_ms);
    other.store.revoke(odd.clone()).await.unwrap();
    for control in &mut controls {
        assert!(hears(control, &odd).await, "every node is told");
    }
    let later = Bench::new(fixture);
    assert!(kept(&later).await.contains(&odd));
}

pub(super) async fn a_revocation_is_kept_once_until_the_later_end(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let far_ms = fixture.now_ms() + 3_600_000;
    let first = revocation("t", far_ms);
    let longer = Revocation {
        until_ms: far_ms + 5,
        ..first.clone()
    };
    for revocation in [&first, &longer, &first] {
        bench.store.revoke(revocation.clone()).await.unwrap();
    }
    assert_eq!(kept(&bench).await, [longer]);
}

pub(super) async fn a_revocation_ends_with_its_time(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let short = revocation("short", fixture.now_ms() + 300);
    let long = revocation("long", fixture.now_ms() + 3_600_000);
    bench.store.revoke(short.clone()).await.unwrap();
    fixture.advance(600).await;
    bench.store.revoke(long.clone()).await.unwrap();
    assert_eq!(kept(&bench).await, [long]);
}

pub(super) async fn hundreds_of_revocations_are_all_read(fixture: &dyn Fixture) {
    let bench = Bench::new(fixture);
    let far_ms = fixture.now_ms() + 3_600_000;
    let mut all: Vec<_> = (0..1203)
        .map(|at| revocation("t", far_ms + at % 7))
        .collect();
    for revocation in &all {
        bench.store.revoke(revocation.clone()).await.unwrap();
    }
    all.sort_by(|one, other| one.what.cmp(&other.what));
    assert_eq!(kept(&bench).await, all);
}
