//! One client: it follows, publishes, breaks its own connections, and writes down what it did and
//! saw.

mod hearing;
mod link;
mod publishing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use chaos::checker::history::{Conn, Request, Session, Step, Topic, What};
use link::{Racing, Stale};
use publishing::Publish;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::wire::{Heard, Wire};

/// What one client does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) number: u32,
    pub(crate) seed: u64,
    /// Topics that it follows.
    pub(crate) follows: Vec<Topic>,
    /// Topics that it may follow besides, now and then, and how often it changes its mind.
    pub(crate) churn: Option<(Vec<Topic>, Range<u64>)>,
    /// Where it publishes, and between how many milliseconds.
    pub(crate) publishes: Option<(Vec<Topic>, Range<u64>)>,
    /// Messages that are sent at once.
    pub(crate) burst: u32,
    /// Bytes of a message.
    pub(crate) bytes: usize,
    /// Asks for replicas to confirm.
    pub(crate) is_replicated: bool,
    /// Names its newest id only when it resumes, not one per partition.
    pub(crate) names_one: bool,
    /// Between how many milliseconds it breaks its connection.
    pub(crate) cuts: Option<Range<u64>>,
    /// Between how many milliseconds it claims its session twice at once, or from beside a
    /// connection that goes on.
    pub(crate) races: Option<Range<u64>>,
    /// Between how many milliseconds it reads nothing for a while.
    pub(crate) dawdles: Option<Range<u64>>,
}

/// What all clients do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything they have planned.
    Run = 1,
    /// Nothing new; what is under way is brought to an end.
    Settle = 2,
    /// Each publisher says one last thing in each of its topics.
    Mark = 3,
    /// Each breaks its connection once more.
    Cut = 4,
    /// Nothing at all; history is written.
    End = 5,
}

/// What all clients share.
pub(crate) struct Field {
    /// Where the nodes can be reached.
    pub(crate) ports: Vec<u16>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) began: Instant,
    /// When anybody last received a message, in microseconds.
    pub(crate) moved_us: AtomicU64,
    /// Answers that were refusals, by code.
    pub(crate) refusals: std::sync::Mutex<BTreeMap<String, u64>>,
    /// Phase that each client has settled in.
    pub(crate) settled: Vec<AtomicU8>,
}

impl Field {
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A client at work.
pub(crate) struct Member {
    plan: Plan,
    field: Arc<Field>,
    rng: StdRng,
    done: Vec<Session>,
    steps: Vec<Step>,
    heard: mpsc::Sender<(u32, Heard)>,
    hearing: mpsc::Receiver<(u32, Heard)>,
    /// The connection in use.
    wire: Option<Wire>,
    /// A resume that was sent on two connections.
    racing: Option<Racing>,
    /// Connections left behind that are still open.
    stale: Vec<Stale>,
    next_conn: Conn,
    /// The first connection of the present session.
    first_conn: Conn,
    next_frame: u32,
    next_number: u32,
    session: Option<(String, String)>,
    /// Newest id per partition.
    last: BTreeMap<u64, u64>,
    /// Topics to follow, those that are followed, and those that are to be left.
    wanted: BTreeSet<Topic>,
    held: BTreeSet<Topic>,
    leaving: BTreeSet<Topic>,
    /// Requests without an answer on the connection in use.
    asked: BTreeMap<Arc<str>, (Request, Instant)>,
    outstanding: VecDeque<Publish>,
    pinged: Option<Instant>,
    greeted: Option<Instant>,
    to_acknowledge: Option<u64>,
    again_at: Instant,
    agenda: Agenda,
    phase: Phase,
    has_cut: bool,
    has_marked: bool,
}

/// When what is due.
struct Agenda {
    publish: Instant,
    cut: Instant,
    race: Instant,
    churn: Instant,
    dawdle: Instant,
    ping: Instant,
    heartbeat: Instant,
    acknowledge: Instant,
}

/// How often a client looks whether something is due.
const TICK: Duration = Duration::from_millis(20);
/// A connection that does not answer a ping for so long is left.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long a welcome may take.
const WELCOME_MAX: Duration = Duration::from_secs(6);

impl Member {
    pub(crate) fn new(plan: Plan, field: &Arc<Field>) -> Self {
        // Small: a client that reads nothing holds the server up, not its own memory.
        let (heard, hearing) = mpsc::channel(8);
        let now = Instant::now();
        let phase = *field.phase.borrow();
        Self {
            rng: StdRng::seed_from_u64(plan.seed),
            wanted: plan.follows.iter().cloned().collect(),
            plan,
            field: Arc::clone(field),
            done: Vec::new(),
            steps: Vec::new(),
            heard,
            hearing,
            wire: None,
            racing: None,
            stale: Vec::new(),
            next_conn: 0,
            first_conn: 0,
            next_frame: 0,
            next_number: 0,
            session: None,
            last: BTreeMap::new(),
            held: BTreeSet::new(),
            leaving: BTreeSet::new(),
            asked: BTreeMap::new(),
            outstanding: VecDeque::new(),
            pinged: None,
            greeted: None,
            to_acknowledge: None,
            again_at: now,
            agenda: Agenda {
                publish: now,
                cut: now,
                race: now,
                churn: now,
                dawdle: now,
                ping: now,
                heartbeat: now,
                acknowledge: now,
            },
            phase,
            has_cut: false,
            has_marked: false,
        }
    }

    /// Runs until the end; its sessions.
    pub(crate) async fn run(mut self) -> Vec<Session> {
        self.plan_all();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                heard = self.hearing.recv() => {
                    if let Some((conn, heard)) = heard {
                        self.hear(conn, heard);
                    }
                }
                _ = ticks.tick() => {
                    let phase = *self.field.phase.borrow();
                    if phase == Phase::End {
                        break;
                    }
                    if phase != self.phase {
                        self.phase = phase;
                    }
                    self.tick().await;
                }
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Vec<Session> {
        let is_whole = self.session.is_some();
        let steps = std::mem::take(&mut self.steps);
        let names_one = self.plan.names_one;
        self.done.push(Session {
            steps,
            is_whole,
            names_one,
            is_replicated: self.plan.is_replicated,
        });
        self.done
    }

    fn note(&mut self, conn: Conn, what: What) {
        let at_us = self.field.now_us();
        self.steps.push(Step { at_us, conn, what });
    }

    fn after(&mut self, millis: &Range<u64>) -> Instant {
        Instant::now() + Duration::from_millis(self.rng.random_range(millis.clone()))
    }

    fn plan_all(&mut self) {
        let plan = self.plan.clone();
        if let Some((_, range)) = &plan.publishes {
            self.agenda.publish = self.after(range);
        }
        if let Some(range) = &plan.cuts {
            self.agenda.cut = self.after(range);
        }
        if let Some(range) = &plan.races {
            self.agenda.race = self.after(range);
        }
        if let Some((_, range)) = &plan.churn {
            self.agenda.churn = self.after(range);
        }
        if let Some(range) = &plan.dawdles {
            self.agenda.dawdle = self.after(range);
        }
        // Not all at once.
        self.again_at = self.after(&(0..1500));
        self.agenda.ping = self.after(&(500..1500));
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        self.drop_stale(now);
        self.watch(now);
        if self.racing.is_some() {
            return;
        }
        if self.wire.is_none() {
            if self.again_at <= now {
                self.dial().await;
            }
            return;
        }
        if !self.is_up() {
            return;
        }
        self.follow(now);
        self.publish_due(now);
        self.say_alive(now);
        if self.phase == Phase::Run {
            self.misbehave(now).await;
        }
        if self.phase == Phase::Cut && !self.has_cut {
            self.has_cut = true;
            self.leave(link::Leaving::Reset);
        }
        self.settle();
    }

    /// Whether the connection has its session.
    fn is_up(&self) -> bool {
        self.wire.is_some() && self.greeted.is_none()
    }

    /// Says when nothing is left to do in this phase.
    fn settle(&self) {
        let is_settled = self.is_up()
            && self.outstanding.is_empty()
            && self.leaving.is_empty()
            && self.wanted == self.held
            && self.stale.is_empty()
            && (self.phase < Phase::Cut || self.has_cut)
            && (self.phase < Phase::Mark || self.has_marked);
        if is_settled && let Some(settled) = self.field.settled.get(self.plan.number as usize) {
            settled.store(self.phase as u8, Ordering::Relaxed);
        }
    }

    async fn misbehave(&mut self, now: Instant) {
        let plan = self.plan.clone();
        if let Some(range) = &plan.dawdles
            && self.agenda.dawdle <= now
        {
            // Nothing is read meanwhile: the line fills up.
            let long = self.rng.random_range(500..2500);
            tokio::time::sleep(Duration::from_millis(long)).await;
            self.pinged = None;
            self.agenda.dawdle = self.after(range);
        }
        if let Some((pool, range)) = &plan.churn
            && self.agenda.churn <= now
        {
            self.change_mind(pool);
            self.agenda.churn = self.after(range);
        }
        if let Some(range) = &plan.races
            && self.agenda.race <= now
        {
            self.race().await;
            self.agenda.race = self.after(range);
            return;
        }
        if let Some(range) = &plan.cuts
            && self.agenda.cut <= now
        {
            let leaving = match self.rng.random_range(0..4) {
                0 => link::Leaving::Freeze,
                1 => link::Leaving::Stay,
                _ => link::Leaving::Reset,
            };
            self.leave(leaving);
            self.agenda.cut = self.after(range);
        }
    }

    fn change_mind(&mut self, pool: &[Topic]) {
        let at = self.rng.random_range(0..pool.len().max(1));
        let Some(topic) = pool.get(at) else { return };
        if self.wanted.contains(topic) {
            if self.held.contains(topic) {
                self.wanted.remove(topic);
                self.leaving.insert(topic.clone());
            }
        } else if !self.leaving.contains(topic) {
            self.wanted.insert(topic.clone());
        }
    }
}
