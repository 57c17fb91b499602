//! Take a session over, and bring it up to date.

use std::sync::Arc;

use sparkway_auth::{Grants, Pass};
use sparkway_metrics::{AuthReason, RateScope, ResumeResult, Takeover};
use sparkway_protocol::{Epoch, MessageId, Partition, SessionId, TopicName};
use sparkway_session::{AttachRequest, Claimed, Cursors, Input, StoreFailure, StoredSession};
use sparkway_store::planted::Defect;
use sparkway_store::presence::Step;
use sparkway_store::{Claim, ClaimError, Remember, SessionRecord, StoreError, Subscription};
use tokio::sync::oneshot;

use crate::attached::{Attached, Owned};
use crate::connection::Connection;
use crate::guests::Replaces;
use crate::outcome::Resume;
use crate::registry::Claiming;
use crate::shared::{Allowed, Shared};

/// A session that this connection claimed, until it is attached.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) attached: Arc<Attached>,
    pub(crate) subscriptions: Vec<Subscription>,
    claiming: Claiming,
    /// `None` when the session has just been made.
    resume: Option<Resume>,
}

impl Connection {
    /// Unknown session, foreign session, wrong token, old token: one answer, after the same work.
    pub(super) fn claim(&mut self, session: Option<SessionId>, heartbeat_token: Box<str>) {
        let claimer = Claimer {
            worker: Arc::clone(&self.worker),
            handle: Arc::clone(&self.handle),
            format: self.format,
        };
        let (sender, receiver) = oneshot::channel();
        self.taken = Some(receiver);
        self.worker.shared.tasks.run(async move {
            let shared = Arc::clone(&claimer.worker.shared);
            let handle = Arc::clone(&claimer.handle);
            let resume = Resume::begin();
            match take_over(&shared, session, &heartbeat_token).await {
                Ok(Ok((record, claiming))) => {
                    hand_over(claimer, record, (claiming, Some(resume)), sender);
                }
                Ok(Err(why)) => {
                    Resume::failed(&shared, why);
                    handle.post(Input::Claimed(Ok(None)));
                }
                Err(error) => {
                    tracing::debug!(%error, "claim not answered");
                    Resume::failed(&shared, ResumeResult::Unavailable);
                    handle.post(Input::Claimed(Err(StoreFailure::Unavailable)));
                }
            }
        });
    }

    pub(super) fn attach(&mut self, request: AttachRequest) {
        let Some(taken) = self
            .taken
            .take()
            .and_then(|mut taken| taken.try_recv().ok())
        else {
            self.handle
                .post(Input::Attached(Err(StoreFailure::Unavailable)));
            return;
        };
        let attached = Arc::clone(&taken.attached);
        self.attached = Some(Arc::clone(&attached));
        if let Some(former) = self.worker.shared.registry.enter(&attached) {
            Resume::took_over(&self.worker.shared, Takeover::SameNode);
            former.handle.post(Input::Superseded {
                epoch: Epoch(u64::MAX),
            });
        }
        // Entered first: from here on the register finds it.
        let epoch = taken.claiming.heard();
        if epoch > attached.epoch() {
            attached.handle.post(Input::Superseded { epoch });
        }
        attached.end_if_revoked();
        let (sender, first) = oneshot::channel();
        self.replay = Some(first);
        self.worker.shared.tasks.run(async move {
            let Taken {
                subscriptions,
                claiming,
                resume,
                ..
            } = taken;
            let result = attached.rejoin(subscriptions, request.positions).await;
            // The next one's turn: what it missed is read, or known to be in the log.
            drop(claiming);
            if let (Err(failure), Some(_)) = (&result, resume) {
                Resume::not_attached(&attached.worker.shared, *failure);
            }
            let result = result.map(|(restored, first)| {
                let from_log = first.iter().any(|(_, gathered)| gathered.from_log);
                let resume = resume.map(|resume| resume.found(&restored, from_log));
                // Nobody takes it when the connection has ended.
                drop(sender.send((first, resume)));
                Box::new(restored)
            });
            attached.handle.post(Input::Attached(result));
        });
    }

    /// `resume_ack` is queued: what was missed follows it.
    pub(super) fn begin_replay(&mut self) {
        if let Some((first, resume)) = self
            .replay
            .take()
            .and_then(|mut first| first.try_recv().ok())
            && let Some(attached) = self.in_use()
        {
            let format = self.format;
            let tasks = &self.worker.shared.tasks;
            tasks.run(async move {
                let replayed = attached.replay(first).await;
                if let Some(resume) = resume {
                    resume.done(&attached.worker.shared, format, replayed);
                }
            });
        }
    }
}

/// For whom a session is claimed.
#[derive(Debug)]
pub(super) struct Claimer {
    pub(super) worker: Arc<crate::worker::Worker>,
    pub(super) handle: Arc<crate::handle::Handle>,
    pub(super) format: sparkway_protocol::Format,
}

/// Gives a claimed session to its connection.
pub(super) fn hand_over(
    whom: Claimer,
    record: SessionRecord,
    (claiming, resume): (Claiming, Option<Resume>),
    to: oneshot::Sender<Taken>,
) {
    let Claimer {
        worker,
        handle,
        format,
    } = whom;
    let (claimed, attached, subscriptions) = split(&worker, &handle, format, record);
    attached.forget(&claimed.dropped_topics);
    let taken = Taken {
        attached,
        subscriptions,
        claiming,
        resume,
    };
    // The connection may have ended meanwhile; then nobody attaches, and the session is detached
    // again here.
    if let Err(taken) = to.send(taken) {
        taken.attached.give_back();
    }
    handle.post(Input::Claimed(Ok(Some(Box::new(claimed)))));
}

async fn take_over(
    shared: &Arc<Shared>,
    session: Option<SessionId>,
    token: &str,
) -> Result<Result<(SessionRecord, Claiming), ResumeResult>, StoreError> {
    // What is no session id is looked up like one, so that it takes as long.
    let looked_up =
        session.unwrap_or_else(|| SessionId::from_random(rand::random(), Partition::default()));
    let record = shared.store.load(looked_up).await?;
    let user = record.as_ref().and_then(|record| record.user.as_ref());
    let generation = shared.tokens.check(looked_up, user, token);
    let (Some(_), Some(generation), Some(session)) = (&record, generation, session) else {
        return Ok(Err(if record.is_none() {
            ResumeResult::Unknown
        } else {
            ResumeResult::BadToken
        }));
    };
    if record
        .as_ref()
        .is_some_and(|record| shared.is_revoked(record))
    {
        // Like a session that ended: nobody takes it up any more.
        let reason = AuthReason::Revoked;
        shared.metrics.session.auth_failures.at(reason).inc();
        return Ok(Err(ResumeResult::Unknown));
    }
    let is_attached = record.as_ref().is_some_and(|record| record.attached);
    if is_attached && !shared.may_take_over(session) {
        return Err(StoreError::Unavailable("taken over too often"));
    }
    // Whoever takes over from this node has a place here already.
    if shared.guests.is_full(user, Replaces::Session(session)) {
        let limited = &shared.metrics.session.rate_limited;
        limited.at(RateScope::UserConnections).inc();
        return Err(StoreError::Unavailable("the user has too many connections"));
    }
    let node = shared.id.clone();
    let claiming = Claiming::begin(shared, session).await;
    let claim = Claim {
        session,
        generation,
        node,
        nonce: rand::random(),
    };
    let mut claimed = shared.store.claim(claim.clone()).await;
    if let Err(ClaimError::Store(_)) = claimed {
        // It may have happened: the nonce makes the second one answer as the first did.
        claimed = shared.store.claim(claim).await;
    }
    match claimed {
        Ok(claimed) => {
            if claimed.former_owner.is_some_and(|owner| owner != shared.id) {
                Resume::took_over(shared, Takeover::OtherNode);
            }
            Ok(Ok((claimed.record, claiming)))
        }
        // It was there a moment ago.
        Err(ClaimError::Unknown) => Ok(Err(ResumeResult::Expired)),
        Err(ClaimError::BadGeneration) => Ok(Err(ResumeResult::BadToken)),
        Err(ClaimError::Store(error)) => Err(error),
    }
}

impl Shared {
    /// Whether a session that somebody has may be taken from him; counted when not.
    pub(super) fn may_take_over(&self, session: SessionId) -> bool {
        let now_ms = self.clock.mono_ms();
        let allowed = self.guests.takeovers.allow(session, now_ms);
        if !allowed {
            let limited = &self.metrics.session.rate_limited;
            limited.at(RateScope::Takeovers).inc();
        }
        allowed
    }
}

fn split(
    worker: &Arc<crate::worker::Worker>,
    handle: &Arc<crate::handle::Handle>,
    format: sparkway_protocol::Format,
    record: SessionRecord,
) -> (Claimed, Arc<Attached>, Vec<Subscription>) {
    let now_ms = worker.shared.clock.now().unix_ms;
    let is_expired = record.expires_at_ms.is_some_and(|end| end <= now_ms);
    // What ran out grants nothing; a refresh brings new grants.
    let mut pass =
        Pass::from_record(&record.grants).unwrap_or_else(|_| Pass::unmarked(Grants::none()));
    if is_expired {
        pass.grants = Grants::none();
    }
    let (granted, dropped): (Vec<_>, Vec<_>) = record.subscriptions.into_iter().partition(|sub| {
        let allowed = worker.shared.may_subscribe(
            &pass.grants,
            &sub.topic,
            record.user.as_ref(),
            record.session,
        );
        // A backend was asked when it was subscribed, and is again at the next refresh.
        sub.by_backend || allowed == Allowed::Yes || allowed == Allowed::Ask && !is_expired
    });
    let granted = received(granted, &record.cursors);
    let owned = Owned {
        session: record.session,
        user: record.user.clone(),
        pass,
        expires_at_ms: record.expires_at_ms,
        epoch: record.epoch,
        generations: (record.generation, record.confirmed),
    };
    let names = |subs: &[Subscription]| subs.iter().map(|sub| sub.topic.clone()).collect();
    let claimed = Claimed {
        topics: names(&granted),
        dropped_topics: names(&dropped),
        stored: StoredSession {
            session: record.session,
            user: record.user,
            grants: record.grants,
            expires_at_ms: record.expires_at_ms,
            generation: record.generation,
            confirmed: record.confirmed,
            epoch: record.epoch,
            cursors: Cursors::from_ids(&record.cursors),
        },
    };
    let attached = Attached::new(worker, handle, format, owned);
    attached.expect(&granted);
    (claimed, attached, granted)
}

/// The defect [`Defect::DeliveryCursor`]: what is at or below a cursor is not for the client.
fn received(mut granted: Vec<Subscription>, cursors: &[MessageId]) -> Vec<Subscription> {
    if Defect::DeliveryCursor.is_planted() {
        let newest = cursors.iter().copied().max().unwrap_or_default();
        for sub in &mut granted {
            sub.start = sub.start.max(newest);
        }
    }
    granted
}

impl Attached {
    /// Topics that are no longer granted: they must not come back with the next resume.
    fn forget(self: &Arc<Self>, dropped: &[TopicName]) {
        if dropped.is_empty() {
            return;
        }
        for topic in dropped {
            self.move_in(topic, Step::Leave);
        }
        let attached = Arc::clone(self);
        let mut change = Remember::nothing(self.session, self.epoch());
        change.unsubscribed = dropped.to_vec();
        self.worker.shared.tasks.spawn(async move {
            let used = change.epoch;
            let written = attached.write(change).await;
            attached.after_write(used, &written);
        });
    }

    /// Ends the subscriptions that the present grants do not cover, and names them.
    /// `refused` are those that a backend refuses now.
    pub(super) fn drop_ungranted(&self, refused: &[TopicName]) -> Vec<TopicName> {
        let grants = self.grants.load();
        let shared = &self.worker.shared;
        let mut dropped = Vec::new();
        let mut hub = self.worker.hub();
        self.subs().retain(|sub| {
            let user = self.user.as_ref();
            let allowed = shared.may_subscribe(&grants, &sub.topic, user, self.session);
            let kept = sub.by_backend || allowed != Allowed::No && !refused.contains(&sub.topic);
            if !kept {
                hub.leave(&sub.topic, sub.slot);
                shared.unwant(&sub.topic);
                self.move_in(&sub.topic, Step::Leave);
                dropped.push(sub.topic.clone());
            }
            kept
        });
        dropped
    }
}
