//! Begin a conversation, or take the running one of a client up again.
//!
//! The session is found by what the client calls itself: its id is derived from user and client
//! id. It is always claimed, also when it was only just created: of two connections that begin at
//! the same time one is then the owner, and the other is told.

use std::sync::Arc;

use sparkway_auth::{Grants, Pass};
use sparkway_dialect::Talk;
use sparkway_dialect::conversation::{self, Party};
use sparkway_metrics::Opening;
use sparkway_protocol::{CloseReason, Epoch, Format, Partition, SessionId, TopicName, UserId};
use sparkway_session::{Input, OpenRequest, StoreFailure};
use sparkway_store::{
    Claim, ClaimError, Open, Remember, SessionRecord, StoreError, Subscription, WriteError,
};
use tokio::sync::oneshot;

use super::claim::{Claimer, hand_over};
use crate::connection::Connection;
use crate::outcome::Resume;
use crate::registry::Claiming;
use crate::shared::Shared;
use crate::worker::Worker;

/// How often a session is looked for that expires, or is replaced, while it is being claimed.
const ATTEMPTS: u32 = 4;

impl Connection {
    pub(super) fn converse(&mut self, request: OpenRequest) {
        let Talk::Conversation(state) = &self.talk else {
            return;
        };
        let Some(party) = state.party.clone() else {
            return;
        };
        let claimer = Claimer {
            worker: Arc::clone(&self.worker),
            handle: Arc::clone(&self.handle),
            format: self.format,
        };
        let (sender, receiver) = oneshot::channel();
        self.taken = Some(receiver);
        self.worker.shared.tasks.spawn(async move {
            match take(&claimer.worker, &request, &party).await {
                Ok((record, claim)) => hand_over(claimer, record, claim, sender),
                Err(error) => {
                    tracing::debug!(%error, "conversation not begun");
                    let failed = Err(StoreFailure::Unavailable);
                    claimer.handle.post(Input::Claimed(failed));
                }
            }
        });
    }

    /// Notes which conversation it is that was attached. Without one there is nothing to stay for:
    /// the namespace's rule keeps everybody out.
    pub(crate) fn confirmed(&mut self, input: &Input) -> Option<CloseReason> {
        let (Talk::Conversation(state), Input::Attached(Ok(_))) = (&mut self.talk, input) else {
            return None;
        };
        let subs = self.attached.as_ref()?.subs();
        let mut topics = subs.iter().map(|sub| &sub.topic);
        state.topic = topics
            .find(|topic| conversation::id_of(topic).is_some())
            .cloned();
        state.topic.is_none().then_some(CloseReason::Unauthorized)
    }
}

async fn take(
    worker: &Arc<Worker>,
    request: &OpenRequest,
    party: &Party,
) -> Result<(SessionRecord, (Claiming, Option<Resume>)), StoreError> {
    let shared = &worker.shared;
    let session = session_of(shared, request.user.as_ref(), &party.client_id);
    let resume = Resume::begin();
    for _ in 0..ATTEMPTS {
        let known = shared.store.load(session).await?;
        let generation = known
            .as_ref()
            .map_or(request.generation, |known| known.generation);
        if known.is_none() {
            begin(worker, session, request).await?;
        }
        if known.as_ref().is_some_and(|known| known.attached) && !shared.may_take_over(session) {
            return Err(StoreError::Unavailable("taken over too often"));
        }
        let claiming = Claiming::begin(shared, session).await;
        let claim = Claim {
            session,
            generation,
            node: shared.id.clone(),
            nonce: rand::random(),
        };
        let mut claimed = shared.store.claim(claim.clone()).await;
        if let Err(ClaimError::Store(_)) = claimed {
            // It may have happened: the nonce makes the second one answer as the first did.
            claimed = shared.store.claim(claim).await;
        }
        let record = match claimed {
            Ok(claimed) => claimed.record,
            // It expired, or somebody claimed it in between.
            Err(ClaimError::Unknown | ClaimError::BadGeneration) => continue,
            Err(ClaimError::Store(error)) => return Err(error),
        };
        let how = if known.is_some() {
            Opening::Resumed
        } else {
            Opening::New
        };
        if let Some(record) = renewed(worker, record, request, party).await? {
            let opened = &shared.metrics.socket.connections_opened;
            opened.at((Format::Conversation, how)).inc();
            return Ok((record, (claiming, known.is_some().then_some(resume))));
        }
    }
    Err(StoreError::Unavailable(
        "the conversation changes hands too often",
    ))
}

/// The same client of the same user is the same session, on every node; nobody can guess its id.
pub(super) fn session_of(shared: &Shared, user: Option<&UserId>, client_id: &str) -> SessionId {
    let who = user.map_or(&[][..], |user| user.as_str().as_bytes());
    let kind = [u8::from(user.is_some())];
    let name = shared
        .tokens
        .name(&[b"conversation", &kind, who, client_id.as_bytes()]);
    let [any, ..] = name;
    let partition = user.map_or_else(
        || Partition::new(any % shared.layout.count()).unwrap_or_default(),
        |user| shared.layout.of(user.as_str()),
    );
    SessionId::from_random(name, partition)
}

/// A conversation of its own, that begins at this worker's position.
fn new_subscription(worker: &Worker) -> Result<Subscription, StoreError> {
    let id = SessionId::from_random(rand::random(), Partition::default());
    let topic = conversation::topic(&id.to_string());
    let topic = topic.ok_or(StoreError::Corrupt("a conversation without a name"))?;
    let start = worker
        .hub()
        .position(worker.shared.layout.of(topic.as_str()));
    Ok(Subscription {
        topic,
        start,
        echo: true,
        presence: false,
        by_backend: false,
    })
}

async fn begin(
    worker: &Worker,
    session: SessionId,
    request: &OpenRequest,
) -> Result<(), StoreError> {
    let shared = &worker.shared;
    let subscription = new_subscription(worker)?;
    let record = SessionRecord {
        session,
        user: request.user.clone(),
        grants: grants(request, &subscription.topic),
        expires_at_ms: request.expires_at_ms,
        generation: request.generation,
        confirmed: request.generation,
        epoch: Epoch(0),
        owner: shared.id.clone(),
        attached: true,
        format: Format::Conversation,
        cursors: vec![subscription.start],
        subscriptions: vec![subscription],
    };
    let only_one = shared.only_one();
    shared.store.open(Open { record, only_one }).await?;
    Ok(())
}

/// What the credential grants, and the conversation itself; with the credential's marks, by which
/// it is revoked.
fn grants(request: &OpenRequest, topic: &TopicName) -> Box<str> {
    let pass = Pass::from_record(&request.grants);
    let pass = pass.unwrap_or_else(|_| Pass::unmarked(Grants::none()));
    let grants = pass.grants.and_own(topic);
    Pass { grants, ..pass }.to_record().into()
}

/// The record with what this connect brings: its credential, and another conversation where the
/// client does not want the running one. `None` when the record is gone meanwhile.
async fn renewed(
    worker: &Worker,
    mut record: SessionRecord,
    request: &OpenRequest,
    party: &Party,
) -> Result<Option<SessionRecord>, StoreError> {
    let mut change = Remember::nothing(record.session, record.epoch);
    let running = record
        .subscriptions
        .iter()
        .find(|sub| conversation::id_of(&sub.topic).is_some());
    // A record that was begun by this connect has had nobody to talk yet.
    let topic = match running {
        Some(running) if party.resume => running.topic.clone(),
        Some(_) | None => {
            let new = new_subscription(worker)?;
            let former = record.subscriptions.iter().map(|sub| sub.topic.clone());
            change.unsubscribed = former.collect();
            change.cursors = vec![new.start];
            change.subscribed = vec![new.clone()];
            record.cursors = vec![new.start];
            record.subscriptions = vec![new.clone()];
            new.topic
        }
    };
    let grants = grants(request, &topic);
    if grants != record.grants || request.expires_at_ms != record.expires_at_ms {
        change.grants = Some((grants.clone(), request.expires_at_ms));
    }
    (record.grants, record.expires_at_ms) = (grants, request.expires_at_ms);
    if change.grants.is_none() && change.subscribed.is_empty() {
        return Ok(Some(record));
    }
    let mut written = worker.shared.store.remember(change.clone()).await;
    if let Err(WriteError::Store(_)) = written {
        written = worker.shared.store.remember(change).await;
    }
    match written {
        // Somebody else has claimed it: the register will say so as soon as it is entered.
        Ok(()) | Err(WriteError::Fenced) => Ok(Some(record)),
        Err(WriteError::Gone) => Ok(None),
        Err(WriteError::Store(error)) => Err(error),
    }
}
