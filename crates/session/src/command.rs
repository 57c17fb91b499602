//! The client's frames: which are taken in which state, and how fast.

use sparkway_protocol::{
    AckId, CloseReason, Code, Command, Event, FrameId, LastSeen, Outcome, Refused, limits,
};

use crate::effect::{Counted, Effect, HistoryRequest};
use crate::input::{StoreFailure, Surroundings};
use crate::machine::{Effects, Session, State};
use crate::subscribe::Wish;

/// Thousandths of a frame that an ack costs: nothing answers it.
const ACK_COST_MILLI: u64 = 50;
/// Thousandths of a frame that any other frame costs.
const FRAME_COST_MILLI: u64 = 1000;
/// Thousandths of a frame that each further topic of one request costs: joining and leaving is
/// work for every topic, but a client that comes back with all of its topics is no flood.
const TOPIC_COST_MILLI: u64 = 250;

impl Session {
    pub(crate) fn command(
        &mut self,
        command: Command,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        self.malformed = 0;
        let cost_milli = match &command {
            Command::Ack { .. } => ACK_COST_MILLI,
            Command::Subscribe { request, .. } => cost_of_topics(request.topics.len()),
            Command::Unsubscribe { topics, .. } => cost_of_topics(topics.len()),
            Command::Connect { .. }
            | Command::Resume { .. }
            | Command::Heartbeat { .. }
            | Command::Ping { .. }
            | Command::Refresh { .. }
            | Command::Close { .. }
            | Command::Publish { .. }
            | Command::History { .. }
            | Command::Presence { .. }
            | Command::Call { .. } => FRAME_COST_MILLI,
        };
        if !self.within_rate(cost_milli, command.id(), around, effects) {
            return;
        }
        match &self.state {
            State::Waiting { .. } => self.first(command, around, effects),
            State::Live(live) if live.resuming.is_none() => self.in_use(command, around, effects),
            State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. }
            | State::Live(_) => {
                let text = "the session is being set up";
                refuse(effects, Code::NotConnected, text, command.id().cloned());
            }
            State::Closed => {}
        }
    }

    /// Something that is no frame: tell it, and count it as one. As the first frame it ends the
    /// connection.
    pub(crate) fn malformed(
        &mut self,
        refused: Refused,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        if self.within_rate(FRAME_COST_MILLI, refused.id.as_ref(), around, effects) {
            effects.push(Effect::Send(Event::Refused(refused)));
        }
        self.malformed = self.malformed.saturating_add(1);
        let most = around.settings.malformed_in_a_row;
        if matches!(self.state, State::Waiting { .. }) {
            self.close(CloseReason::NotConnected, false, effects);
        } else if most > 0 && self.malformed >= most {
            self.close(CloseReason::Policy, false, effects);
        }
    }

    /// Nothing follows from it but that it counts.
    pub(crate) fn ignored(&mut self, around: &Surroundings<'_>, effects: &mut Effects) {
        self.within_rate(FRAME_COST_MILLI, None, around, effects);
    }

    /// Takes a frame's cost out of the bucket, or refuses the frame.
    fn within_rate(
        &mut self,
        cost_milli: u64,
        id: Option<&FrameId>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) -> bool {
        let settings = around.settings;
        let now_ms = around.now.mono_ms;
        let (rate, burst) = (settings.frames_per_second, settings.frames_burst);
        // A request that costs more than the burst would never pass.
        let cost_milli = cost_milli.min(u64::from(burst) * 1000);
        let frames = self.bucket.take(cost_milli, rate, burst, now_ms);
        let weight_milli = u64::from(std::mem::take(&mut self.weight)) * 1000;
        let bytes_rate = settings.bytes_per_second;
        let bytes = self
            .bytes
            .take(weight_milli, bytes_rate, settings.bytes_burst, now_ms);
        let (wait_ms, counted, text) = match (frames, bytes) {
            (Ok(()), Ok(())) => {
                self.refused = 0;
                return true;
            }
            (Err(wait_ms), _) => (
                wait_ms,
                Counted::FrameRateLimited,
                format!("more than {rate} frames per second"),
            ),
            (Ok(()), Err(wait_ms)) => (
                wait_ms,
                Counted::ByteRateLimited,
                format!("more than {bytes_rate} bytes per second"),
            ),
        };
        self.refused = self.refused.saturating_add(1);
        effects.push(Effect::Count(counted));
        let mut refused = Refused::new(Code::RateLimited, text).answering(id.cloned());
        refused.retry_after_ms = Some(wait_ms);
        effects.push(Effect::Send(Event::Refused(refused)));
        if self.refused >= settings.refused_in_a_row {
            self.close(CloseReason::RateLimited, true, effects);
        }
        false
    }

    fn first(&mut self, command: Command, around: &Surroundings<'_>, effects: &mut Effects) {
        let resume_failed = matches!(
            self.state,
            State::Waiting {
                resume_failed: true
            }
        );
        match command {
            Command::Connect { id, token, claimed } => self.connect(id, token, claimed, effects),
            Command::Resume { .. } if !resume_failed => self.resume(command, around, effects),
            other => {
                let text = if resume_failed {
                    "after a failed resume the next frame must be ws:connect"
                } else {
                    "the first frame must be ws:connect or ws:resume"
                };
                refuse(effects, Code::NotConnected, text, other.id().cloned());
                self.close(CloseReason::NotConnected, false, effects);
            }
        }
    }

    fn in_use(&mut self, command: Command, around: &Surroundings<'_>, effects: &mut Effects) {
        match command {
            Command::Connect { id, .. } | Command::Resume { id, .. } => {
                refuse(
                    effects,
                    Code::AlreadyConnected,
                    "the session is in use already",
                    id,
                );
            }
            Command::Heartbeat {
                id,
                heartbeat_token,
            } => {
                self.heartbeat(id, &heartbeat_token, around, effects);
            }
            Command::Ping { id } => acked(effects, id, Outcome::Done),
            Command::Ack { id, ack } => {
                self.ack(&ack, around, effects);
                acked(effects, id, Outcome::Done);
            }
            Command::Refresh { id, token } => {
                self.begin();
                effects.push(Effect::Reauthenticate { id, token });
            }
            Command::Close { id, resume } => {
                acked(effects, id, Outcome::Done);
                if let Some(live) = self.live_mut() {
                    live.leaving = Some(resume);
                }
            }
            Command::Subscribe { id, request } => {
                self.subscription(Wish::Join(id, request), around, effects);
            }
            Command::Unsubscribe { id, topics } => {
                self.subscription(Wish::Leave(id, topics), around, effects);
            }
            Command::Publish { .. } => self.publish(command, effects),
            Command::History {
                id,
                topic,
                after,
                before,
                limit,
                reverse,
            } => {
                let limit = limit.clamp(1, limits::HISTORY_PAGE);
                let request = HistoryRequest::History {
                    topic,
                    after,
                    before,
                    limit,
                    reverse,
                };
                self.query(id, request, effects);
            }
            Command::Presence { id, topic } => {
                self.query(id, HistoryRequest::Presence { topic }, effects);
            }
            Command::Call { id, method, params } => {
                self.query(id, HistoryRequest::Call { method, params }, effects);
            }
        }
    }

    fn query(&mut self, id: Option<FrameId>, request: HistoryRequest, effects: &mut Effects) {
        self.begin();
        effects.push(Effect::Query {
            id,
            request: Box::new(request),
        });
    }

    fn ack(&mut self, ack: &AckId, around: &Surroundings<'_>, effects: &mut Effects) {
        let Some(live) = self.live_mut() else { return };
        let known = match ack {
            AckId::Message(id) if id.is_ahead_of(around.now.unix_ms, limits::ID_AHEAD_MS) => false,
            AckId::Message(id) => live.cursors.advance(*id),
            AckId::Control(control) => live.confirm_control(control, effects),
            AckId::Unknown => false,
        };
        if !known {
            effects.push(Effect::Count(Counted::UnknownAck));
        }
    }

    /// One more operation whose answer the store or the node owes.
    pub(crate) const fn begin(&mut self) {
        if let Some(live) = self.live_mut() {
            live.in_flight += 1;
        }
    }

    /// One answer came. Says whether anybody waits for it.
    #[must_use]
    pub(crate) const fn finish(&mut self) -> bool {
        if let Some(live) = self.live_mut()
            && let Some(rest) = live.in_flight.checked_sub(1)
        {
            live.in_flight = rest;
            return true;
        }
        false
    }

    pub(crate) fn answered(
        &mut self,
        id: Option<FrameId>,
        result: Result<Outcome, Code>,
        effects: &mut Effects,
    ) {
        if !self.finish() {
            return;
        }
        match result {
            Ok(outcome) => acked(effects, id, outcome),
            Err(code) => refuse(effects, code, text_of(code), id),
        }
    }

    /// A write was refused or did not happen: tell the client, and end a fenced session.
    pub(crate) fn failed(
        &mut self,
        id: Option<FrameId>,
        failure: StoreFailure,
        effects: &mut Effects,
    ) {
        match failure {
            StoreFailure::Unavailable => {
                refuse(effects, Code::Unavailable, text_of(Code::Unavailable), id);
            }
            StoreFailure::NotReplicated => {
                refuse(
                    effects,
                    Code::NotReplicated,
                    text_of(Code::NotReplicated),
                    id,
                );
            }
            StoreFailure::Full => {
                refuse(effects, Code::LimitExceeded, TOO_MANY_OF_USER, id);
            }
            StoreFailure::Fenced => {
                refuse(effects, Code::Superseded, text_of(Code::Superseded), id);
                self.end_superseded(effects);
            }
            StoreFailure::Gone => {
                refuse(effects, Code::Unavailable, text_of(Code::Unavailable), id);
                self.close(CloseReason::SessionLost, false, effects);
            }
        }
    }
}

/// What a subscribe or unsubscribe costs.
const fn cost_of_topics(topics: usize) -> u64 {
    FRAME_COST_MILLI + (topics as u64).saturating_sub(1) * TOPIC_COST_MILLI
}

pub(crate) const TOO_MANY_OF_USER: &str = "user: has too many connections to this node";

/// What a failed resume shows of its last id, before any store is asked.
pub(crate) fn is_plausible(last: &LastSeen, now_unix_ms: u64) -> bool {
    let ahead =
        |id: &sparkway_protocol::MessageId| id.is_ahead_of(now_unix_ms, limits::ID_AHEAD_MS);
    match last {
        LastSeen::Unknown => true,
        LastSeen::One(id) => !ahead(id),
        LastSeen::Many(ids) => !ids.iter().any(ahead),
        LastSeen::Invalid => false,
    }
}

pub(crate) fn acked(effects: &mut Effects, id: Option<FrameId>, outcome: Outcome) {
    if let Some(id) = id {
        effects.push(Effect::Send(Event::Acked { id, outcome }));
    }
}

pub(crate) fn refuse(effects: &mut Effects, code: Code, text: &'static str, id: Option<FrameId>) {
    effects.push(Effect::Send(Event::Refused(
        Refused::new(code, text).answering(id),
    )));
}

const fn text_of(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "the store does not answer; the same request is safe to repeat",
        Code::NotReplicated => "stored, but not on enough replicas; safe to repeat",
        Code::Superseded => "the session lives on another connection",
        Code::Forbidden => "the grants do not cover this",
        Code::NotFound => "no such topic or method",
        Code::Unsupported => "this gateway does not offer it",
        Code::Timeout => "the backend did not answer in time",
        Code::Malformed
        | Code::Invalid
        | Code::UnknownType
        | Code::NotConnected
        | Code::AlreadyConnected
        | Code::Unauthorized
        | Code::TokenExpired
        | Code::BadHeartbeatToken
        | Code::LimitExceeded
        | Code::RateLimited
        | Code::TooLarge
        | Code::MethodNotAllowed
        | Code::Conflict
        | Code::Draining
        | Code::Internal => "refused",
    }
}
