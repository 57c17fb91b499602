//! A bench for the machine: it stands in for the gateway, which carries effects out.

mod frames;
mod heartbeats;
mod leaving;
mod random;
mod resuming;
mod subscribing;
mod table;

use sparkway_protocol::event::Subscribed;
use sparkway_protocol::{
    Command, Durability, Epoch, Event, FrameId, LastSeen, MessageId, NodeId, Outcome, Partition,
    Partitions, Payload, SessionId, Subscribe, TopicName, UserId,
};

use crate::{
    Claimed, Counted, Cursors, Effect, Identity, Input, Now, Opened, Restored, Session,
    SessionSettings, StoreFailure, StoredSession, SubscribeOutcome, Surroundings, TokenKey, Tokens,
};

const UNIX_MS: u64 = 1_790_000_000_000;

fn frame(text: &str) -> Option<FrameId> {
    FrameId::parse(text).ok()
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

/// An id of partition 0, so many milliseconds after the bench's beginning.
fn id_at(after_ms: u64) -> MessageId {
    MessageId::at(UNIX_MS + after_ms, Partition::default())
}

fn session_id() -> SessionId {
    SessionId::from_random([7; 16], Partition::default())
}

/// Everything around a session, and the present.
struct Place {
    settings: SessionSettings,
    tokens: Tokens,
    node: NodeId,
    now: Now,
}

impl Place {
    fn around(&self) -> Surroundings<'_> {
        Surroundings {
            settings: &self.settings,
            tokens: &self.tokens,
            partitions: Partitions::new(4).unwrap(),
            node: &self.node,
            max_message_bytes: 65_536,
            now: self.now,
        }
    }
}

struct Bench {
    place: Place,
    session: Session,
}

impl Bench {
    fn with(settings: SessionSettings) -> Self {
        let place = Place {
            settings,
            tokens: Tokens::new(vec![TokenKey {
                id: 1,
                secret: [3; 32],
            }]),
            node: NodeId::parse("n1").unwrap(),
            now: Now {
                mono_ms: 1000,
                unix_ms: UNIX_MS,
            },
        };
        let session = Session::new(session_id(), &place.around());
        Self { place, session }
    }

    fn new() -> Self {
        Self::with(SessionSettings::default())
    }

    /// In use, by a connect.
    fn live() -> Self {
        let mut bench = Self::new();
        bench.begin(identity());
        bench
    }

    fn begin(&mut self, identity: Identity) {
        self.command(connect("connect"));
        self.step(Input::Authenticated(Ok(identity)));
        self.step(Input::Opened(Ok(opened())));
        assert!(self.session.is_live());
    }

    /// Claimed, and not yet attached. The claim gave generation 6; the client showed 5.
    fn resuming(last: LastSeen, stored: StoredSession) -> Self {
        let mut bench = Self::new();
        bench.command(resume("resume", last));
        bench.step(Input::Claimed(Ok(Some(Box::new(claimed(stored))))));
        assert!(bench.session.is_live());
        bench
    }

    fn resumed() -> Self {
        let mut bench = Self::resuming(LastSeen::Unknown, stored());
        bench.step(Input::Attached(Ok(Box::default())));
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.session.step(input, &self.place.around(), &mut effects);
        effects
    }

    fn command(&mut self, command: Command) -> Vec<Effect> {
        self.step(Input::Command(command))
    }

    fn pass(&mut self, ms: u64) {
        self.place.now.mono_ms += ms;
        self.place.now.unix_ms += ms;
    }

    /// Time passes, then the session is ticked, as the node does at its deadline.
    fn tick_after(&mut self, ms: u64) -> Vec<Effect> {
        self.pass(ms);
        self.step(Input::Tick)
    }

    fn deadline(&self) -> u64 {
        self.session.deadline(&self.place.around())
    }

    fn token(&self, generation: u32) -> Box<str> {
        let user = self.session.user();
        self.place.tokens.make(self.session.id(), user, generation)
    }

    fn heartbeat(&mut self, generation: u32) -> Vec<Effect> {
        let heartbeat_token = self.token(generation);
        self.command(Command::Heartbeat {
            id: frame("heartbeat"),
            heartbeat_token,
        })
    }
}

fn connect(id: &str) -> Command {
    Command::Connect {
        id: frame(id),
        token: None,
        claimed: None,
    }
}

fn resume(id: &str, last: LastSeen) -> Command {
    Command::Resume {
        id: frame(id),
        session: Some(session_id()),
        heartbeat_token: "shown".into(),
        last,
    }
}

fn publish(id: &str, ephemeral: bool) -> Command {
    Command::Publish {
        id: frame(id),
        topic: topic("t"),
        payload: Payload::json("1".into()),
        ephemeral,
        durability: Durability::Stored,
        exclude_self: false,
        trace: None,
    }
}

fn subscribe(id: &str, topics: &[&str]) -> Command {
    Command::Subscribe {
        id: frame(id),
        request: Subscribe {
            topics: topics.iter().map(|&name| name.into()).collect(),
            since: sparkway_protocol::Since::Now,
            since_each: Vec::new(),
            presence: false,
            echo: true,
        },
    }
}

fn unsubscribe(id: &str, topics: &[&str]) -> Command {
    Command::Unsubscribe {
        id: frame(id),
        topics: topics.iter().map(|&name| name.into()).collect(),
    }
}

fn refresh(id: &str) -> Command {
    Command::Refresh {
        id: frame(id),
        token: "new".into(),
    }
}

fn identity() -> Identity {
    Identity {
        user: Some(UserId::parse("alice").unwrap()),
        grants: "g".into(),
        expires_at_ms: None,
    }
}

fn opened() -> Opened {
    Opened {
        session: session_id(),
        epoch: Epoch(1),
        positions: vec![id_at(0)],
    }
}

fn stored() -> StoredSession {
    StoredSession {
        session: session_id(),
        user: Some(UserId::parse("alice").unwrap()),
        grants: "g".into(),
        expires_at_ms: None,
        generation: 6,
        confirmed: 5,
        epoch: Epoch(4),
        cursors: Cursors::default(),
    }
}

fn claimed(stored: StoredSession) -> Claimed {
    Claimed {
        stored,
        topics: vec![topic("kept")],
        dropped_topics: vec![topic("dropped")],
    }
}

fn granted(names: &[&str]) -> SubscribeOutcome {
    let granted = names
        .iter()
        .map(|name| Subscribed {
            topic: topic(name),
            position: id_at(0),
            recovered: true,
        })
        .collect();
    SubscribeOutcome {
        granted,
        rejected: Vec::new(),
    }
}

fn restored(positions: Vec<MessageId>) -> Input {
    Input::Attached(Ok(Box::new(Restored {
        positions,
        ..Restored::default()
    })))
}

/// The frame that an effect answers.
fn answers(effect: &Effect) -> Option<&FrameId> {
    let Effect::Send(event) = effect else {
        return None;
    };
    match event {
        Event::Connected { id, .. }
        | Event::Resumed { id, .. }
        | Event::ResumeFailed { id, .. }
        | Event::HeartbeatAck { id, .. } => id.as_ref(),
        Event::Acked { id, .. } => Some(id),
        Event::Refused(refused) => refused.id.as_ref(),
        Event::ReplayDone { .. }
        | Event::Expiring { .. }
        | Event::Ping { .. }
        | Event::Drain { .. }
        | Event::Closing { .. }
        | Event::Message(_)
        | Event::Ephemeral(_)
        | Event::Presence(_)
        | Event::Gap(_) => None,
    }
}

/// Effects in short words, for tables.
fn words(effects: &[Effect]) -> String {
    let words: Vec<String> = effects.iter().map(word).collect();
    words.join(" ")
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Send(event) => event_word(event),
        Effect::Authenticate { .. } => "authenticate".into(),
        Effect::Reauthenticate { .. } => "reauthenticate".into(),
        Effect::Open(_) => "open".into(),
        Effect::Claim { .. } => "claim".into(),
        Effect::Attach(_) => "attach".into(),
        Effect::Replay => "replay".into(),
        Effect::Append(_) => "append".into(),
        Effect::Announce(_) => "announce".into(),
        Effect::Subscribe(_) => "subscribe".into(),
        Effect::Unsubscribe { .. } => "unsubscribe".into(),
        Effect::Query { .. } => "query".into(),
        Effect::RememberGenerations {
            generation,
            confirmed,
        } => format!("remember:{confirmed}..{generation}"),
        Effect::Detach { .. } => "detach".into(),
        Effect::End { .. } => "end".into(),
        Effect::Close(request) => format!("close:{:?}", request.reason),
        Effect::Count(Counted::UnknownAck) => "unknown".into(),
        Effect::Count(_) => "count".into(),
    }
}

fn event_word(event: &Event) -> String {
    match event {
        Event::Connected { .. } => "connected".into(),
        Event::Resumed { .. } => "resumed".into(),
        Event::ReplayDone { .. } => "replay_done".into(),
        Event::ResumeFailed { reason, .. } => reason.as_str().into(),
        Event::HeartbeatAck { control: None, .. } => "heartbeat_ack".into(),
        Event::HeartbeatAck {
            control: Some(control),
            updated_token,
            updated_interval_ms,
            ..
        } => {
            let token = if updated_token.is_some() {
                "+token"
            } else {
                ""
            };
            let interval = updated_interval_ms.map_or(String::new(), |ms| format!("+{ms}"));
            format!("heartbeat_ack:{control}{token}{interval}")
        }
        Event::Expiring { .. } => "token_expired".into(),
        Event::Ping { .. } => "ping".into(),
        Event::Acked { .. } => "acked".into(),
        Event::Refused(refused) => refused.code.as_str().into(),
        Event::Drain { reconnect_after_ms } => format!("drain:{reconnect_after_ms}"),
        Event::Closing { .. } => "closing".into(),
        Event::Message(_) => "message".into(),
        Event::Ephemeral(_) => "ephemeral".into(),
        Event::Presence(_) => "presence".into(),
        Event::Gap(_) => "gap".into(),
    }
}

/// The answer that the gateway gives to an effect when all goes well, or when the store does not
/// answer; `None` for effects that need none.
fn answer_to(effect: &Effect, failure: Option<StoreFailure>) -> Option<Input> {
    fn or<T>(failure: Option<StoreFailure>, value: T) -> Result<T, StoreFailure> {
        failure.map_or(Ok(value), Err)
    }
    match effect {
        Effect::Authenticate { .. } => Some(Input::Authenticated(Ok(identity()))),
        Effect::Open(_) => Some(Input::Opened(or(failure, opened()))),
        Effect::Claim { .. } => {
            let claimed = Box::new(claimed(stored()));
            Some(Input::Claimed(or(failure, Some(claimed))))
        }
        Effect::Attach(_) => Some(Input::Attached(or(failure, Box::default()))),
        Effect::Append(request) => Some(Input::Stored {
            id: request.id.clone(),
            result: or(failure, Some((id_at(1), false))),
        }),
        Effect::Announce(request) => Some(Input::Stored {
            id: request.id.clone(),
            result: or(failure, None),
        }),
        Effect::Subscribe(request) => {
            let names: Vec<&str> = request.topics.iter().map(TopicName::as_str).collect();
            Some(Input::Subscribed {
                id: request.id.clone(),
                result: or(failure, granted(&names)).map(Box::new),
            })
        }
        Effect::Unsubscribe { id, topics } => Some(Input::Unsubscribed {
            id: id.clone(),
            topics: topics.clone(),
            result: or(failure, ()),
        }),
        Effect::Query { id, .. } => Some(Input::Answered {
            id: id.clone(),
            result: failure.map_or(Ok(Outcome::Done), |_| {
                Err(sparkway_protocol::Code::Unavailable)
            }),
        }),
        Effect::Reauthenticate { id, .. } => Some(Input::Refreshed {
            id: id.clone(),
            result: Ok(identity()),
            dropped_topics: Vec::new(),
        }),
        Effect::Send(_)
        | Effect::Replay
        | Effect::RememberGenerations { .. }
        | Effect::Detach { .. }
        | Effect::End { .. }
        | Effect::Close(_)
        | Effect::Count(_) => None,
    }
}
