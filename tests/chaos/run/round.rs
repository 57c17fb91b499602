//! One round: a cluster, clients, faults, rest, judgement.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use chaos::checker::history::{Answer, History, What};
use chaos::checker::{Rule, Violation, check, explain};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::faults::{Drawn, Fault, happen, raise_clocks};
use crate::member::{Field, Member, Phase};
use crate::reader;
use crate::store::Topology;
use crate::workload::{self, Workload};

/// What is done in a round.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    pub(crate) partitions: usize,
    pub(crate) workload: Workload,
    pub(crate) sessions: u32,
    /// How long things are broken.
    pub(crate) long: Duration,
    /// Which faults; all that the topology knows where there are none.
    pub(crate) faults: Vec<Fault>,
    pub(crate) binary: PathBuf,
    /// Whether the store's clock had stood ten minutes later before.
    pub(crate) is_ahead: bool,
    /// Whether logs and data stay after a violation.
    pub(crate) keeps: bool,
    /// What the nodes find in their environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) story: Vec<String>,
    pub(crate) faults: BTreeMap<Fault, u32>,
    pub(crate) counts: Counts,
    pub(crate) refusals: BTreeMap<String, u64>,
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sessions: usize,
    pub(crate) acknowledged: usize,
    pub(crate) delivered: usize,
    pub(crate) resumes: usize,
    pub(crate) gaps: usize,
    pub(crate) refused_resumes: usize,
}

/// After everything is mended, clients must be up to date within so long.
const CALM_WITHIN: Duration = Duration::from_secs(45);
/// So long without a message counts as rest.
const CALM_US: u64 = 700_000;

/// What a server took so long before it was lost may be lost with it: it is written to disk once a
/// second, and replicas are that far behind at the most.
const LATELY_US: u64 = 1_100_000;

/// Runs a round and judges it.
///
/// # Errors
/// The round could not be carried out; it says nothing about the gateway.
pub(crate) async fn play(script: &Script) -> anyhow::Result<Outcome> {
    let mut rng = StdRng::seed_from_u64(script.seed);
    let cluster = Cluster::start(
        script.topology,
        script.partitions,
        script.binary.clone(),
        script.environment.clone(),
    )
    .await?;
    if script.is_ahead {
        // Of keys that exist: the nodes wrote them when they opened their feeds.
        for server in &cluster.store.lock().await.servers {
            drop(raise_clocks(server.port, 600).await);
        }
    }
    let (phase, phases) = watch::channel(Phase::Run);
    let plans = workload::plans(script, &mut rng);
    let field = Arc::new(Field {
        ports: cluster.ports(),
        phase: phases,
        began: Instant::now(),
        moved_us: AtomicU64::new(0),
        refusals: Mutex::default(),
        settled: plans.iter().map(|_| AtomicU8::new(0)).collect(),
    });
    let mut members = JoinSet::new();
    for plan in plans {
        members.spawn(Member::new(plan, &field).run());
    }
    sleep(Duration::from_secs(2)).await;
    let broken = break_things(script, &cluster, &field, &mut rng).await;
    let broken = healed(&cluster, broken).await?;
    let mut late = Vec::new();
    for next in [Phase::Settle, Phase::Mark, Phase::Cut] {
        phase.send_replace(next);
        if !comes_to_rest(&field, next).await {
            late.push(next);
        }
    }
    let logs = reader::logs(&field, &workload::topics(script)).await;
    phase.send_replace(Phase::End);
    let sessions = members.join_all().await.into_iter().flatten().collect();
    let history = History {
        sessions,
        logs: logs.context("the logs are read")?,
        losses: broken.losses,
        outages: broken.outages,
        bounded: workload::bounded(),
        resume_window_us: 115_000_000,
    };
    let mut outcome = judge(&history, &late, &field);
    let falls = cluster.falls().await.into_iter();
    outcome
        .violations
        .extend(falls.map(|text| of_run(Rule::NodeEnded, text)));
    outcome.faults = broken.faults;
    if !outcome.violations.is_empty() {
        outcome.story.extend(cluster.logs(5).await);
        if script.keeps {
            outcome
                .story
                .push(format!("-- kept in {:?}", cluster.keep()));
        }
    }
    Ok(outcome)
}

fn judge(history: &History, late: &[Phase], field: &Field) -> Outcome {
    let mut violations = check(history);
    for phase in late {
        let settled = field
            .settled
            .iter()
            .map(|phase| phase.load(Ordering::Relaxed));
        let behind = settled.enumerate().filter(|(_, at)| *at < *phase as u8);
        let behind: Vec<usize> = behind.map(|(at, _)| at).collect();
        let text = format!("not at rest in {phase:?} within {CALM_WITHIN:?}: clients {behind:?}");
        violations.push(of_run(Rule::ResumeRefused, text));
    }
    let story = violations.first().map(|first| explain(history, first, 60));
    let refusals = field.refusals.lock();
    Outcome {
        story: story.unwrap_or_default(),
        violations,
        faults: BTreeMap::new(),
        counts: count(history),
        refusals: refusals.map(|counted| counted.clone()).unwrap_or_default(),
    }
}

/// A violation that no single session saw.
const fn of_run(rule: Rule, text: String) -> Violation {
    Violation {
        rule,
        session: None,
        topic: None,
        id: None,
        text,
    }
}

fn count(history: &History) -> Counts {
    let mut counts = Counts {
        sessions: history.sessions.len(),
        ..Counts::default()
    };
    for step in history.sessions.iter().flat_map(|session| &session.steps) {
        match &step.what {
            What::Message { .. } => counts.delivered += 1,
            What::Answered {
                answer: Answer::Stored { .. },
                ..
            } => counts.acknowledged += 1,
            What::Resumed { gaps, .. } => {
                counts.resumes += 1;
                counts.gaps += gaps.len();
            }
            What::Gap(_) => counts.gaps += 1,
            What::ResumeFailed => counts.refused_resumes += 1,
            _ => {}
        }
    }
    counts
}

/// Faults, alone and together, for as long as the round says.
async fn break_things(
    script: &Script,
    cluster: &Arc<Cluster>,
    field: &Field,
    rng: &mut StdRng,
) -> anyhow::Result<Broken> {
    let end = Instant::now() + script.long;
    let mut broken = Broken::default();
    let mut running: JoinSet<anyhow::Result<(Fault, u64)>> = JoinSet::new();
    let mut now: Vec<Fault> = Vec::new();
    let mut turn = 0;
    while Instant::now() < end {
        while let Some(done) = running.try_join_next() {
            let (done, began_us) = done.context("a fault")??;
            now.retain(|fault| *fault != done);
            broken.ended(done, (began_us, field.now_us()));
        }
        let fault = if script.faults.is_empty() {
            Fault::any(script.topology, rng)
        } else {
            turn += 1;
            let at = (turn - 1) % script.faults.len();
            script.faults.get(at).copied().unwrap_or(Fault::ClientsCut)
        };
        let drawn = Drawn::of(fault, rng);
        let pause = Duration::from_millis(rng.random_range(200..2500));
        let clashes = |other: &Fault| {
            *other == fault || (other.is_of_the_servers() && fault.is_of_the_servers())
        };
        if now.len() < 3 && !now.iter().any(clashes) {
            let began_us = field.now_us();
            *broken.faults.entry(fault).or_default() += 1;
            if fault.may_lose(script.topology) {
                broken.losses.push(began_us);
            }
            now.push(fault);
            let cluster = Arc::clone(cluster);
            running.spawn(async move {
                let happened = happen(&cluster, drawn).await;
                happened.with_context(|| format!("{drawn:?}"))?;
                Ok((fault, began_us))
            });
        }
        sleep(pause).await;
    }
    while let Some(done) = running.join_next().await {
        let (done, began_us) = done.context("a fault")??;
        broken.ended(done, (began_us, field.now_us()));
    }
    Ok(broken)
}

/// Mends what is still broken. Where that is not possible, nodes that ended by themselves may be why.
async fn healed(cluster: &Cluster, broken: anyhow::Result<Broken>) -> anyhow::Result<Broken> {
    let healed = match broken {
        Ok(broken) => cluster.heal().await.map(|()| broken),
        Err(error) => Err(error),
    };
    match healed {
        Ok(broken) => Ok(broken),
        Err(error) => {
            let falls = cluster.falls().await.join("\n");
            Err(error.context(format!("nodes that ended by themselves: [{falls}]")))
        }
    }
}

/// What was broken in a round.
#[derive(Default)]
struct Broken {
    faults: BTreeMap<Fault, u32>,
    /// When something began by which the store may lose something.
    losses: Vec<u64>,
    /// From when to when servers were gone, replaced or set back.
    outages: Vec<(u64, u64)>,
}

impl Broken {
    fn ended(&mut self, fault: Fault, when: (u64, u64)) {
        // A claim just before reached no replica, or no disk.
        let before = |from_us: u64| from_us.saturating_sub(LATELY_US);
        if fault.may_lose_a_server() {
            self.outages.push((before(when.0), when.1));
        }
    }
}

/// Waits until every client has nothing left to do in a phase, and nothing moves any more.
async fn comes_to_rest(field: &Field, phase: Phase) -> bool {
    let end = Instant::now() + CALM_WITHIN;
    while Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
        let mut settled = field.settled.iter();
        let is_settled = settled.all(|at| at.load(Ordering::Relaxed) >= phase as u8);
        let moved_us = field.moved_us.load(Ordering::Relaxed);
        if is_settled && field.now_us() > moved_us + CALM_US {
            return true;
        }
    }
    false
}
