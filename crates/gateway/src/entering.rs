//! What a connection asks for by itself, where its dialect has no frame for it: the session, and
//! the place in its room.

use sparkway_auth::Mode;
use sparkway_dialect::{room, topics};
use sparkway_protocol::{CloseReason, Command, Format, Since, TopicName};
use sparkway_session::{Effect, Input};

use crate::connection::Connection;
use crate::settings::RoomEcho;

/// The room that a path named, and where in its log the client wants to begin.
#[derive(Clone, Debug)]
pub(crate) struct RoomPlace {
    pub(crate) topic: TopicName,
    pub(crate) since: Since,
}

/// What a connection still waits for before it takes frames as its dialect means them.
#[derive(Debug, Default)]
pub(crate) struct Entering {
    /// The first frame, until the session is in use that it silently asked for.
    held: Option<Box<Command>>,
    /// Whether the answer of the room is still awaited.
    joining: bool,
}

impl Entering {
    /// Whether frames can be taken now.
    pub(crate) const fn is_over(&self) -> bool {
        !self.joining && self.held.is_none()
    }
}

impl Connection {
    /// The first step, before any frame.
    pub(crate) fn enter(&mut self, effects: &mut Vec<Effect>) {
        let at_once = match self.format {
            Format::Topics => self.credential.is_some() || self.mode == Mode::Off,
            Format::Room => true,
            Format::SparkJson | Format::SparkMsgPack | Format::Conversation | Format::Chat => false,
        };
        self.entering.joining = self.room.is_some() || self.format == Format::Chat;
        if self.format == Format::Chat {
            self.knock();
        }
        if at_once {
            self.step(Input::Command(topics::connect()), effects);
        }
    }

    /// A command as it is meant in this state of the session.
    pub(crate) fn meant(&mut self, command: Command, effects: &mut Vec<Effect>) -> Option<Command> {
        if self.format == Format::Room {
            self.echo(&command);
        }
        if self.format != Format::Topics {
            return Some(command);
        }
        if self.session.is_live() {
            return Some(topics::in_use(command));
        }
        let silent = self.may_be_nobody() && !matches!(command, Command::Connect { .. });
        if !silent {
            return Some(command);
        }
        self.entering.held = Some(Box::new(command));
        self.step(Input::Command(topics::connect()), effects);
        None
    }

    /// A client that need not say who it is and has not is nobody when its time is over.
    pub(crate) fn tick(&mut self, effects: &mut Vec<Effect>) {
        let around = self.worker.shared.around(self.format);
        let is_late = around.now.mono_ms >= self.session.deadline(&around);
        if self.format == Format::Topics && is_late && self.may_be_nobody() {
            self.step(Input::Command(topics::connect()), effects);
        } else {
            self.step(Input::Tick, effects);
        }
    }

    /// The echo that does not wait for the room (S3-05).
    fn echo(&self, command: &Command) {
        if self.worker.shared.settings.room.echo == RoomEcho::Itself
            && let Command::Publish { payload, .. } = command
        {
            self.handle.outbox.push_control(room::frame(payload));
        }
    }

    /// Whether binary frames are relayed here (S3-09).
    pub(crate) fn relays_binary(&self) -> bool {
        self.format == Format::Room && self.worker.shared.settings.room.relay_binary
    }

    fn may_be_nobody(&self) -> bool {
        self.session.is_waiting() && self.mode == Mode::Optional
    }

    /// The input that follows from one that was just taken.
    pub(crate) fn follow_up(&mut self) -> Option<Input> {
        if !self.session.is_live() {
            return None;
        }
        if let Some(command) = self.entering.held.take() {
            return Some(Input::Command(*command));
        }
        let place = self.room.take().or_else(|| self.inbox_place())?;
        let echo = self.format == Format::Chat
            || self.worker.shared.settings.room.echo == RoomEcho::ViaRoom;
        let command = room::join(&place.topic, place.since, echo);
        Some(Input::Command(command))
    }

    /// The room's answer: without a place in it there is nothing to stay for.
    pub(crate) fn joined(&mut self, input: &Input) -> Option<CloseReason> {
        let Input::Subscribed { result, .. } = input else {
            return None;
        };
        if !std::mem::take(&mut self.entering.joining) {
            return None;
        }
        match result {
            Ok(outcome) if outcome.granted.is_empty() => Some(CloseReason::Unauthorized),
            Ok(_) => None,
            Err(_) => Some(CloseReason::TryAgain),
        }
    }
}
