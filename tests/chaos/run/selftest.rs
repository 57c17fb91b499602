//! `make chaos-selftest`: whether the run finds what is planted. A gateway with one defect each is
//! broken until it is found out; one without a defect must not be.

use std::time::Duration;

use anyhow::Context as _;
use chaos::checker::{Rule, count};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::Arguments;
use crate::round::{Outcome, Script, play};
use crate::store::Topology;
use crate::workload::Workload;

/// What can be planted, under the name that the gateway knows it by, and the promise that it
/// breaks.
const DEFECTS: [(&str, &str); 10] = [
    ("no-gate", "a resumed session is live before its replay"),
    ("no-back-link", "a lost push is not looked for"),
    ("early-ack", "acknowledged without being stored"),
    ("no-fence", "who lost a session goes on publishing"),
    ("no-repair", "what came while unsubscribed is not read"),
    (
        "no-barrier",
        "the tip is read before the subscription holds",
    ),
    ("delivery-cursor", "sent counts as received"),
    ("no-idempotency", "a repeated publish is a new one"),
    ("no-generation", "a store that lost writes is not noticed"),
    ("no-merge", "a replay comes topic by topic"),
];

/// A defect is to be found within so long.
const WITHIN: Duration = Duration::from_mins(2);
/// How long each round breaks things: short, so that many constellations are met.
const ROUND: Duration = Duration::from_secs(8);

/// Plants one defect after the other. False when one was not found, or something was found where
/// nothing was planted.
///
/// # Errors
/// A round could not be carried out.
pub(crate) async fn run(arguments: &Arguments, seed: u64) -> anyhow::Result<bool> {
    let wanted = |name: &&(&str, &str)| {
        let defects = &arguments.defects;
        defects.is_empty() || defects.iter().any(|one| one == name.0)
    };
    let chosen: Vec<_> = DEFECTS.iter().filter(wanted).collect();
    anyhow::ensure!(
        arguments
            .defects
            .iter()
            .all(|one| DEFECTS.iter().any(|(name, _)| name == one)),
        "{:?} are not all among {DEFECTS:?}",
        arguments.defects
    );
    let mut rng = StdRng::seed_from_u64(seed);
    let mut missed = Vec::new();
    for turn in 0..arguments.controls {
        let outcome = round(arguments, "", turn, &mut rng).await?;
        let caught = rules(&outcome);
        println!("nothing planted: {caught:?}");
        let fell = |violation: &chaos::checker::Violation| violation.rule == Rule::NodeEnded;
        if !caught.is_empty() || outcome.violations.iter().any(fell) {
            missed.push("nothing");
            crate::tell_violations(&outcome);
        }
    }
    for (name, what) in chosen {
        if !is_caught(arguments, name, what, &mut rng).await? {
            missed.push(name);
        }
    }
    let verdict = if missed.is_empty() {
        "all found"
    } else {
        "BROKEN"
    };
    println!("chaos-selftest: SEED={seed}: {verdict} {missed:?}");
    Ok(missed.is_empty())
}

async fn is_caught(
    arguments: &Arguments,
    name: &str,
    what: &str,
    rng: &mut StdRng,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < WITHIN {
        let outcome = round(arguments, name, turn, rng).await?;
        let caught = rules(&outcome);
        turn += 1;
        if !caught.is_empty() {
            let took = began.elapsed().as_secs_f64();
            println!("{name} ({what}): found after {took:.0} s and {turn} rounds by {caught:?}");
            return Ok(true);
        }
    }
    println!("{name} ({what}): NOT FOUND within {WITHIN:?} and {turn} rounds");
    Ok(false)
}

/// How often which rule was broken. That clients were late does not count: a busy machine does
/// the same.
fn rules(outcome: &Outcome) -> std::collections::BTreeMap<Rule, usize> {
    let of_history = |violation: &&chaos::checker::Violation| {
        violation.session.is_some() || violation.topic.is_some()
    };
    let violations: Vec<_> = outcome
        .violations
        .iter()
        .filter(of_history)
        .cloned()
        .collect();
    count(&violations)
}

async fn round(
    arguments: &Arguments,
    defect: &str,
    turn: usize,
    rng: &mut StdRng,
) -> anyhow::Result<Outcome> {
    let topology = match &arguments.topology {
        Some(name) => crate::named(&crate::TOPOLOGIES, name)?,
        None if turn.is_multiple_of(2) => Topology::Forgetful,
        None => Topology::Redis,
    };
    let workload = Workload::ALL.choose(rng).copied();
    let script = Script {
        seed: rng.random(),
        topology,
        partitions: if topology == Topology::Cluster { 8 } else { 1 },
        workload: workload.unwrap_or(Workload::Mixed),
        sessions: arguments.sessions.min(60),
        long: ROUND,
        faults: Vec::new(),
        binary: crate::binary(arguments, "sparkway-planted")?,
        is_ahead: false,
        keeps: arguments.keep,
        environment: vec![("SPARKWAY_PLANTED".to_owned(), defect.to_owned())],
    };
    play(&script).await.with_context(|| format!("{script:?}"))
}
