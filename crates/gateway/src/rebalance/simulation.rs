//! Nodes behind a balancer, second by second: how long it takes until they are even, and at what
//! price.

use super::rule::{Loads, is_over, quota, refused_share};
use super::takers::Takers;
use crate::settings::RebalanceSettings;

/// Between two looks at the leases, in seconds.
const LOOK: u64 = 5;

/// A small generator: the same on every machine.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        let at = (self.next() * count as f64).floor();
        (0..count).rfind(|&place| place as f64 <= at).unwrap_or(0)
    }
}

/// One node, and what it knows of the others.
struct Node {
    count: u64,
    over: bool,
    refused: f64,
    owed: f64,
    shed: u64,
    takers: Takers<usize>,
    others: Vec<u64>,
}

/// Nodes behind a balancer that picks at random among those that it knows. Leases are renewed
/// every 5 s, so a node knows the others' counts late.
struct Cluster {
    nodes: Vec<Node>,
    /// The balancer knows the first ones.
    known: usize,
    settings: RebalanceSettings,
    dice: Dice,
    second: u64,
    moved: u64,
    tried: u64,
}

impl Cluster {
    fn new(counts: &[u64], seed: u64) -> Self {
        let node = |&count: &u64| Node {
            count,
            over: false,
            refused: 0.0,
            owed: 0.0,
            shed: 0,
            takers: Takers::new(),
            others: Vec::new(),
        };
        Self {
            nodes: counts.iter().map(node).collect(),
            known: counts.len(),
            settings: RebalanceSettings::default(),
            dice: Dice(seed),
            second: 0,
            moved: 0,
            tried: 0,
        }
    }

    fn joined(old: usize, each: u64, seed: u64) -> Self {
        let mut counts = vec![each; old];
        counts.push(0);
        Self::new(&counts, seed)
    }

    fn total(&self) -> u64 {
        self.nodes.iter().map(|node| node.count).sum()
    }

    /// A second passes; how many were sent away in it.
    fn step(&mut self) -> u64 {
        if self.second.is_multiple_of(LOOK) {
            self.look();
        }
        self.second += 1;
        let mut leaving = 0;
        for node in &mut self.nodes {
            let loads = Loads {
                own: node.count,
                others: &node.others,
            };
            node.over = is_over(loads, &self.settings, node.over);
            if !node.over {
                (node.refused, node.owed) = (0.0, 0.0);
                continue;
            }
            node.refused = refused_share(loads, &self.settings);
            node.owed += quota(loads, &self.settings, 1.0);
            while node.owed >= 1.0 {
                node.owed -= 1.0;
                node.count -= 1;
                node.shed += 1;
                leaving += 1;
            }
        }
        self.come(leaving);
        self.moved += leaving;
        leaving
    }

    fn look(&mut self) {
        let counts: Vec<u64> = self.nodes.iter().map(|node| node.count).collect();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let others = counts.iter().copied().enumerate();
            let others: Vec<_> = others.filter(|(other, _)| *other != at).collect();
            let shed = std::mem::take(&mut node.shed);
            let judged = (shed, self.settings.threshold);
            node.others = node.takers.look(&others, node.count, judged).0;
        }
    }

    /// So many connect, each until it is accepted.
    fn come(&mut self, count: u64) {
        for _ in 0..count {
            loop {
                self.tried += 1;
                let at = self.dice.below(self.known);
                let roll = self.dice.next();
                if roll >= self.nodes[at].refused {
                    self.nodes[at].count += 1;
                    break;
                }
            }
        }
    }

    fn is_even(&self) -> bool {
        let mean = self.total() as f64 / self.nodes.len() as f64;
        let near = |node: &Node| (node.count as f64 - mean).abs() <= self.settings.threshold * mean;
        self.nodes.iter().all(near)
    }

    /// Until all are even.
    fn until_even(&mut self) {
        while !self.is_even() {
            assert!(self.second < 1800, "not even after {} s", self.second);
            self.step();
        }
    }

    fn reconnects(&self) -> f64 {
        self.moved as f64 / self.total() as f64
    }
}

#[test]
fn a_fourth_node_is_within_a_tenth_of_the_mean_in_four_minutes() {
    for seed in 1..=20 {
        let mut cluster = Cluster::joined(3, 10_000, seed);
        cluster.until_even();
        let handshakes = cluster.tried as f64 / cluster.total() as f64;
        assert!(cluster.second <= 240, "{} s", cluster.second);
        let reconnects = cluster.reconnects();
        assert!(reconnects <= 0.4, "{reconnects} per connection");
        assert!(handshakes <= 1.2, "{handshakes} handshakes");
    }
}

#[test]
fn a_tenth_node_is_too_although_the_others_are_hardly_above_the_mean() {
    for seed in 1..=20 {
        let mut cluster = Cluster::joined(9, 3_000, seed);
        cluster.until_even();
        assert!(cluster.second <= 240, "{} s", cluster.second);
        let reconnects = cluster.reconnects();
        assert!(reconnects <= 0.4, "{reconnects} per connection");
    }
}

#[test]
fn a_node_that_the_balancer_does_not_know_costs_a_quarter_of_a_reconnect_and_then_nothing() {
    for (old, each) in [(3, 10_000), (9, 3_000), (2, 600)] {
        let mut cluster = Cluster::joined(old, each, 7);
        cluster.known = old;
        let mut last = 0;
        // An hour.
        for second in 0..3600 {
            if cluster.step() > 0 {
                last = second;
            }
        }
        assert!(last < 600, "{old} nodes shed still after {last} s");
        let reconnects = cluster.reconnects();
        assert!(
            reconnects <= 0.25,
            "{old} nodes: {reconnects} per connection"
        );
        let worst = cluster
            .nodes
            .iter()
            .take(old)
            .map(|node| node.count.abs_diff(each))
            .max();
        let worst = worst.unwrap_or_default() as f64 / each as f64;
        assert!(
            worst <= 0.15,
            "{old} nodes: {worst} from the mean of those in use"
        );
    }
}

#[test]
fn a_node_that_gets_newcomers_late_is_evened_out_all_the_same() {
    let mut cluster = Cluster::joined(3, 10_000, 3);
    cluster.known = 3;
    for _ in 0..900 {
        cluster.step();
    }
    assert_eq!(cluster.step(), 0, "they have given up");
    cluster.known = 4;
    // As everywhere, some clients leave and others come.
    for _ in 0..3600 {
        for _ in 0..8 {
            let at = cluster.dice.below(3);
            cluster.nodes[at].count -= 1;
        }
        cluster.come(8);
        cluster.step();
        if cluster.is_even() {
            return;
        }
    }
    panic!("not even after an hour");
}
