//! One run of a plan, from the first connection to the verdict.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use chaos::checker::history::{Answer, History, Key, Session, Stored, Topic, What};
use chaos::checker::{Rule, Violation, check, explain};
use sparkway_metrics::{Invariant, Metrics};
use sparkway_protocol::{Entry, MessageId, TopicName};
use sparkway_store::record::Range;
use sparkway_store::{Hole, Store as _};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Field, Phase};
use crate::cluster::Cluster;
use crate::plan::{Fault, LONGEST_MS, Plan};
use crate::settings::RESUME_WINDOW;
use crate::signal::Signal;

/// How long everything may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(40);
/// Nothing moves any more when for so many milliseconds nobody received anything.
const REST_MS: u64 = 600;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was recorded.
    pub history: History,
    /// What is wrong with it.
    pub violations: Vec<Violation>,
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions.
    pub sessions: u64,
    /// Messages that clients received.
    pub delivered: u64,
    /// Publishes that were acknowledged.
    pub acknowledged: u64,
    /// Sessions taken up again.
    pub resumes: u64,
    /// Gaps that were told.
    pub gaps: u64,
}

impl Counts {
    /// Adds what another run came to.
    pub const fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.delivered += other.delivered;
        self.acknowledged += other.acknowledged;
        self.resumes += other.resumes;
        self.gaps += other.gaps;
    }
}

impl Outcome {
    /// How much happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            sessions: self.history.sessions.len() as u64,
            ..Counts::default()
        };
        let sessions = self.history.sessions.iter();
        for step in sessions.flat_map(|session| &session.steps) {
            match &step.what {
                What::Message { .. } => counts.delivered += 1,
                What::Answered {
                    answer: Answer::Stored { .. },
                    ..
                } => counts.acknowledged += 1,
                What::Resumed { gaps, .. } => {
                    counts.resumes += 1;
                    counts.gaps += gaps.len() as u64;
                }
                What::Gap(_) => counts.gaps += 1,
                _ => {}
            }
        }
        counts
    }

    /// A number that two runs share when they are the same to the last step.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        format!("{:?}", self.history).hash(&mut hash);
        hash.finish()
    }

    /// What led to the first violation, in at most so many lines.
    #[must_use]
    pub fn story(&self, lines: usize) -> Vec<String> {
        let first = self.violations.first();
        first.map_or_else(Vec::new, |first| explain(&self.history, first, lines))
    }
}

/// Runs a plan, all of it in this thread.
///
/// # Errors
/// No runtime could be made.
pub fn run(plan: &Plan, metrics: &Metrics) -> std::io::Result<Outcome> {
    let before = violated(metrics);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let mut outcome = runtime.block_on(play(plan, metrics.clone()));
    let more = violated(metrics) - before;
    if more > 0 {
        outcome.violations.push(Violation {
            rule: Rule::Driver,
            session: None,
            topic: None,
            id: None,
            text: format!("{more} invariants of a node did not hold"),
        });
    }
    Ok(outcome)
}

/// How often an invariant of a node did not hold.
fn violated(metrics: &Metrics) -> u64 {
    let violations = &metrics.node.invariant_violations;
    let all = Invariant::ALL.iter();
    all.map(|invariant| violations.at(*invariant).get()).sum()
}

async fn play(plan: &Plan, metrics: Metrics) -> Outcome {
    let cluster = Cluster::new(plan, metrics);
    for at in 0..plan.nodes {
        cluster.start(at).await;
    }
    let field = Arc::new(Field {
        topics: (0..plan.topics)
            .map(|at| format!("t:{at}").into())
            .collect(),
        moved_ms: AtomicU64::new(0),
        settled: plan.clients.iter().map(|_| AtomicU8::new(0)).collect(),
        cluster: Arc::clone(&cluster),
        cuts: Signal::default(),
        phase: Signal::default(),
    });
    let clients: Vec<JoinHandle<Vec<Session>>> = (0..plan.clients.len())
        .map(|number| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            tokio::spawn(Client::new(number, plan, &field).run())
        })
        .collect();
    let losses = break_things(plan, &cluster, &field).await;
    cluster.weather.calm_down();
    // What is being held up when it becomes calm is held up for its whole time.
    sleep(Duration::from_millis(LONGEST_MS)).await;
    let mut late = None;
    for next in [Phase::Settle, Phase::Mark, Phase::Cut] {
        field
            .moved_ms
            .store(cluster.weather.now_ms(), Ordering::Relaxed);
        field.phase.raise(next as u64);
        let rests = timeout(REST_WITHIN, come_to_rest(&field, next)).await;
        if rests.is_err() && late.is_none() {
            late = Some(next);
        }
    }
    field.phase.raise(Phase::End as u64);
    let mut sessions = Vec::new();
    for client in clients {
        sessions.extend(client.await.unwrap_or_default());
    }
    let history = History {
        sessions,
        logs: logs(&field).await,
        losses,
        // Claims that the store lost are judged here: it goes back and on at one moment.
        outages: Vec::new(),
        bounded: bounded(plan, &field),
        resume_window_us: u64::try_from(RESUME_WINDOW.as_micros()).unwrap_or(u64::MAX),
    };
    let holes = holes(&cluster).await;
    judge(history, late, &field, &holes)
}

async fn holes(cluster: &Cluster) -> Vec<Hole> {
    let mut all = Vec::new();
    for partition in cluster.store.partitions().iter() {
        all.extend(cluster.store.holes(partition).await.unwrap_or_default());
    }
    all
}

fn judge(history: History, late: Option<Phase>, field: &Field, holes: &[Hole]) -> Outcome {
    let mut violations = check(&history);
    // So few sessions follow a topic here that nobody may have been there to be told.
    violations.retain(|found| {
        let id = found.id.and_then(MessageId::new).unwrap_or_default();
        let is_in = |hole: &Hole| hole.after < id && id < hole.before;
        let of_it = matches!(found.rule, Rule::AcknowledgedGone | Rule::WrongId);
        !of_it || !holes.iter().any(is_in)
    });
    if let Some(phase) = late {
        let behind = field.settled.iter().enumerate();
        let behind = behind.filter(|(_, at)| at.load(Ordering::Relaxed) < phase as u8);
        let behind: Vec<usize> = behind.map(|(at, _)| at).collect();
        violations.push(Violation {
            rule: Rule::Answers,
            session: None,
            topic: None,
            id: None,
            text: format!("not at rest in {phase:?}: clients {behind:?}"),
        });
    }
    Outcome {
        history,
        violations,
    }
}

fn bounded(plan: &Plan, field: &Field) -> BTreeSet<Topic> {
    match plan.kept {
        Some(_) => field.topics.iter().cloned().collect(),
        None => BTreeSet::new(),
    }
}

/// Waits until every client has nothing left to do in a phase, and nothing moves any more.
async fn come_to_rest(field: &Field, phase: Phase) {
    let weather = &field.cluster.weather;
    loop {
        sleep(Duration::from_millis(50)).await;
        let mut settled = field.settled.iter();
        let is_settled = settled.all(|at| at.load(Ordering::Relaxed) >= phase as u8);
        let moved_ms = field.moved_ms.load(Ordering::Relaxed);
        if is_settled && weather.now_ms() > moved_ms + REST_MS {
            return;
        }
    }
}

/// Carries out the faults of the plan; when the store may have become another.
async fn break_things(plan: &Plan, cluster: &Arc<Cluster>, field: &Field) -> Vec<u64> {
    let weather = &cluster.weather;
    let mut losses = Vec::new();
    let mut restarts = JoinSet::new();
    let acts = plan.clients.iter().flat_map(|client| &client.moves);
    let end = acts.map(|(at, _)| *at).max().unwrap_or(0);
    let end = end.max(plan.faults.last().map_or(0, |(at, _)| *at)) + 100;
    let mut faults: VecDeque<(u64, Fault)> = plan.faults.clone().into();
    loop {
        let now = weather.now_ms();
        while let Some((_, fault)) = faults.pop_front_if(|(at, _)| *at <= now) {
            match fault {
                Fault::Kill { node, ms } => {
                    if cluster.kill(node) {
                        let cluster = Arc::clone(cluster);
                        restarts.spawn(async move {
                            sleep(Duration::from_millis(ms)).await;
                            cluster.start(node).await;
                        });
                    }
                }
                Fault::Stop { node, ms } => weather.stop(node, ms),
                Fault::Deafen { node, ms } => weather.deafen(node, ms),
                Fault::LosePush { node } => weather.lose_push(node),
                Fault::Part { node, ms } => weather.part(node, ms),
                Fault::Rewind { entries } => {
                    losses.push(weather.now_us());
                    cluster.rewind(entries);
                }
                Fault::CutAll => field.cuts.next(),
            }
        }
        if now >= end {
            break;
        }
        let next = faults.front().map_or(end, |(at, _)| *at).min(end);
        let wait = next.saturating_sub(now).max(1);
        sleep(Duration::from_millis(wait)).await;
    }
    while restarts.join_next().await.is_some() {}
    losses
}

async fn logs(field: &Field) -> BTreeMap<Topic, Vec<Stored>> {
    let mut logs = BTreeMap::new();
    for topic in &field.topics {
        let Ok(name) = TopicName::parse(topic) else {
            continue;
        };
        let range = Range {
            topic: name,
            after: MessageId::ZERO,
            before: None,
            limit: 100_000,
            reverse: false,
        };
        if let Ok(page) = field.cluster.store.history(range).await {
            let entries = page.entries.iter().map(|entry| stored(entry));
            logs.insert(topic.clone(), entries.collect());
        }
    }
    logs
}

fn stored(entry: &Entry) -> Stored {
    let payload: Option<(u32, u32, String)> =
        serde_json::from_slice(&entry.payload.bytes).unwrap_or_default();
    let (publisher, number, _) = payload.unwrap_or((u32::MAX, u32::MAX, String::new()));
    Stored {
        id: entry.id.get(),
        key: Key { publisher, number },
    }
}
