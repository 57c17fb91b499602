//! From a plan that breaks a promise to a smaller one that breaks it too.

use crate::plan::{Pace, Plan};

/// Timings that are tried for each smaller plan: with one step less, everything after it falls
/// differently.
const TIMINGS: u64 = 24;

/// Takes clients, faults, steps and delays away for as long as `fails` still says yes.
///
/// Deterministic: the same plan gives the same smaller one.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    loop {
        let smaller = candidates(&best)
            .into_iter()
            .find_map(|candidate| still_fails(&candidate, &mut fails));
        match smaller {
            Some(found) => best = found,
            None => return best,
        }
    }
}

fn still_fails(candidate: &Plan, fails: &mut impl FnMut(&Plan) -> bool) -> Option<Plan> {
    (0..TIMINGS).find_map(|timing| {
        let tried = Plan {
            seed: candidate.seed.wrapping_add(timing),
            ..candidate.clone()
        };
        fails(&tried).then_some(tried)
    })
}

/// All plans that are smaller in one way, the much smaller ones first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan {
            all.push(smaller);
        }
    };
    for at in 0..plan.clients.len() {
        add(&|plan| drop(plan.clients.remove(at)));
    }
    add(&|plan| plan.faults.clear());
    for at in 0..plan.faults.len() {
        add(&|plan| {
            plan.faults.remove(at);
        });
    }
    add(&|plan| plan.nodes = (plan.nodes - 1).max(1));
    add(&|plan| plan.workers = 1);
    add(&|plan| plan.partitions = 1);
    for client in 0..plan.clients.len() {
        let moves = plan.clients.get(client).map_or(0, |c| c.moves.len());
        for (from, long) in [(0, moves / 2), (moves / 2, moves - moves / 2)] {
            add(&|plan| remove(plan, client, from, long));
        }
    }
    for client in 0..plan.clients.len() {
        let moves = plan.clients.get(client).map_or(0, |c| c.moves.len());
        for at in (0..moves).rev() {
            add(&|plan| remove(plan, client, at, 1));
        }
    }
    let calmer: [fn(&mut Pace); 5] = [
        |pace| pace.fails = 0,
        |pace| pace.client = 0,
        |pace| pace.feed = 0,
        |pace| pace.hold = 0,
        |pace| pace.store = 0,
    ];
    for calm in calmer {
        add(&|plan| calm(&mut plan.pace));
    }
    add(&|plan| plan.kept = None);
    add(&|plan| (plan.outbox, plan.pipe, plan.filling) = (64 << 10, 16 << 10, 2));
    add(&|plan| (plan.ring, plan.page) = (64, 64));
    all
}

fn remove(plan: &mut Plan, client: usize, from: usize, count: usize) {
    if let Some(client) = plan.clients.get_mut(client) {
        let until = (from + count).min(client.moves.len());
        drop(client.moves.drain(from.min(until)..until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Move};

    #[test]
    fn what_does_not_matter_is_taken_away_and_what_matters_stays() {
        let plan = (0..10_000)
            .map(Plan::of)
            .find(|plan| {
                let mut moves = plan.clients.iter().flat_map(|client| &client.moves);
                plan.clients.len() > 2
                    && plan.faults.len() > 2
                    && moves.any(|(_, what)| matches!(what, Move::Cut))
                    && plan
                        .faults
                        .iter()
                        .any(|(_, f)| matches!(f, Fault::Kill { .. }))
            })
            .unwrap();
        let fails = |plan: &Plan| {
            let mut moves = plan.clients.iter().flat_map(|client| &client.moves);
            moves.any(|(_, what)| matches!(what, Move::Cut))
                && plan
                    .faults
                    .iter()
                    .any(|(_, f)| matches!(f, Fault::Kill { .. }))
        };
        let small = shrink(&plan, fails);
        assert!(fails(&small));
        assert_eq!((small.clients.len(), small.faults.len()), (1, 1));
        assert_eq!(small.clients[0].moves.len(), 1);
        assert_eq!(small, shrink(&plan, fails), "it is repeatable");
    }
}
