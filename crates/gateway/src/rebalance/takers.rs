//! Which nodes take what is sent away. One that the balancer does not know stays below the mean
//! however many leave the others: it must not make them shed for ever.

use std::collections::HashMap;
use std::hash::Hash;

/// Looks that a judgement takes at the least: counts are seconds old, and clients need time.
const LOOKS: u32 = 6;
/// A node is judged when so many connections were sent away for each node there is: by a balancer
/// that picks at random, as many have come to it.
const SHED_PER_NODE: u64 = 8;
/// A node that took less than this part of its random share has taken nothing to speak of.
const PART: u64 = 4;
/// Judgements of that kind in a row that leave a node out.
const FRUITLESS: u32 = 3;

/// How full the cluster is, and how far from the mean is far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// Nodes that serve, this one among them.
    pub(crate) nodes: u64,
    /// Mean of connections per node.
    pub(crate) mean: f64,
    /// As a part of the mean.
    pub(crate) threshold: f64,
    /// What this node has sent away since the last look.
    pub(crate) shed: u64,
}

/// What is known of the other nodes, by name.
#[derive(Debug)]
pub(crate) struct Takers<N>(HashMap<N, Taker>);

#[derive(Clone, Copy, Debug)]
struct Taker {
    /// Connections when the watch began.
    then: u64,
    looks: u32,
    shed: u64,
    fruitless: u32,
    /// Left out; the fewest connections since.
    outside: Option<u64>,
}

impl<N: Eq + Hash + Clone> Takers<N> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Looks at the others; answers the connections of those that count, and whom it has left out
    /// just now.
    pub(crate) fn look(
        &mut self,
        others: &[(N, u64)],
        own: u64,
        (shed, threshold): (u64, f64),
    ) -> (Vec<u64>, Vec<N>) {
        self.0
            .retain(|known, _| others.iter().any(|(node, _)| node == known));
        let sum = own + others.iter().map(|(_, count)| count).sum::<u64>();
        let nodes = others.len() as u64 + 1;
        let measure = Measure {
            nodes,
            mean: sum as f64 / nodes as f64,
            threshold,
            shed,
        };
        let (mut counts, mut left_out) = (Vec::new(), Vec::new());
        for (node, count) in others {
            let begun = Taker::watched(*count);
            let taker = self.0.entry(node.clone()).or_insert(begun);
            let was_in = taker.outside.is_none();
            taker.look(*count, measure);
            if taker.outside.is_none() {
                counts.push(*count);
            } else if was_in {
                left_out.push(node.clone());
            }
        }
        (counts, left_out)
    }
}

impl Taker {
    const fn watched(count: u64) -> Self {
        Self {
            then: count,
            looks: 0,
            shed: 0,
            fruitless: 0,
            outside: None,
        }
    }

    fn look(&mut self, now: u64, measure: Measure) {
        let far = measure.threshold * measure.mean;
        if let Some(fewest) = self.outside {
            let fewest = fewest.min(now);
            // Clients come to it after all: somebody sends them.
            if (now - fewest) as f64 >= far.max(1.0) {
                *self = Self::watched(now);
            } else {
                self.outside = Some(fewest);
            }
            return;
        }
        if (now as f64) >= measure.mean - far / 2.0 {
            *self = Self::watched(now);
            return;
        }
        self.looks += 1;
        self.shed += measure.shed;
        if self.looks < LOOKS || self.shed < SHED_PER_NODE * measure.nodes {
            return;
        }
        let took = now.saturating_sub(self.then);
        let fruitless = if took * measure.nodes * PART < self.shed {
            self.fruitless + 1
        } else {
            0
        };
        *self = Self {
            fruitless,
            outside: (fruitless >= FRUITLESS).then_some(now),
            ..Self::watched(now)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many looks as leave a node out that takes nothing.
    const PATIENCE: u32 = LOOKS * FRUITLESS;

    fn looked(takers: &mut Takers<&'static str>, below: u64, shed: u64) -> usize {
        let others = [("even", 1000), ("below", below)];
        takers.look(&others, 1200, (shed, 0.1)).0.len()
    }

    #[test]
    fn a_node_that_takes_nothing_is_left_out_after_a_while_and_named_once() {
        let mut takers = Takers::new();
        let mut named = Vec::new();
        for _ in 0..PATIENCE + 20 {
            let others = [("even", 1000), ("below", 0)];
            named.extend(takers.look(&others, 1200, (10, 0.1)).1);
        }
        assert_eq!(named, ["below"]);
        assert_eq!(looked(&mut takers, 0, 10), 1);
    }

    #[test]
    fn a_node_that_takes_its_share_stays_however_long_it_is_below_the_mean() {
        let mut takers = Takers::new();
        // It loses what it takes in between: 6 of 18 come, and leave again.
        for look in 0..10 * u64::from(PATIENCE) {
            assert_eq!(looked(&mut takers, 100 + look % 6, 3), 2, "look {look}");
        }
    }

    #[test]
    fn without_shedding_nobody_is_judged() {
        let mut takers = Takers::new();
        for _ in 0..10 * PATIENCE {
            assert_eq!(looked(&mut takers, 0, 0), 2);
        }
    }

    #[test]
    fn a_node_that_was_left_out_counts_again_once_clients_come_to_it() {
        let mut takers = Takers::new();
        while looked(&mut takers, 50, 100) == 2 {}
        assert_eq!(looked(&mut takers, 60, 0), 1, "a few of its own");
        assert_eq!(looked(&mut takers, 20, 0), 1);
        assert_eq!(looked(&mut takers, 120, 0), 2, "a tenth of the mean came");
    }
}
