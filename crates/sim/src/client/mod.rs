//! One client: it does what its script says, goes on where it was cut off, and writes down what it
//! did and saw.

mod acting;
mod hearing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chaos::checker::history::{Conn, Key, Request, Session, Step, Topic, What};
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::line::{Heard, Line};
use crate::plan::{Move, Plan};
use crate::signal::Signal;

/// What all clients do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// What their scripts say.
    Run = 1,
    /// Nothing new; what is under way is brought to an end.
    Settle = 2,
    /// Each says one last thing in each topic in which it published.
    Mark = 3,
    /// Each loses its connection once more.
    Cut = 4,
    /// Nothing at all; history is written.
    End = 5,
}

impl Phase {
    const fn of(value: u64) -> Self {
        match value {
            0 | 1 => Self::Run,
            2 => Self::Settle,
            3 => Self::Mark,
            4 => Self::Cut,
            _ => Self::End,
        }
    }
}

/// What all clients of a run share.
#[derive(Debug)]
pub struct Field {
    /// What they connect to.
    pub cluster: Arc<Cluster>,
    /// The names of the topics.
    pub topics: Vec<Topic>,
    /// When anybody last received a message, in milliseconds of the run.
    pub moved_ms: AtomicU64,
    /// How far each client has settled.
    pub settled: Vec<AtomicU8>,
    /// How often all connections were cut at once.
    pub cuts: Signal,
    /// What all clients do: a [`Phase`].
    pub phase: Signal,
}

/// A message until it is acknowledged.
#[derive(Clone, Debug)]
struct Publish {
    frame: Arc<str>,
    topic: Topic,
    key: Key,
    /// When it is to be sent again, while it waits for that.
    again_at: Option<Instant>,
}

/// A connection left behind that is still open.
#[derive(Debug)]
struct Stale {
    number: Conn,
    /// When the client ends it; `None` where the server has to.
    until: Option<Instant>,
    haunted: bool,
}

/// A client at work.
#[derive(Debug)]
pub struct Client {
    number: u32,
    names_one: bool,
    filling: String,
    script: VecDeque<(u64, Move)>,
    field: Arc<Field>,
    dice: Dice,
    done: Vec<Session>,
    steps: Vec<Step>,
    lines: Vec<Line>,
    /// The connection in use.
    current: Option<Conn>,
    /// Since when the connection in use waits to be welcomed.
    greeted: Option<Instant>,
    stale: Vec<Stale>,
    next_conn: Conn,
    next_frame: u32,
    next_number: u32,
    /// Session and token.
    session: Option<(String, String)>,
    /// Newest id per partition.
    last: BTreeMap<u64, u64>,
    wanted: BTreeSet<Topic>,
    held: BTreeSet<Topic>,
    leaving: BTreeSet<Topic>,
    /// Where it published.
    published: BTreeSet<Topic>,
    asked: BTreeMap<Arc<str>, Request>,
    outstanding: VecDeque<Publish>,
    again_at: Instant,
    /// When subscriptions may be asked for again.
    follow_at: Instant,
    cuts_seen: u64,
    has_cut: bool,
    has_marked: bool,
}

/// How long a welcome may take.
const WELCOME_MAX: Duration = Duration::from_secs(7);

impl Client {
    /// The client of this number in the plan.
    #[must_use]
    pub fn new(number: u32, plan: &Plan, field: &Arc<Field>) -> Self {
        let script = plan.clients.get(number as usize);
        let moves = script.map(|script| script.moves.clone());
        let now = Instant::now();
        let dice = Dice::new(plan.seed ^ (u64::from(number) + 1) << 40);
        let again_at = now + Duration::from_millis(dice.of(0..200));
        Self {
            number,
            names_one: script.is_some_and(|script| script.names_one),
            filling: "x".repeat(plan.filling),
            script: moves.unwrap_or_default().into(),
            field: Arc::clone(field),
            dice,
            done: Vec::new(),
            steps: Vec::new(),
            lines: Vec::new(),
            current: None,
            greeted: None,
            stale: Vec::new(),
            next_conn: 0,
            next_frame: 0,
            next_number: 0,
            session: None,
            last: BTreeMap::new(),
            wanted: BTreeSet::new(),
            held: BTreeSet::new(),
            leaving: BTreeSet::new(),
            published: BTreeSet::new(),
            asked: BTreeMap::new(),
            outstanding: VecDeque::new(),
            again_at,
            follow_at: now,
            cuts_seen: 0,
            has_cut: false,
            has_marked: false,
        }
    }

    /// Runs until the end; its sessions.
    ///
    /// # Cancel safety
    /// Dropped, what it wrote down is gone.
    pub async fn run(mut self) -> Vec<Session> {
        let field = Arc::clone(&self.field);
        loop {
            if let Some(long) = self.field.cluster.weather.client_delay() {
                sleep(long).await;
            }
            let value = field.phase.value();
            let phase = Phase::of(value);
            if phase == Phase::End {
                return self.finish();
            }
            if field.cuts.value() != self.cuts_seen {
                self.cuts_seen = field.cuts.value();
                self.leave(Leaving::Reset);
            }
            self.act(phase).await;
            self.settle(phase);
            let due = self.due(phase);
            let lines = &mut self.lines;
            tokio::select! {
                biased;
                (conn, heard) = poll_fn(|cx| poll_lines(lines, cx)) => self.hear(conn, heard),
                () = sleep_until(due) => {}
                () = field.phase.differs(value) => {}
                () = field.cuts.differs(self.cuts_seen) => {}
            }
        }
    }

    fn finish(mut self) -> Vec<Session> {
        self.done.push(Session {
            steps: std::mem::take(&mut self.steps),
            is_whole: self.session.is_some(),
            names_one: self.names_one,
            is_replicated: false,
        });
        self.done
    }

    fn note(&mut self, conn: Conn, what: What) {
        let at_us = self.field.cluster.weather.now_us();
        self.steps.push(Step { at_us, conn, what });
    }

    fn soon(&self, most_ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(self.dice.of(5..most_ms))
    }

    /// Whether the connection has its session.
    fn is_up(&self) -> bool {
        self.current.is_some() && self.greeted.is_none()
    }

    fn line(&mut self, number: Conn) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.number == number)
    }

    /// When something is to be done next.
    fn due(&self, phase: Phase) -> Instant {
        let now = Instant::now();
        let mut due = now + Duration::from_secs(1);
        if let (Phase::Run, Some((at, _))) = (phase, self.script.front()) {
            let wait = at.saturating_sub(self.field.cluster.weather.now_ms());
            due = due.min(now + Duration::from_millis(wait));
        }
        if self.current.is_none() {
            due = due.min(self.again_at);
        }
        if let Some(greeted) = self.greeted {
            due = due.min(greeted + WELCOME_MAX);
        }
        for until in self.stale.iter().filter_map(|stale| stale.until) {
            due = due.min(until);
        }
        if self.is_up() {
            for again_at in self
                .outstanding
                .iter()
                .filter_map(|publish| publish.again_at)
            {
                due = due.min(again_at);
            }
            if self.follow_at > now {
                due = due.min(self.follow_at);
            }
        }
        due
    }

    /// Says when nothing is left to do in this phase.
    fn settle(&self, phase: Phase) {
        let is_settled = self.is_up()
            && self.outstanding.is_empty()
            && self.leaving.is_empty()
            && self.wanted == self.held
            && self.stale.is_empty()
            && (phase < Phase::Cut || self.has_cut)
            && (phase < Phase::Mark || self.has_marked);
        if is_settled && let Some(settled) = self.field.settled.get(self.number as usize) {
            settled.store(phase as u8, Ordering::Relaxed);
        }
    }
}

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// At once, with all that is on its way.
    Reset,
    /// It goes silent both ways.
    Freeze,
    /// It is used on, until the server ends it.
    Stay,
}

fn poll_lines(lines: &mut [Line], cx: &mut Context<'_>) -> Poll<(Conn, Heard)> {
    for line in lines {
        if let Poll::Ready(heard) = line.poll_hear(cx) {
            return Poll::Ready((line.number, heard));
        }
    }
    Poll::Pending
}
