//! Many schedules, on all cores, and what they came to.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use sparkway_metrics::Metrics;
use sparkway_sim::plan::Plan;
use sparkway_sim::run::{Counts, run};
use sparkway_sim::shrink::shrink;

/// Whole nodes in one thread, over a store and a network that fail.
#[derive(Clone, Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[command(name = "sparkway-sim")]
pub(crate) struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many schedules.
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// End after so many seconds, whatever was asked for.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads; default: one per core.
    #[arg(long)]
    jobs: Option<usize>,
    /// Go on after a failing schedule, and name them all.
    #[arg(long)]
    on: bool,
    /// Show all that its clients did and saw, too.
    #[arg(long)]
    history: bool,
    /// Run each schedule twice: both runs have to be the same to the last step.
    #[arg(long)]
    twice: bool,
    /// Show the failing schedule as it was drawn, not a smaller one.
    #[arg(long)]
    whole: bool,
    /// Do not show why the failing schedule fails.
    #[arg(long)]
    brief: bool,
    /// Give all nodes one defect after the other, and fail if the schedules do not find each. Only
    /// in builds with the feature `planted`.
    #[arg(long)]
    selftest: bool,
}

/// What many schedules came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    schedules: u64,
    counts: Counts,
    /// The first seed that broke a promise, and how.
    failed: Option<(u64, String)>,
}

pub(crate) fn say(text: &str) {
    // Nobody listens any more: nothing to be done.
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Runs what was asked for.
pub(crate) fn run_all(arguments: &Arguments) -> Sum {
    let next = AtomicU64::new(arguments.seed);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let end = arguments
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let jobs = arguments
        .jobs
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    std::thread::scope(|scope| {
        for _ in 0..jobs.unwrap_or(1) {
            scope.spawn(|| {
                let metrics = Metrics::new();
                let mut own = Sum::default();
                while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.seed.saturating_add(arguments.count) {
                        break;
                    }
                    own.add(seed, &metrics, arguments.twice);
                    if let Some((seed, why)) = own.failed.take_if(|_| arguments.on) {
                        say(&format!("{seed}: {why}"));
                    }
                    if own.failed.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                if let Ok(mut sum) = sum.lock() {
                    sum.join(own);
                }
            });
        }
    });
    sum.into_inner().unwrap_or_default()
}

impl Sum {
    fn add(&mut self, seed: u64, metrics: &Metrics, twice: bool) {
        let plan = Plan::of(seed);
        match run(&plan, metrics) {
            Ok(outcome) => {
                self.schedules += 1;
                self.counts.add(outcome.counts());
                if let Some(first) = outcome.violations.first() {
                    self.failed = Some((seed, first.to_string()));
                } else if twice
                    && run(&plan, metrics).ok().map(|again| again.fingerprint())
                        != Some(outcome.fingerprint())
                {
                    self.failed = Some((seed, "the second run was another one".to_owned()));
                }
            }
            Err(error) => self.failed = Some((seed, error.to_string())),
        }
    }

    fn join(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.counts.add(other.counts);
        let earlier = |failed: &(u64, String)| self.failed.as_ref().is_none_or(|f| failed.0 < f.0);
        if let Some(failed) = other.failed.filter(earlier) {
            self.failed = Some(failed);
        }
    }
}

/// Shows why a seed fails, as small as it gets.
fn show(seed: u64, arguments: &Arguments) {
    let metrics = Metrics::new();
    let mut plan = Plan::of(seed);
    let rule_of = |plan: &Plan| {
        let outcome = run(plan, &metrics).ok()?;
        outcome.violations.first().map(|first| first.rule)
    };
    let rule = rule_of(&plan);
    if !arguments.whole && rule.is_some() {
        plan = shrink(&plan, |smaller| rule_of(smaller) == rule);
    }
    say(&format!("{plan:#?}"));
    if let Ok(outcome) = run(&plan, &metrics) {
        for violation in outcome.violations.iter().take(5) {
            say(&violation.to_string());
        }
        for line in outcome.story(80) {
            say(&line);
        }
        for (at, session) in outcome.history.sessions.iter().enumerate() {
            for step in session.steps.iter().filter(|_| arguments.history) {
                say(&format!("session {at}: {step:?}"));
            }
        }
    }
    say(&format!("again: make sim SEED={seed} N=1"));
}

/// The command.
pub(crate) fn run_command(arguments: &Arguments) -> ExitCode {
    if arguments.selftest {
        return crate::selftest::run(arguments);
    }
    check(arguments)
}

fn check(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let sum = run_all(arguments);
    let long = began.elapsed().as_secs_f64();
    let Counts {
        sessions,
        delivered,
        acknowledged,
        resumes,
        gaps,
    } = sum.counts;
    let pace = sum.schedules as f64 / long.max(0.001);
    say(&format!(
        "{} schedules of whole nodes in {long:.1} s ({pace:.0}/s), seeds from {}: {sessions} sessions, \
         {resumes} resumes, {acknowledged} publishes acknowledged, {delivered} messages delivered, \
         {gaps} gaps told",
        sum.schedules, arguments.seed
    ));
    match sum.failed {
        None => {
            if arguments.history {
                show(arguments.seed, arguments);
            }
            ExitCode::SUCCESS
        }
        Some((seed, why)) => {
            say(&format!("seed {seed} breaks a promise: {why}"));
            if !arguments.brief {
                show(seed, arguments);
            }
            ExitCode::FAILURE
        }
    }
}
