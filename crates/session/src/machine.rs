//! The states of a session on one connection, and the step from one to the next.

use sparkway_protocol::{Epoch, Event, FrameId, LastSeen, SessionId, TopicName, UserId};

use crate::effect::Effect;
use crate::input::{Input, Surroundings};
use crate::subscribe::{Left, SubscriptionQueue, Wish};
use crate::{Bucket, Cursors, Identity, SessionSettings};

/// One connection's session. It lives as long as its connection; what survives lies in the store.
#[derive(Debug)]
pub struct Session {
    pub(crate) id: SessionId,
    pub(crate) state: State,
    pub(crate) bucket: Bucket,
    /// For the bytes of frames.
    pub(crate) bytes: Bucket,
    /// Bytes of the frame that is judged next.
    pub(crate) weight: u32,
    /// Frames refused in a row for their rate.
    pub(crate) refused: u16,
    /// Malformed frames in a row.
    pub(crate) malformed: u16,
    opened_ms: u64,
    /// A drain that is to be told once the session is in use, with the time to come back after.
    draining: Option<u64>,
}

/// What the machine waits for.
#[derive(Debug)]
pub(crate) enum State {
    /// The first frame. After a failed resume only a connect helps.
    Waiting { resume_failed: bool },
    /// The credential is being checked.
    Authenticating { id: Option<FrameId> },
    /// The store creates the record.
    Opening {
        id: Option<FrameId>,
        identity: Box<Identity>,
    },
    /// The store hands the record over.
    Claiming { id: Option<FrameId>, last: LastSeen },
    /// In use.
    Live(Box<Live>),
    /// Nothing more happens.
    Closed,
}

/// A session in use.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) user: Option<UserId>,
    pub(crate) grants: Box<str>,
    pub(crate) expires_at_ms: Option<u64>,
    /// When the client was told that its credential ran out, in monotonic milliseconds.
    pub(crate) expiry_told_ms: Option<u64>,
    pub(crate) epoch: Epoch,
    pub(crate) generation: u32,
    pub(crate) confirmed: u32,
    pub(crate) rotated_ms: u64,
    /// The number of the last control frame.
    pub(crate) control: u32,
    /// The newest control frame that the client acknowledged.
    pub(crate) control_acked: u32,
    pub(crate) rotation_control: Option<u32>,
    pub(crate) heartbeat_ms: u64,
    /// When the node last asked for a sign of life.
    pub(crate) pinged_ms: u64,
    pub(crate) heartbeats_in_interval: u8,
    pub(crate) interval_began_ms: u64,
    pub(crate) interval_ms: u64,
    pub(crate) interval_told_ms: u64,
    pub(crate) bad_tokens: u8,
    pub(crate) in_flight: usize,
    pub(crate) cursors: Cursors,
    pub(crate) topics: Vec<TopicName>,
    pub(crate) queue: SubscriptionQueue,
    pub(crate) leaving: Option<bool>,
    /// Set from the claim until `resume_ack` is sent.
    pub(crate) resuming: Option<Box<Resuming>>,
}

/// What `resume_ack` will say.
#[derive(Debug)]
pub(crate) struct Resuming {
    pub(crate) id: Option<FrameId>,
    pub(crate) dropped_topics: Vec<TopicName>,
    /// What the client said it has: its cursors, once the store has shown that such ids exist.
    pub(crate) named: Cursors,
}

/// The effects of a step are pushed here; the caller keeps the buffer.
pub type Effects = Vec<Effect>;

impl Session {
    /// A new connection. `id` names the session that a connect would create.
    #[must_use]
    pub fn new(id: SessionId, around: &Surroundings<'_>) -> Self {
        Self {
            id,
            state: State::Waiting {
                resume_failed: false,
            },
            bucket: Bucket::full(around.settings.frames_burst, around.now.mono_ms),
            bytes: Bucket::full(around.settings.bytes_burst, around.now.mono_ms),
            weight: 0,
            refused: 0,
            malformed: 0,
            opened_ms: around.now.mono_ms,
            draining: None,
        }
    }

    /// The session's id: of the resumed one after a claim.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The epoch, while the session is in use.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.live().map(|live| live.epoch)
    }

    /// The user, while the session is in use.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.live().and_then(|live| live.user.as_ref())
    }

    /// The serialised grants, while the session is in use.
    #[must_use]
    pub fn grants(&self) -> Option<&str> {
        self.live().map(|live| &*live.grants)
    }

    /// Whether the connection is over for the machine.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the first frame is still awaited.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Whether the session is in use.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Whether the next frame of the client can be taken now. While not, the caller leaves it in
    /// the socket.
    #[must_use]
    pub const fn wants_frames(&self, settings: &SessionSettings) -> bool {
        match &self.state {
            State::Waiting { .. } => true,
            State::Live(live) => {
                live.resuming.is_none() && live.in_flight < settings.publishes_in_flight
            }
            State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. }
            | State::Closed => false,
        }
    }

    /// Whether it takes no frames because too many requests wait for their answer.
    #[must_use]
    pub fn is_saturated(&self, settings: &SessionSettings) -> bool {
        self.live()
            .is_some_and(|live| live.in_flight >= settings.publishes_in_flight)
    }

    /// Says how many bytes the frame has that is stepped next, for its rate.
    pub const fn weigh(&mut self, bytes: u32) {
        self.weight = bytes;
    }

    /// When [`Input::Tick`] is due, in monotonic milliseconds.
    #[must_use]
    pub fn deadline(&self, around: &Surroundings<'_>) -> u64 {
        match &self.state {
            State::Waiting { .. }
            | State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. } => self
                .opened_ms
                .saturating_add(around.settings.connect_timeout_ms),
            State::Live(live) => live.deadline(around),
            State::Closed => u64::MAX,
        }
    }

    /// Takes one input and pushes what is to be carried out, in order.
    pub fn step(&mut self, input: Input, around: &Surroundings<'_>, effects: &mut Effects) {
        if self.is_closed() {
            return;
        }
        match input {
            Input::Command(command) => self.command(command, around, effects),
            Input::Malformed(refused) => self.malformed(refused, around, effects),
            Input::Ignored => self.ignored(around, effects),
            Input::Alive => {
                if let State::Live(live) = &mut self.state {
                    live.heartbeat_ms = around.now.mono_ms;
                }
            }
            Input::Authenticated(result) => self.authenticated(result, effects),
            Input::Opened(result) => self.opened(result, around, effects),
            Input::Claimed(result) => self.claimed(result, around, effects),
            Input::Attached(result) => self.attached(result, around, effects),
            Input::ReplayDone { replayed } => {
                if self.is_up() {
                    effects.push(Effect::Send(Event::ReplayDone { replayed }));
                }
            }
            Input::Stored { id, result } => self.stored(id, result, effects),
            Input::Subscribed { id, result } => self.subscribed(id, result, around, effects),
            Input::Unsubscribed { id, topics, result } => {
                self.unsubscribed(id, Left { topics, result }, around, effects);
            }
            Input::Answered { id, result } => self.answered(id, result, effects),
            Input::Refreshed {
                id,
                result,
                dropped_topics,
            } => {
                self.refreshed(id, result, dropped_topics, effects);
            }
            Input::Renewed {
                identity,
                dropped_topics,
            } => self.renewed(*identity, &dropped_topics, effects),
            Input::Superseded { epoch } => self.superseded(epoch, effects),
            Input::Reowned { epoch } => {
                if let State::Live(live) = &mut self.state {
                    live.epoch = live.epoch.max(epoch);
                }
            }
            Input::Enlist(topics) => self.enlist(&topics, around, effects),
            Input::Delist(topics) => {
                let topics = topics.iter().map(|topic| topic.as_str().into()).collect();
                self.subscription(Wish::Leave(None, topics), around, effects);
            }
            Input::Disconnect(reason) => self.disconnect(reason, effects),
            Input::Drain { reconnect_after_ms } => {
                self.draining = Some(reconnect_after_ms);
                if self.is_up() {
                    self.tell_drain(effects);
                }
            }
            Input::Interval {
                heartbeat_interval_ms,
            } => {
                if let State::Live(live) = &mut self.state {
                    live.interval_ms = heartbeat_interval_ms;
                }
            }
            Input::Tick => self.tick(around, effects),
            Input::Ended { client_code } => self.ended(client_code, around, effects),
        }
    }
}

impl Session {
    /// Whether the client has its `connect_ack` or `resume_ack`.
    fn is_up(&self) -> bool {
        self.live().is_some_and(|live| live.resuming.is_none())
    }

    /// Tells a drain of which the client has not heard.
    pub(crate) fn tell_drain(&mut self, effects: &mut Effects) {
        if let Some(reconnect_after_ms) = self.draining.take() {
            effects.push(Effect::Send(Event::Drain { reconnect_after_ms }));
        }
    }

    pub(crate) const fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Live(live) => Some(live),
            State::Waiting { .. }
            | State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. }
            | State::Closed => None,
        }
    }

    pub(crate) const fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.state {
            State::Live(live) => Some(live),
            State::Waiting { .. }
            | State::Authenticating { .. }
            | State::Opening { .. }
            | State::Claiming { .. }
            | State::Closed => None,
        }
    }
}
