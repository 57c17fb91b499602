//! What sessions decide, carried out: one file per kind of effect.

mod append;
mod authenticate;
mod claim;
mod converse;
mod detach;
mod open;
mod place;
mod query;
mod refused;
mod rejoin;
mod respond;
mod since;
mod subscribe;
mod unsubscribe;
mod visit;
mod wish;

use std::sync::Arc;

pub(crate) use claim::Taken;
pub(crate) use respond::UNANSWERED;
use sparkway_metrics::RateScope;
use sparkway_protocol::{Epoch, Event, Format};
use sparkway_session::{Counted, Cursors, Effect, HistoryRequest, Input, StoreFailure};
use sparkway_store::{Remember, StoreError, WriteError};
pub(crate) use visit::{Visit, follow_lobby};
pub(crate) use wish::Wish;

use crate::attached::Attached;
use crate::connection::Connection;
use crate::manner;

impl Connection {
    /// Carries an effect out, or starts it. An answer that is known at once is returned; every
    /// other comes by mail.
    pub(crate) fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send(Event::Expiring { grace_ms }) if self.goes_on() => self.go_on(grace_ms),
            Effect::Send(event) => self.tell(&event),
            Effect::Authenticate { token, claimed } => {
                return self.authenticate(token, claimed.as_ref());
            }
            Effect::Reauthenticate { id, token } => self.reauthenticate(id, token),
            Effect::Open(request) if self.is_one_too_many(&request) => {
                let limited = &self.worker.shared.metrics.session.rate_limited;
                limited.at(RateScope::UserConnections).inc();
                return Some(Input::Opened(Err(StoreFailure::Full)));
            }
            Effect::Open(request) if self.format == Format::Conversation => {
                self.converse(*request);
            }
            Effect::Open(request) => self.open(*request),
            Effect::Claim {
                session,
                heartbeat_token,
            } => self.claim(session, heartbeat_token),
            Effect::Attach(request) => self.attach(request),
            Effect::Replay => self.begin_replay(),
            Effect::Append(request) => return self.append(*request),
            Effect::Announce(request) => return self.announce(*request),
            Effect::Subscribe(request) => self.subscribe(*request),
            Effect::Unsubscribe { id, topics } => self.unsubscribe(id, topics),
            Effect::Query { id, request } => match *request {
                HistoryRequest::Call { method, params } if self.format == Format::Chat => {
                    self.visitor_calls(id, method, params);
                }
                request => self.query(id, request),
            },
            Effect::RememberGenerations {
                generation,
                confirmed,
            } => {
                self.remember_generations(generation, confirmed);
            }
            Effect::Detach { epoch: _, cursors } if manner::is_resumable(self.format) => {
                let read = self.read();
                self.detach(&read.map_or(cursors, |read| Cursors::from_ids(&[read])));
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

    fn count(&self, counted: Counted) {
        let metrics = &self.worker.shared.metrics.session;
        match counted {
            Counted::HeartbeatTimeout => metrics.heartbeat_timeouts.inc(),
            Counted::FrameRateLimited => metrics.rate_limited.at(RateScope::Frames).inc(),
            Counted::ByteRateLimited => metrics.rate_limited.at(RateScope::Bytes).inc(),
            Counted::UnknownAck | Counted::BadHeartbeatToken => {}
        }
    }

    fn remember_generations(&self, generation: u32, confirmed: u32) {
        let Some(attached) = self.in_use() else {
            return;
        };
        attached.set_generations(generation, confirmed);
        self.worker.shared.tasks.run(async move {
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
            // It is somebody else's now, who is in its topics already or soon, or it was removed.
            attached.go_away();
        }
    }
}

impl Attached {
    /// Removes the session from the store.
    pub(crate) fn end(self: &Arc<Self>) {
        self.release();
        self.go_for_good();
        let attached = Arc::clone(self);
        self.worker.shared.tasks.run(async move {
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
