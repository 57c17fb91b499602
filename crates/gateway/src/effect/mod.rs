//! What sessions decide, carried out: one file per kind of effect.

mod append;
mod claim;
mod detach;
mod open;
mod query;
mod since;
mod subscribe;
mod unsubscribe;

use std::sync::Arc;

pub(crate) use claim::Taken;
use sparkway_metrics::{AuthReason, RateScope};
use sparkway_protocol::{Code, Epoch, FrameId};
use sparkway_session::{AuthFailure, Counted, Effect, Identity, Input};
use sparkway_store::{Remember, StoreError, WriteError};

use crate::attached::Attached;
use crate::connection::Connection;
use crate::manner;
use sparkway_auth::AuthError;

impl Connection {
    /// Carries an effect out, or starts it. An answer that is known at once is returned; every
    /// other comes by mail.
    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send(event) => self.tell(&event),
            Effect::Authenticate { token } => {
                return Some(Input::Authenticated(self.authenticate(token.as_deref())));
            }
            Effect::Reauthenticate { id, token } => self.reauthenticate(id, &token),
            Effect::Open(request) => self.open(*request),
            Effect::Claim {
                session,
                heartbeat_token,
            } => self.claim(session, heartbeat_token),
            Effect::Attach(request) => self.attach(request),
            Effect::Replay => {
                if let Some(replay) = self.replay.take() {
                    // The operation is gone only when the connection is.
                    let _gone = replay.send(());
                }
            }
            Effect::Append(request) => return self.append(*request),
            Effect::Announce(request) => return self.announce(*request),
            Effect::Subscribe(request) => self.subscribe(*request),
            Effect::Unsubscribe { id, topics } => self.unsubscribe(id, topics),
            Effect::Query { id, request } => self.query(id, *request),
            Effect::RememberGenerations {
                generation,
                confirmed,
            } => {
                self.remember_generations(generation, confirmed);
            }
            Effect::Detach { epoch: _, cursors } if manner::is_resumable(self.format) => {
                self.detach(&cursors);
            }
            Effect::Detach { .. } | Effect::End { .. } => self.end(),
            Effect::Close(request) => self.close(request),
            Effect::Count(counted) => self.count(counted),
        }
        None
    }

    /// The session in use, for operations that only it can ask for.
    pub(crate) fn in_use(&self) -> Option<Arc<Attached>> {
        self.attached.as_ref().map(Arc::clone)
    }

    fn authenticate(&self, in_frame: Option<&str>) -> Result<Identity, AuthFailure> {
        let shared = &self.worker.shared;
        let token = self
            .credential
            .as_deref()
            .or(in_frame)
            .filter(|token| !token.is_empty());
        let now_s = shared.clock.now().unix_ms / 1000;
        match shared.verifier.load().admit(token, self.mode, now_s) {
            Ok(admission) => Ok(Identity {
                user: admission.user().cloned(),
                grants: admission.grants().to_record().into(),
                expires_at_ms: admission.expires_at_ms(),
            }),
            Err(error) => {
                shared
                    .metrics
                    .session
                    .auth_failures
                    .at(reason_of(&error))
                    .inc();
                Err(failure_of(&error, token.is_none()))
            }
        }
    }

    /// A new credential for a live session: checks it, and drops what it does not grant.
    fn reauthenticate(&self, id: Option<FrameId>, token: &str) {
        let Some(attached) = self.in_use() else {
            return;
        };
        let shared = &self.worker.shared;
        let now_s = shared.clock.now().unix_ms / 1000;
        let admission = match shared.verifier.load().admit(Some(token), self.mode, now_s) {
            Ok(admission) => admission,
            Err(error) => {
                let result = Err(failure_of(&error, false));
                let dropped_topics = Vec::new();
                self.handle.post(Input::Refreshed {
                    id,
                    result,
                    dropped_topics,
                });
                return;
            }
        };
        let identity = Identity {
            user: admission.user().cloned(),
            grants: admission.grants().to_record().into(),
            expires_at_ms: admission.expires_at_ms(),
        };
        let same_user = identity.user == attached.user;
        let grants = admission.grants().clone();
        self.worker.shared.tasks.spawn(async move {
            let mut dropped_topics = Vec::new();
            if same_user {
                attached.set_grants(grants, identity.expires_at_ms);
                dropped_topics = attached.drop_ungranted();
                let mut change = Remember::nothing(attached.session, attached.epoch());
                change.grants = Some((identity.grants.clone(), identity.expires_at_ms));
                change.unsubscribed.clone_from(&dropped_topics);
                let used = change.epoch;
                let written = attached.write(change).await;
                attached.after_write(used, &written);
            }
            let result = Ok(identity);
            attached.handle.post(Input::Refreshed {
                id,
                result,
                dropped_topics,
            });
        });
    }

    fn count(&self, counted: Counted) {
        let metrics = &self.worker.shared.metrics.session;
        match counted {
            Counted::HeartbeatTimeout => metrics.heartbeat_timeouts.inc(),
            Counted::FrameRateLimited => metrics.rate_limited.at(RateScope::Frames).inc(),
            Counted::UnknownAck | Counted::BadHeartbeatToken => {}
        }
    }

    fn remember_generations(&self, generation: u32, confirmed: u32) {
        let Some(attached) = self.in_use() else {
            return;
        };
        attached.set_generations(generation, confirmed);
        self.worker.shared.tasks.spawn(async move {
            let mut change = Remember::nothing(attached.session, attached.epoch());
            change.generations = Some((generation, confirmed));
            let used = change.epoch;
            let written = attached.write(change).await;
            attached.after_write(used, &written);
        });
    }

    fn end(&self) {
        let Some(attached) = self.in_use() else {
            return;
        };
        attached.leave();
        attached.end();
    }

    /// What the connection leaves behind when it ends before its session was in use: a claimed
    /// session stays resumable; an opened one that the client never heard of is removed.
    pub(crate) fn clear_up(&mut self) {
        if let Some(mut taken) = self.taken.take() {
            // Whoever is still claiming finds nobody to hand it to, and gives it back.
            taken.close();
            if let Ok(taken) = taken.try_recv() {
                taken.attached.give_back();
            }
        }
        if let Some(attached) = self.attached.take() {
            attached.leave();
            if !attached.is_released() && attached.epoch() != Epoch(0) {
                attached.end();
            }
        }
    }
}

impl Attached {
    /// Removes the session from the store.
    pub(crate) fn end(self: &Arc<Self>) {
        self.release();
        let attached = Arc::clone(self);
        self.worker.shared.tasks.spawn(async move {
            let store = &attached.worker.shared.store;
            if let Err(error) = store.end(attached.session, attached.epoch()).await {
                tracing::debug!(session = %attached.session, %error, "end not written");
            }
        });
    }

    /// Writes a change of the session. A write that was overtaken by the session's own record,
    /// written again after the store had lost it, is not a sign of another owner.
    pub(crate) async fn write(&self, change: Remember) -> Result<(), WriteError> {
        let epoch = change.epoch;
        match self.worker.shared.store.remember(change).await {
            Err(WriteError::Fenced) if self.has_overtaken(epoch) => Err(overtaken()),
            written => written,
        }
    }

    /// What a fenced write means for the connection that made it.
    pub(crate) fn after_write(self: &Arc<Self>, used: Epoch, written: &Result<(), WriteError>) {
        match written {
            Ok(()) | Err(WriteError::Store(_)) => {}
            Err(WriteError::Fenced) => {
                self.worker.shared.metrics.session.fenced_writes.inc();
                let epoch = Epoch(u64::MAX);
                self.handle.post(Input::Superseded { epoch });
            }
            Err(WriteError::Gone) => self.restore(used),
        }
    }
}

/// Nothing was written, and the same request can be made again.
pub(crate) const fn overtaken() -> WriteError {
    WriteError::Store(StoreError::Unavailable("the session was written again"))
}

const fn failure_of(error: &AuthError, missing: bool) -> AuthFailure {
    if missing {
        return AuthFailure::Missing;
    }
    match error.code() {
        Code::TokenExpired => AuthFailure::Expired,
        _ => AuthFailure::Invalid,
    }
}

const fn reason_of(error: &AuthError) -> AuthReason {
    match error {
        AuthError::Missing => AuthReason::Missing,
        AuthError::TooLong(_) | AuthError::Malformed | AuthError::Critical => AuthReason::Malformed,
        AuthError::Algorithm => AuthReason::Algorithm,
        AuthError::Signature => AuthReason::Signature,
        AuthError::Expired => AuthReason::Expired,
        AuthError::NotYetValid | AuthError::IssuedInFuture => AuthReason::NotYetValid,
        AuthError::LivesTooLong
        | AuthError::MissingClaim(_)
        | AuthError::BadClaim(_)
        | AuthError::WrongIssuer
        | AuthError::WrongAudience => AuthReason::Claims,
    }
}
