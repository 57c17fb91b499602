//! Connections of a client: made, left, raced.

use std::time::Duration;

use chaos::checker::history::{Conn, Request, What};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::publishing::Publish;
use super::{Member, SILENCE_MAX, WELCOME_MAX};
use crate::wire::Wire;

/// How a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// With a reset.
    Reset,
    /// It is not read any more, and the server is not told.
    Freeze,
    /// It is read on, and used once more when another has the session.
    Stay,
}

/// Two connections that claim the session at once.
pub(super) struct Racing {
    pub(super) wires: Vec<Wire>,
    /// Those that were welcomed, with the token that came; and those that are over.
    pub(super) welcomed: Vec<(Conn, Value)>,
    pub(super) over: Vec<Conn>,
    pub(super) since: Instant,
}

/// A connection that was left and is still open.
pub(super) struct Stale {
    pub(super) wire: Wire,
    since: Instant,
    how: Leaving,
}

/// How long a race may take.
const RACE_MAX: Duration = Duration::from_secs(14);
/// How long a connection that was left is kept open: longer than the server may take to end it.
const STALE_MAX: Duration = Duration::from_secs(16);
/// The same for one that is not read.
const FROZEN_MAX: Duration = Duration::from_secs(4);
/// From here on it is asked whether it still serves.
const STALE_ASKED: Duration = Duration::from_secs(13);

impl Member {
    fn port(&mut self) -> u16 {
        let ports = &self.field.ports;
        let at = self.rng.random_range(0..ports.len().max(1));
        ports.get(at).copied().unwrap_or_default()
    }

    async fn open(&mut self) -> Option<Wire> {
        self.next_conn += 1;
        let (port, number) = (self.port(), self.next_conn);
        Wire::dial(port, number, self.heard.clone()).await.ok()
    }

    /// Connects, and asks for the session, or for a new one.
    pub(super) async fn dial(&mut self) {
        let wait = self.rng.random_range(30..250);
        let Some(wire) = self.open().await else {
            self.again_at = Instant::now() + Duration::from_millis(wait);
            return;
        };
        let greeting = self.greeting(wire.number);
        wire.send(&greeting);
        self.greeted = Some(Instant::now());
        self.pinged = None;
        self.asked.clear();
        self.wire = Some(wire);
    }

    fn greeting(&mut self, conn: Conn) -> Value {
        let Some((session, token)) = self.session.clone() else {
            return json!({"type": "ws:connect", "data": {}});
        };
        let mut last: Vec<u64> = self.last.values().copied().collect();
        if self.plan.names_one {
            last = last.into_iter().max().into_iter().collect();
        }
        let named: Vec<String> = last.iter().map(u64::to_string).collect();
        let named = if named.is_empty() {
            json!("0")
        } else {
            json!(named)
        };
        self.note(conn, What::ResumeAsked { last });
        json!({"type": "ws:resume", "data": {
            "session_id": session, "heartbeat_token": token, "last_message_id": named,
        }})
    }

    /// Gives the connection up and goes on elsewhere.
    pub(super) fn leave(&mut self, how: Leaving) {
        let Some(wire) = self.wire.take() else { return };
        self.greeted = None;
        self.note(wire.number, What::Left);
        match how {
            Leaving::Reset => wire.reset(),
            Leaving::Freeze => wire.freeze(),
            Leaving::Stay => {}
        }
        let since = Instant::now();
        self.stale.push(Stale { wire, since, how });
        let wait = self.rng.random_range(10..150);
        self.again_at = Instant::now() + Duration::from_millis(wait);
    }

    /// Claims the session on two connections at once.
    pub(super) async fn race(&mut self) {
        let (Some(first), Some(second)) = (self.open().await, self.open().await) else {
            return;
        };
        self.leave(Leaving::Stay);
        let wires = vec![first, second];
        for wire in &wires {
            let greeting = self.greeting(wire.number);
            wire.send(&greeting);
        }
        self.asked.clear();
        self.racing = Some(Racing {
            wires,
            welcomed: Vec::new(),
            over: Vec::new(),
            since: Instant::now(),
        });
    }

    /// Whether the race is decided; then the winner's connection is the one in use.
    pub(super) fn decide(&mut self) {
        let Some(racing) = self.racing.take() else {
            return;
        };
        let is_late = racing.since.elapsed() > RACE_MAX;
        let has_ended = |wire: &Wire| racing.over.contains(&wire.number);
        let open = racing.wires.iter().filter(|wire| !has_ended(wire)).count();
        if open > 1 && !is_late {
            self.racing = Some(racing);
            return;
        }
        let winner = racing.wires.iter().find(|wire| {
            let is_welcome = racing.welcomed.iter().any(|(conn, _)| *conn == wire.number);
            is_welcome && !has_ended(wire)
        });
        let winner = winner.map(|wire| wire.number);
        if winner.is_none() && open == 1 && !is_late {
            self.racing = Some(racing);
            return;
        }
        self.settle_race(racing, winner);
    }

    fn settle_race(&mut self, racing: Racing, winner: Option<Conn>) {
        for wire in racing.wires {
            if Some(wire.number) == winner {
                let welcome = racing
                    .welcomed
                    .iter()
                    .find(|(conn, _)| Some(*conn) == winner);
                if let Some((_, welcome)) = welcome {
                    self.take_ticket(&welcome.clone());
                }
                self.take_what_came(wire.number);
                self.wire = Some(wire);
                self.pinged = None;
                self.resend();
            } else {
                self.note(wire.number, What::Disowned);
                if !racing.over.contains(&wire.number) {
                    // Not taken, so it is to end; whether it does is judged.
                    let (since, how) = (Instant::now(), Leaving::Stay);
                    self.stale.push(Stale { wire, since, how });
                }
            }
        }
        if winner.is_none() {
            // All that is known is what was known before.
            self.again_at = Instant::now();
        }
    }

    /// What came while it was open who would win.
    fn take_what_came(&mut self, conn: Conn) {
        let mut ids = Vec::new();
        for step in self.steps.iter().rev() {
            match &step.what {
                What::ResumeAsked { .. } if step.conn == conn => break,
                What::Message { id, .. } if step.conn == conn => ids.push(*id),
                _ => {}
            }
        }
        for id in ids {
            self.raise(id);
        }
    }

    pub(super) fn drop_stale(&mut self, now: Instant) {
        let mut asked = Vec::new();
        for Stale { wire, since, how } in &self.stale {
            let age = now.duration_since(*since);
            let most = if *how == Leaving::Stay {
                STALE_MAX
            } else {
                FROZEN_MAX
            };
            if age > most {
                wire.reset();
            } else if *how == Leaving::Stay && age > STALE_ASKED {
                asked.push(wire.number);
            }
        }
        for conn in asked {
            let id: std::sync::Arc<str> = format!("alive{}", self.steps.len()).into();
            let text = json!({"type": "ws:ping", "id": *id});
            let request = Request::Ping;
            self.note(conn, What::Asked { id, request });
            let mut stale = self.stale.iter();
            if let Some(stale) = stale.find(|stale| stale.wire.number == conn) {
                stale.wire.send(&text);
            }
        }
    }

    /// Leaves a connection that does not speak any more.
    pub(super) fn watch(&mut self, now: Instant) {
        self.decide();
        if self
            .greeted
            .is_some_and(|at| now.duration_since(at) > WELCOME_MAX)
            || self
                .pinged
                .is_some_and(|at| now.duration_since(at) > SILENCE_MAX)
        {
            self.pinged = None;
            let how = if self.rng.random_bool(0.5) {
                Leaving::Reset
            } else {
                Leaving::Freeze
            };
            self.leave(how);
        }
    }

    /// Sends something on connections that have lost the session: it must not be stored.
    pub(super) fn haunt(&mut self) {
        let Some((topics, _)) = self.plan.publishes.clone() else {
            return;
        };
        let Some(topic) = topics.first().cloned() else {
            return;
        };
        let conns: Vec<Conn> = self.stale.iter().map(|stale| stale.wire.number).collect();
        for conn in conns {
            let publish = self.compose(topic.clone());
            let Publish { frame, key, .. } = &publish;
            let request = Request::Publish {
                topic: topic.clone(),
                key: *key,
            };
            let id = frame.clone();
            self.note(conn, What::Asked { id, request });
            let text = self.frame_of(&publish);
            let mut stale = self.stale.iter();
            if let Some(stale) = stale.find(|stale| stale.wire.number == conn) {
                stale.wire.send(&text);
            }
        }
    }
}
