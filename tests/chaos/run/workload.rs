//! What clients do while things break.

use std::collections::BTreeSet;

use chaos::checker::history::Topic;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::member::Plan;
use crate::round::Script;
use crate::store::Topology;

/// A kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A few topics, an even rate.
    Steady,
    /// Nothing, and then many at once.
    Bursts,
    /// Ten times as many topics.
    ManyTopics,
    /// Everybody comes back at once, again and again.
    ResumeStorm,
    /// Clients that read nothing for seconds.
    SlowReaders,
    /// Clients that change their minds about topics.
    Churn,
    /// Sessions that are claimed twice at once.
    Takeovers,
    /// Some of each.
    Mixed,
}

impl Workload {
    pub(crate) const ALL: [Self; 8] = [
        Self::Steady,
        Self::Bursts,
        Self::ManyTopics,
        Self::ResumeStorm,
        Self::SlowReaders,
        Self::Churn,
        Self::Takeovers,
        Self::Mixed,
    ];

    const fn topics(self) -> usize {
        match self {
            Self::ManyTopics => 240,
            Self::SlowReaders => 8,
            _ => 24,
        }
    }
}

/// Topics whose logs are short.
const BOUNDED: usize = 2;

/// All topics of a round.
pub(crate) fn topics(script: &Script) -> Vec<Topic> {
    let long = (0..script.workload.topics()).map(|at| format!("room:{at}"));
    long.map(Topic::from).chain(bounded()).collect()
}

/// Those of them that clients may be too late for.
pub(crate) fn bounded() -> BTreeSet<Topic> {
    let names = (0..BOUNDED).map(|at| format!("short:{at}"));
    names.map(Topic::from).collect()
}

/// What each client does.
pub(crate) fn plans(script: &Script, rng: &mut StdRng) -> Vec<Plan> {
    (0..script.sessions)
        .map(|number| plan(script, number, rng))
        .collect()
}

fn plan(script: &Script, number: u32, rng: &mut StdRng) -> Plan {
    let kind = match script.workload {
        Workload::Mixed => {
            let parts = Workload::ALL.get(..7).unwrap_or_default();
            parts.choose(rng).copied().unwrap_or(Workload::Steady)
        }
        other => other,
    };
    let has_replicas = matches!(script.topology, Topology::Sentinel | Topology::Cluster);
    let topics = topics(script);
    let count = if kind == Workload::ManyTopics { 20 } else { 5 };
    let follows: Vec<Topic> = topics.choose_multiple(rng, count).cloned().collect();
    // One in four publishes.
    let publishes = number.is_multiple_of(4).then(|| {
        // Every topic has a publisher.
        let publishers = (script.sessions / 4).max(1) as usize;
        let own = topics.iter().skip(number as usize / 4).step_by(publishers);
        let mut own: Vec<Topic> = own.cloned().collect();
        own.extend(topics.choose_multiple(rng, 3).cloned());
        own.sort();
        own.dedup();
        let pause = if kind == Workload::Bursts {
            900..1500
        } else {
            60..180
        };
        (own, pause)
    });
    Plan {
        number,
        seed: rng.random(),
        follows,
        churn: (kind == Workload::Churn).then(|| (topics.clone(), 80..700)),
        publishes,
        burst: if kind == Workload::Bursts { 12 } else { 1 },
        bytes: if kind == Workload::SlowReaders {
            3000
        } else {
            40
        },
        // Publishers are every fourth: half of them.
        is_replicated: has_replicas && number % 8 == 4,
        names_one: script.partitions > 1 && number % 5 == 1,
        cuts: match kind {
            Workload::ResumeStorm => Some(1500..2000),
            Workload::Steady | Workload::SlowReaders => None,
            _ => Some(2000..9000),
        },
        races: (kind == Workload::Takeovers).then_some(1000..4000),
        dawdles: (kind == Workload::SlowReaders).then_some(1000..6000),
    }
}
