//! Lines break, nodes die, clients dawdle: nothing is lost and nothing comes twice.

mod cuts;
mod drain;
mod faults;
mod kill;
mod lifecycle;
mod repeat;
mod rolling;
mod slow;
mod split;
mod store;
mod takeover;

use crate::harness::history::History;

/// Asserts that every session saw every message once, in order, and that something happened.
fn judge(history: &History, deliveries_at_least: usize) {
    let faults = history.faults();
    let few: Vec<&String> = faults.iter().take(20).collect();
    assert!(faults.is_empty(), "{} faults: {few:#?}", faults.len());
    let deliveries = history.deliveries();
    assert!(
        deliveries >= deliveries_at_least,
        "only {deliveries} deliveries"
    );
    eprintln!(
        "{} sessions, {} publishes, {deliveries} deliveries, {} resumes",
        history.sessions.len(),
        history.acknowledged.len(),
        history.resumes(),
    );
}
