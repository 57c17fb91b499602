//! What a client knows and decides. No sockets, no waiting: frames in, frames out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;
use serde_json::json;
use sparkway_protocol::MessageId;
use sparkway_protocol::close::Next;
use tokio::time::Instant;

use crate::Error;
use crate::backoff::uniform;
use crate::counts::Tally;
use crate::encoding::ClientFrame;
use crate::handle::FrameIds;
use crate::options::Options;
use crate::positions::Positions;
use crate::requests::{Kind, Request, Requests};
use crate::topics::Topic;
use crate::wire::RawMessage;

/// How a connection ended, and what follows.
#[derive(Debug)]
pub(super) enum Ending {
    /// Come back.
    Again {
        /// In which way.
        next: Next,
        /// Not before this.
        wait: Duration,
    },
    /// Over for good.
    Stop(Error),
}

impl Ending {
    /// Come back in this way, without a hint of when.
    pub(super) const fn again(next: Next) -> Self {
        Self::Again {
            next,
            wait: Duration::ZERO,
        }
    }
}

/// What proves that a session is ours.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) session: Arc<str>,
    pub(super) token: String,
}

/// When heartbeats go out and are owed.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) interval: Duration,
    pub(super) due: Instant,
    /// Since when the gateway owes an answer.
    pub(super) owed: Option<Instant>,
}

/// Received messages that are not acknowledged yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: u32,
    due: Option<Instant>,
    said: Positions,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) options: Arc<Options>,
    pub(super) tally: Arc<Tally>,
    pub(super) rng: SmallRng,
    pub(super) ticket: Option<Ticket>,
    pub(super) positions: Positions,
    pub(super) heartbeat: Heartbeat,
    pub(super) acks: Acks,
    pub(super) topics: HashMap<Arc<str>, Topic>,
    pub(super) requests: Requests,
    pub(super) outgoing: VecDeque<RawMessage>,
    /// Between a resume and its end.
    pub(super) is_replaying: bool,
    /// A resume asked for more than the newest ids: repetitions are no defect.
    pub(super) is_overlapping: bool,
    /// When to leave a draining node.
    pub(super) leave_at: Option<Instant>,
    /// The node's last words, before the close frame.
    pub(super) farewell: Option<Ending>,
    /// Topics wait for room in their queue.
    pub(super) has_paused: bool,
    ids: FrameIds,
}

impl Machine {
    pub(super) fn new(options: Arc<Options>, tally: Arc<Tally>, ids: FrameIds) -> Self {
        let rng = options
            .seed
            .map_or_else(SmallRng::from_os_rng, SmallRng::seed_from_u64);
        Self {
            options,
            tally,
            rng,
            ticket: None,
            positions: Positions::default(),
            heartbeat: Heartbeat {
                interval: Duration::from_secs(25),
                due: Instant::now(),
                owed: None,
            },
            acks: Acks::default(),
            topics: HashMap::new(),
            requests: Requests::default(),
            outgoing: VecDeque::new(),
            is_replaying: false,
            is_overlapping: false,
            leave_at: None,
            farewell: None,
            has_paused: false,
            ids,
        }
    }

    /// Queues a frame that cannot fail to encode: text and numbers only.
    pub(super) fn say<D: Serialize + ?Sized>(&mut self, kind: &str, data: &D) {
        if let Ok(raw) = self
            .options
            .dial
            .encoding
            .encode(&ClientFrame::new(kind, Some(data)))
        {
            self.outgoing.push_back(raw);
        }
    }

    /// Makes a request of the client's own, or of a caller that waits for `reply`.
    pub(super) fn ask<D: Serialize + ?Sized>(
        &mut self,
        kind: &str,
        data: &D,
        what: Kind,
        reply: Option<tokio::sync::oneshot::Sender<Result<serde_json::Value, Error>>>,
    ) {
        let id = self.ids.next();
        let frame = ClientFrame::new(kind, Some(data)).named(&id);
        match self.options.dial.encoding.encode(&frame) {
            Ok(frame) => self.requests.add(Request {
                id: id.into(),
                frame,
                kind: what,
                reply,
            }),
            Err(error) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    /// The first heartbeat comes anywhere in the interval: a crowd that came together must not beat
    /// together.
    pub(super) fn start_heartbeat(&mut self, now: Instant) {
        self.heartbeat.owed = None;
        self.heartbeat.due = now + uniform(self.heartbeat.interval, &mut self.rng);
    }

    /// How far everything is with the application: what a resume and an ack may name. Where a
    /// topic's history is still coming in, live messages of others may be ahead of it, and the
    /// position must not pass the topic's own.
    pub(super) fn settled(&self) -> Positions {
        let mut settled = self.positions;
        for topic in self.topics.values().filter(|topic| topic.is_catching_up()) {
            if let Some(cursor) = topic.cursor {
                settled.lower(cursor);
            }
        }
        settled
    }

    /// A message was handed on: it is acknowledged soon.
    pub(super) fn note_for_ack(&mut self, id: MessageId, now: Instant) {
        self.positions.raise(id);
        self.acks.waiting += 1;
        if self.acks.due.is_none() {
            self.acks.due = Some(now + self.options.ack_after);
        }
        if self.acks.waiting >= self.options.ack_every {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        self.acks.waiting = 0;
        self.acks.due = None;
        for id in self.settled().iter() {
            if self
                .acks
                .said
                .of(id.partition())
                .is_none_or(|said| said < id)
            {
                self.acks.said.set(id);
                self.say("ws:ack", &json!({ "ackId": id.to_string() }));
            }
        }
    }

    /// The next frame to write: answers first, then requests.
    pub(super) fn next_outgoing(&mut self) -> Option<RawMessage> {
        if let Some(raw) = self.outgoing.pop_front() {
            return Some(raw);
        }
        let ready = self.requests.pop_ready()?;
        if ready.is_repeated {
            self.tally.retries.one();
            for topic in ready.topics {
                if let Some(topic) = self.topics.get_mut(topic) {
                    topic.may_repeat = true;
                }
            }
        }
        Some(ready.frame)
    }

    /// When [`Machine::tick`] has something to do next.
    pub(super) fn next_wake(&self) -> Instant {
        let mut wake = match self.heartbeat.owed {
            Some(since) => since + self.options.silence_within,
            None => self.heartbeat.due,
        };
        let room = self
            .has_paused
            .then(|| Instant::now() + Duration::from_millis(50));
        for other in [self.acks.due, self.leave_at, self.requests.next_due(), room] {
            wake = other.map_or(wake, |other| wake.min(other));
        }
        wake
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Ending> {
        if self.leave_at.is_some_and(|at| at <= now) {
            self.tally.drains.one();
            return Err(Ending::again(Next::Resume));
        }
        match self.heartbeat.owed {
            Some(since) if now >= since + self.options.silence_within => {
                return Err(Ending::again(Next::Resume));
            }
            None if self.heartbeat.due <= now => self.beat(now),
            Some(_) | None => {}
        }
        if self.acks.due.is_some_and(|due| due <= now) {
            self.acknowledge();
        }
        self.requests.wake(now);
        if self.has_paused {
            self.take_up_again();
        }
        Ok(())
    }

    fn beat(&mut self, now: Instant) {
        let Some(ticket) = self.ticket.clone() else {
            return;
        };
        self.heartbeat.owed = Some(now);
        self.heartbeat.due = now + self.heartbeat.interval;
        self.tally.heartbeats.one();
        self.say("ws:heartbeat", &json!({ "heartbeat_token": ticket.token }));
    }

    /// A new connection is up: nothing of the old one holds.
    pub(super) fn connection_began(&mut self) {
        self.outgoing.clear();
        self.leave_at = None;
        self.farewell = None;
        self.acks = Acks::default();
    }

    /// The delay before attempt number `attempt`, after a connection that ended like this.
    pub(super) fn delay(&mut self, next: Next, attempt: u32, wait: Duration) -> Duration {
        let backoff = self.options.backoff;
        let jitter = match next {
            Next::Resume if attempt == 0 => backoff.spread(&mut self.rng),
            Next::Resume | Next::Backoff | Next::Stop => backoff.delay(attempt, &mut self.rng),
        };
        wait + jitter
    }

    /// The index of the node to begin with.
    pub(super) fn first_node(&mut self, nodes: usize) -> usize {
        if self.options.spread_nodes && nodes > 1 {
            self.rng.random_range(0..nodes)
        } else {
            0
        }
    }
}
