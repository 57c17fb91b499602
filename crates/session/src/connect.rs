//! Begin a session: check the credential, create the record, say welcome.

use sparkway_protocol::event::Welcome;
use sparkway_protocol::{
    CloseReason, Code, Epoch, Event, FrameId, MessageId, Payload, Refused, TopicName, UserId,
};

use crate::Cursors;
use crate::command::{TOO_MANY_OF_USER, refuse};
use crate::effect::{Effect, OpenRequest};
use crate::input::{AuthFailure, Identity, Opened, StoreFailure, Surroundings};
use crate::machine::{Effects, Live, Session, State};
use crate::subscribe::SubscriptionQueue;

impl Session {
    pub(crate) fn connect(
        &mut self,
        id: Option<FrameId>,
        token: Option<Box<str>>,
        claimed: Option<Payload>,
        effects: &mut Effects,
    ) {
        self.state = State::Authenticating { id };
        effects.push(Effect::Authenticate { token, claimed });
    }

    pub(crate) fn authenticated(
        &mut self,
        result: Result<Identity, AuthFailure>,
        effects: &mut Effects,
    ) {
        let State::Authenticating { id } = &mut self.state else {
            return;
        };
        let id = id.take();
        match result {
            Ok(identity) => {
                effects.push(Effect::Open(Box::new(OpenRequest {
                    user: identity.user.clone(),
                    grants: identity.grants.clone(),
                    expires_at_ms: identity.expires_at_ms,
                    session: self.id,
                    generation: 1,
                })));
                self.state = State::Opening {
                    id,
                    identity: Box::new(identity),
                };
            }
            Err(AuthFailure::Unavailable) => {
                let (code, text) = words_of(AuthFailure::Unavailable);
                refuse(effects, code, text, id);
                self.close(CloseReason::TryAgain, false, effects);
            }
            Err(failure) => {
                // One code for every reason (S0-08); the text says which.
                let (_, text) = words_of(failure);
                refuse(effects, Code::Unauthorized, text, id);
                self.close(CloseReason::Unauthorized, false, effects);
            }
        }
    }

    pub(crate) fn opened(
        &mut self,
        result: Result<Opened, StoreFailure>,
        around: &Surroundings<'_>,
        effects: &mut Effects,
    ) {
        let State::Opening { id, identity } = &mut self.state else {
            return;
        };
        let id = id.take();
        let opened = match result {
            Ok(opened) => opened,
            Err(failure) => return self.not_opened(id, failure, effects),
        };
        self.id = opened.session;
        let mut live = Live::begin(opened.epoch, 1, around);
        live.user = identity.user.take();
        live.grants = std::mem::take(&mut identity.grants);
        live.expires_at_ms = identity.expires_at_ms;
        self.state = State::Live(Box::new(live));
        let welcome = Box::new(self.welcome(opened.positions, around));
        effects.push(Effect::Send(Event::Connected { id, welcome }));
        self.tell_drain(effects);
    }

    pub(crate) fn not_opened(
        &mut self,
        id: Option<FrameId>,
        failure: StoreFailure,
        effects: &mut Effects,
    ) {
        let (code, text) = match failure {
            StoreFailure::Full => (Code::LimitExceeded, TOO_MANY_OF_USER),
            StoreFailure::Unavailable
            | StoreFailure::NotReplicated
            | StoreFailure::Fenced
            | StoreFailure::Gone => (
                Code::Unavailable,
                "the store does not answer; connect again",
            ),
        };
        let refused = Refused::new(code, text).answering(id);
        effects.push(Effect::Send(Event::Refused(refused)));
        self.close(CloseReason::TryAgain, false, effects);
    }

    pub(crate) fn welcome(&self, positions: Vec<MessageId>, around: &Surroundings<'_>) -> Welcome {
        let generation = self.live().map_or(0, |live| live.generation);
        let user: Option<UserId> = self.user().cloned();
        Welcome {
            session: self.id,
            heartbeat_token: around.tokens.make(self.id, user.as_ref(), generation),
            heartbeat_interval_ms: self
                .live()
                .map_or(around.settings.heartbeat_interval_ms, |live| {
                    live.interval_ms
                }),
            positions,
            node: around.node.clone(),
            resume_window_ms: around.settings.resume_window_ms,
            max_message_bytes: around.max_message_bytes,
            user,
        }
    }

    pub(crate) fn refreshed(
        &mut self,
        id: Option<FrameId>,
        result: Result<Identity, AuthFailure>,
        dropped_topics: Vec<TopicName>,
        effects: &mut Effects,
    ) {
        if !self.finish() {
            return;
        }
        let Some(live) = self.live_mut() else { return };
        match result {
            Ok(identity) if identity.user != live.user => {
                refuse(
                    effects,
                    Code::Forbidden,
                    "token: belongs to another user",
                    id,
                );
            }
            Ok(identity) => {
                live.grants = identity.grants;
                live.expires_at_ms = identity.expires_at_ms;
                live.expiry_told_ms = None;
                live.topics.retain(|topic| !dropped_topics.contains(topic));
                let expires_at_ms = live.expires_at_ms;
                let outcome = sparkway_protocol::Outcome::Refreshed {
                    expires_at_ms,
                    dropped_topics,
                };
                crate::command::acked(effects, id, outcome);
            }
            Err(failure) => {
                let (code, text) = words_of(failure);
                refuse(effects, code, text, id);
            }
        }
    }
}

impl Session {
    /// The credential that ran out goes on, without the client's doing.
    pub(crate) fn renewed(
        &mut self,
        identity: Identity,
        dropped_topics: &[TopicName],
        effects: &mut Effects,
    ) {
        let Some(live) = self.live_mut() else { return };
        live.grants = identity.grants;
        live.expires_at_ms = identity.expires_at_ms;
        live.expiry_told_ms = None;
        if dropped_topics.is_empty() {
            return;
        }
        live.topics.retain(|topic| !dropped_topics.contains(topic));
        if let Some(resuming) = &mut live.resuming {
            // `resume_ack` comes first, and names them.
            resuming.dropped_topics.extend_from_slice(dropped_topics);
            return;
        }
        let names: Vec<&str> = dropped_topics.iter().map(TopicName::as_str).collect();
        let text = format!("topics: no longer granted: {}", names.join(", "));
        effects.push(Effect::Send(Event::Refused(Refused::new(
            Code::Forbidden,
            text,
        ))));
    }
}

impl Live {
    /// A session that begins now on this connection.
    pub(crate) fn begin(epoch: Epoch, generation: u32, around: &Surroundings<'_>) -> Self {
        let now = around.now.mono_ms;
        let interval = around.settings.heartbeat_interval_ms;
        Self {
            user: None,
            grants: Box::default(),
            expires_at_ms: None,
            expiry_told_ms: None,
            epoch,
            generation,
            confirmed: generation,
            rotated_ms: now,
            control: 0,
            control_acked: 0,
            rotation_control: None,
            heartbeat_ms: now,
            pinged_ms: now,
            heartbeats_in_interval: 0,
            interval_began_ms: now,
            interval_ms: interval,
            interval_told_ms: interval,
            bad_tokens: 0,
            in_flight: 0,
            cursors: Cursors::default(),
            topics: Vec::new(),
            queue: SubscriptionQueue::default(),
            leaving: None,
            resuming: None,
        }
    }
}

pub(crate) const fn words_of(failure: AuthFailure) -> (Code, &'static str) {
    match failure {
        AuthFailure::Missing => (Code::Unauthorized, "token: required"),
        AuthFailure::Invalid => (Code::Unauthorized, "token: not valid"),
        AuthFailure::Expired => (Code::TokenExpired, "token: expired"),
        AuthFailure::Denied => (
            Code::Unauthorized,
            "the backend does not let this client in",
        ),
        AuthFailure::Unavailable => (
            Code::Unavailable,
            "the credential cannot be checked now; try again",
        ),
    }
}
