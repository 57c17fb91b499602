//! Tells a slot that was moved from one that was failed over.
//!
//! Another process that serves a partition may have lost something: it was restarted, or it was a
//! replica that lagged. Moving a slot takes every key along, so nothing is lost, and nobody need be
//! told of a gap. It is taken for a move only where all of this is so, and for a loss otherwise:
//!
//! - The former process lives, is a master of other slots (by the cluster's word and its own), and
//!   says itself that the slot is served by the new one. Whoever was replaced by a replica has no
//!   slots left and is a replica itself.
//! - The new process was running already when the former one last said that it serves the slot: it
//!   was not restarted since it got the keys.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::cluster::{SlotMap, View};
use super::url::Address;

/// How many processes that served a slot are remembered, the last ones.
const HOLDERS: usize = 4;

/// What was seen of the masters of a cluster, in rounds of questions to all of its nodes.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    round: u64,
    /// By run id, those that are masters.
    masters: HashMap<Box<str>, Master>,
    /// By slot, of those that are asked for: which processes said themselves that they serve it,
    /// and in which round for the last time.
    holders: HashMap<u16, VecDeque<(Box<str>, u64)>>,
}

#[derive(Debug)]
struct Master {
    address: Address,
    /// The round since which it was a master whenever it was seen.
    since: u64,
}

impl Sightings {
    /// Notes the answers of one round.
    pub(super) fn note(&self, views: &[View], slots: &[u16]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.round += 1;
        let round = seen.round;
        // Who serves nothing and did not answer is forgotten: the table is no larger than a cluster.
        let is_known = |address: &Address| views.iter().any(|view| view.map.has(address));
        seen.masters.retain(|_, master| is_known(&master.address));
        let masters = || views.iter().filter(|view| view.is_of_master());
        for view in views {
            // The same node may have been asked under another name.
            if !masters().any(|master| master.run_id == view.run_id) {
                seen.masters.remove(&view.run_id);
            }
        }
        for view in masters() {
            let address = view.node.clone();
            let master = seen.masters.entry(view.run_id.clone());
            master.or_insert(Master {
                address,
                since: round,
            });
        }
        for slot in slots {
            let claims = || masters().filter(|view| view.map.master(*slot) == Some(&view.node));
            // Where two say so, one of them has not heard of the other.
            if let (Some(view), 1) = (claims().next(), claims().count()) {
                let holders = seen.holders.entry(*slot).or_default();
                holders.retain(|(run_id, _)| *run_id != view.run_id);
                holders.push_back((view.run_id.clone(), round));
                while holders.len() > HOLDERS {
                    holders.pop_front();
                }
            }
        }
    }

    /// Where a process was seen as a master.
    pub(super) fn address_of(&self, run_id: &str) -> Option<Address> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.masters
            .get(run_id)
            .map(|master| master.address.clone())
    }

    /// Whether `heir` was a master before the round in which `former` last said, and alone, that it
    /// serves the slot, and nobody but `heir` said so since.
    fn ran_before(&self, heir: (&Address, &str), slot: u16, former: &str) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = seen.holders.get(&slot).into_iter().flatten();
        let mut others = holders.rev().filter(|(run_id, _)| **run_id != *heir.1);
        let Some((holder, last)) = others.next() else {
            return false;
        };
        let master = seen.masters.get(heir.1);
        let master = master.filter(|master| master.address == *heir.0);
        **holder == *former && master.is_some_and(|master| master.since < *last)
    }
}

/// Whether a slot was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was, and nothing is lost.
    Moved,
    /// The former process has not heard of it yet: ask again.
    NotYet,
    /// It cannot be known.
    Unknown,
}

/// Judges a slot that `map` gives to the process `heir`, by what its former process says now.
pub(super) fn judge(
    sightings: &Sightings,
    map: &SlotMap,
    (slot, heir): (u16, &str),
    former: &View,
) -> Verdict {
    let Some(address) = map.master(slot) else {
        return Verdict::Unknown;
    };
    if former.node == *address {
        // Some node has not heard of it yet.
        return Verdict::NotYet;
    }
    let is_master = former.is_of_master() && map.has(&former.node);
    if !is_master || !sightings.ran_before((address, heir), slot, &former.run_id) {
        return Verdict::Unknown;
    }
    match former.map.master(slot) {
        Some(served_by) if served_by == address => Verdict::Moved,
        Some(served_by) if *served_by == former.node => Verdict::NotYet,
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::cluster::SlotMap;

    const SLOT: u16 = 512;

    fn at(port: u16) -> Address {
        Address {
            host: "h".into(),
            port,
        }
    }

    /// Port 1 serves the slot in `slot_of`, and each of 1 to 3 some others.
    fn map(holder: u16) -> SlotMap {
        let others = (1..=3).map(|port| (port * 1000, port * 1000 + 99, at(port)));
        SlotMap::of(others.chain([(SLOT, SLOT, at(holder))]))
    }

    fn view(port: u16, run_id: &str, holder: u16) -> View {
        View {
            node: at(port),
            run_id: run_id.into(),
            age: (true, 1),
            map: map(holder),
            is_master: true,
        }
    }

    /// Two rounds in which all is well: process `a` serves the slot, `b` and `c` something else.
    fn calm() -> Sightings {
        let sightings = Sightings::default();
        for _ in 0..2 {
            let views = [view(1, "a", 1), view(2, "b", 1), view(3, "c", 1)];
            sightings.note(&views, &[SLOT]);
        }
        sightings
    }

    fn judged(sightings: &Sightings, heir: &str, former: &View) -> Verdict {
        judge(sightings, &map(2), (SLOT, heir), former)
    }

    #[test]
    fn slot_that_a_living_master_gave_away_is_moved() {
        let sightings = calm();
        assert_eq!(sightings.address_of("a"), Some(at(1)));
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Moved);
        // The heir may have said so before anybody asked.
        let views = [view(1, "a", 2), view(2, "b", 2), view(3, "c", 2)];
        sightings.note(&views, &[SLOT]);
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Moved);
        assert_eq!(judged(&sightings, "b", &view(1, "a", 1)), Verdict::NotYet);
    }

    #[test]
    fn whoever_was_replaced_proves_nothing() {
        let sightings = calm();
        let replica = View {
            is_master: false,
            ..view(1, "a", 2)
        };
        let without_slots = View {
            map: SlotMap::of([(SLOT, SLOT, at(2))]),
            ..view(1, "a", 2)
        };
        let cut_off = View {
            age: (false, 1),
            ..view(1, "a", 2)
        };
        let restarted = view(1, "a2", 2);
        for former in [replica, without_slots, cut_off, restarted] {
            assert_eq!(judged(&sightings, "b", &former), Verdict::Unknown);
        }
        // The cluster knows it no more as a master of anything.
        let of_others = SlotMap::of([(SLOT, SLOT, at(2)), (3000, 3099, at(3))]);
        let verdict = judge(&sightings, &of_others, (SLOT, "b"), &view(1, "a", 2));
        assert_eq!(verdict, Verdict::Unknown);
    }

    #[test]
    fn heir_that_began_later_or_again_proves_nothing() {
        let sightings = calm();
        assert_eq!(judged(&sightings, "b2", &view(1, "a", 2)), Verdict::Unknown);
        let views = [view(1, "a", 2), view(2, "b2", 2), view(3, "c", 2)];
        sightings.note(&views, &[SLOT]);
        assert_eq!(judged(&sightings, "b2", &view(1, "a", 2)), Verdict::Unknown);
        // Seen in one round only: nobody knows which of both was first.
        let once = Sightings::default();
        let views = [view(1, "a", 1), view(2, "b", 1)];
        once.note(&views, &[SLOT]);
        assert_eq!(judged(&once, "b", &view(1, "a", 2)), Verdict::Unknown);
    }

    #[test]
    fn heir_that_was_a_replica_proves_nothing() {
        let replica = |run_id| View {
            is_master: false,
            ..view(2, run_id, 1)
        };
        let sightings = Sightings::default();
        for _ in 0..2 {
            let views = [view(1, "a", 1), replica("b"), view(3, "c", 1)];
            sightings.note(&views, &[SLOT]);
        }
        sightings.note(&[view(1, "a", 2), view(2, "b", 2)], &[SLOT]);
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Unknown);
        // Nor one that was a replica in between.
        let sightings = calm();
        sightings.note(&[view(1, "a", 1), replica("b")], &[SLOT]);
        sightings.note(&[view(1, "a", 2), view(2, "b", 2)], &[SLOT]);
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Unknown);
    }

    #[test]
    fn former_that_has_not_heard_of_it_says_nothing_new() {
        // `b` had the slot, and is restarted while `a` still takes it for its own.
        let sightings = calm();
        for _ in 0..3 {
            let views = [view(1, "a", 1), view(2, "b2", 2), view(3, "c", 2)];
            sightings.note(&views, &[SLOT]);
        }
        assert_eq!(judged(&sightings, "b2", &view(1, "a", 2)), Verdict::Unknown);
    }

    #[test]
    fn node_that_is_asked_under_two_names_is_one() {
        let sightings = Sightings::default();
        let alias = View {
            node: Address {
                host: "seed".into(),
                port: 2,
            },
            ..view(2, "b", 1)
        };
        for _ in 0..2 {
            let views = [
                alias.clone(),
                view(1, "a", 1),
                view(2, "b", 1),
                alias.clone(),
            ];
            sightings.note(&views, &[SLOT]);
        }
        assert_eq!(sightings.address_of("b"), Some(at(2)));
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Moved);
    }

    #[test]
    fn slot_that_went_through_other_hands_proves_nothing() {
        let sightings = calm();
        let views = [view(1, "a", 3), view(2, "b", 3), view(3, "c", 3)];
        sightings.note(&views, &[SLOT]);
        assert_eq!(judged(&sightings, "b", &view(1, "a", 2)), Verdict::Unknown);
        // By the word of the last of them it is.
        assert_eq!(judged(&sightings, "b", &view(3, "c", 2)), Verdict::Moved);
    }

    #[test]
    fn who_left_the_cluster_is_forgotten() {
        let sightings = calm();
        let gone = SlotMap::of([(SLOT, SLOT, at(1))]);
        let views = [View {
            map: gone,
            ..view(1, "a", 1)
        }];
        sightings.note(&views, &[SLOT]);
        assert_eq!(sightings.address_of("b"), None);
        assert_eq!(sightings.address_of("a"), Some(at(1)));
    }
}
