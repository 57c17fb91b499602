//! `make chaos`: breaks a real cluster for as long as asked, and judges what its clients saw.
#![expect(clippy::print_stdout, reason = "a command whose output is its purpose")]
#![expect(
    clippy::indexing_slicing,
    reason = "JSON answers null for what it does not have"
)]

mod blackout;
mod cluster;
mod faults;
mod member;
mod process;
mod proxy;
mod reader;
mod resp;
mod round;
mod selftest;
mod store;
mod wire;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use round::{Outcome, Script, play};
use store::Topology;
use tokio::time::Instant;
use workload::Workload;

/// Breaks a real cluster and judges what its clients saw.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long, in seconds; the last round is finished.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// What everything is drawn from; random where it is missing.
    #[arg(long)]
    seed: Option<u64>,
    /// How long each round breaks things, in seconds.
    #[arg(long, default_value_t = 30)]
    round: u64,
    /// Clients.
    #[arg(long, default_value_t = 100)]
    sessions: u32,
    /// Only this topology: redis, forgetful, sentinel or cluster.
    #[arg(long)]
    topology: Option<String>,
    /// Only this workload, such as `churn`.
    #[arg(long)]
    workload: Option<String>,
    /// Only these faults, such as `node-killed,store-dark`, one after the other.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Leaves logs and data behind after a violation.
    #[arg(long)]
    keep: bool,
    /// Plants defects into the gateway and sees whether each is found.
    #[arg(long)]
    selftest: bool,
    /// Kills nodes and measures for how long their clients hear nothing.
    #[arg(long)]
    blackout: bool,
    /// Only these defects, such as `no-gate,no-fence`.
    #[arg(long, value_delimiter = ',')]
    defects: Vec<String>,
    /// Rounds of the self test in which nothing is planted, and nothing may be found.
    #[arg(long, default_value_t = 2)]
    controls: usize,
    /// The gateway. Else the one built beside this command.
    #[arg(long)]
    binary: Option<PathBuf>,
}

const TOPOLOGIES: [Topology; 4] = [
    Topology::Redis,
    Topology::Sentinel,
    Topology::Forgetful,
    Topology::Cluster,
];

/// `NodeKilled` for `node-killed`.
fn named<T: Copy + std::fmt::Debug>(all: &[T], name: &str) -> anyhow::Result<T> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let found = all
        .iter()
        .find(|one| plain(&format!("{one:?}")) == plain(name));
    found
        .copied()
        .with_context(|| format!("{name} is none of {all:?}"))
}

fn script(arguments: &Arguments, seed: u64, turn: usize) -> anyhow::Result<Script> {
    let mut rng = StdRng::seed_from_u64(seed);
    let drawn = TOPOLOGIES.get(turn % TOPOLOGIES.len()).copied();
    let topology = match &arguments.topology {
        Some(name) => named(&TOPOLOGIES, name)?,
        None => drawn.unwrap_or(Topology::Redis),
    };
    let workload = match &arguments.workload {
        Some(name) => named(&Workload::ALL, name)?,
        None => Workload::ALL
            .choose(&mut rng)
            .copied()
            .unwrap_or(Workload::Mixed),
    };
    let known = faults::Fault::all(topology);
    let faults = arguments.faults.iter().map(|name| named(&known, name));
    let partitions = match topology {
        Topology::Cluster => 8,
        _ if rng.random_bool(0.25) => 3,
        _ => 1,
    };
    Ok(Script {
        seed: rng.random(),
        topology,
        partitions,
        workload,
        sessions: arguments.sessions,
        long: Duration::from_secs(arguments.round),
        faults: faults.collect::<anyhow::Result<_>>()?,
        binary: binary(arguments, "sparkway")?,
        is_ahead: rng.random_bool(0.25) && topology != Topology::Forgetful,
        keeps: arguments.keep,
        environment: Vec::new(),
    })
}

/// The gateway that was named, or the one of this name beside this command.
fn binary(arguments: &Arguments, name: &str) -> anyhow::Result<PathBuf> {
    match &arguments.binary {
        Some(binary) => Ok(binary.clone()),
        None => Ok(std::env::current_exe()?.with_file_name(name)),
    }
}

fn tell(script: &Script, outcome: &Outcome, took: Duration) {
    let counts = outcome.counts;
    println!(
        "  {} sessions, {} acknowledged, {} delivered, {} resumes ({} refused), {} gaps, in {:.0} s",
        counts.sessions,
        counts.acknowledged,
        counts.delivered,
        counts.resumes,
        counts.refused_resumes,
        counts.gaps,
        took.as_secs_f64(),
    );
    println!("  faults {:?}", outcome.faults);
    println!("  refusals {:?}", outcome.refusals);
    tell_violations(outcome);
    if !outcome.violations.is_empty() {
        let counted = chaos::checker::count(&outcome.violations);
        println!("  {counted:?} in {script:?}");
        for line in &outcome.story {
            println!("    {line}");
        }
    }
}

/// The first few of each rule.
fn tell_violations(outcome: &Outcome) {
    let mut told = std::collections::BTreeMap::new();
    for violation in &outcome.violations {
        let told: &mut usize = told.entry(violation.rule).or_default();
        *told += 1;
        if *told <= 5 {
            println!("  VIOLATION {violation}");
        }
    }
}

async fn run(arguments: &Arguments, seed: u64) -> anyhow::Result<bool> {
    println!("chaos: SEED={seed} SECONDS={}", arguments.seconds);
    let mut seeds = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let (mut turn, mut broken) = (0, 0);
    while turn == 0 || began.elapsed() < Duration::from_secs(arguments.seconds) {
        let own = if turn == 0 { seed } else { seeds.random() };
        let script = script(arguments, own, turn)?;
        println!(
            "round {turn}: SEED={own} {:?} x {:?}, {} partitions",
            script.topology, script.workload, script.partitions
        );
        let since = Instant::now();
        let outcome = play(&script).await.with_context(|| format!("{script:?}"))?;
        tell(&script, &outcome, since.elapsed());
        broken += usize::from(!outcome.violations.is_empty());
        turn += 1;
    }
    let verdict = if broken == 0 { "clean" } else { "BROKEN" };
    println!("chaos: {turn} rounds, {broken} with violations: {verdict}");
    Ok(broken == 0)
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let is_clean = if arguments.blackout {
        runtime.block_on(blackout::run(&arguments))?;
        true
    } else if arguments.selftest {
        println!("chaos-selftest: SEED={seed}");
        runtime.block_on(selftest::run(&arguments, seed))?
    } else {
        runtime.block_on(run(&arguments, seed))?
    };
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
