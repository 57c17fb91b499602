//! Check a credential: what it says, and what the backend says of it.

use std::sync::Arc;

use sparkway_auth::{Admission, AuthError, Mark, Pass};
use sparkway_hooks::{Hook, ask};
use sparkway_metrics::AuthReason;
use sparkway_protocol::{Code, Event, FrameId, Payload, TopicName};
use sparkway_session::{AuthFailure, Identity, Input};
use sparkway_store::Remember;

use crate::asking::Knock;
use crate::attached::Attached;
use crate::connection::Connection;
use crate::shared::{Allowed, Shared};

impl Connection {
    /// What is known of the credential at once; what somebody has to be asked for comes by mail.
    pub(super) fn authenticate(
        &self,
        in_frame: Option<Box<str>>,
        claimed: Option<&Payload>,
    ) -> Option<Input> {
        let shared = Arc::clone(&self.worker.shared);
        if let Some(admission) = self.visit.admission.as_deref() {
            // The application has judged it.
            return Some(Input::Authenticated(shared.judged(Ok(admission), false)));
        }
        // That of the handshake counts, whatever the frame says.
        let token = self.credential.clone().or(in_frame);
        let token = token.filter(|token| !token.is_empty());
        if !shared.must_ask(self.mode) {
            let admission = shared.admit(token.as_deref(), self.mode);
            if !is_unknown(&admission) {
                let result = shared.judged(admission.as_ref(), token.is_none());
                return Some(Input::Authenticated(result));
            }
        }
        let missing = token.is_none();
        let knock = Knock {
            token,
            mode: self.mode,
            client: self.introduced(claimed),
        };
        let handle = Arc::clone(&self.handle);
        self.worker.shared.tasks.spawn(async move {
            let admission = Box::pin(shared.let_in(knock)).await;
            let result = shared.judged(admission.as_ref(), missing);
            handle.post(Input::Authenticated(result));
        });
        None
    }

    /// The client as hooks are shown it before it has a session.
    fn introduced(&self, claimed: Option<&Payload>) -> ask::Client {
        let shown = self.handle.shown.get();
        let mut client = shown.map_or_else(ask::Client::default, |shown| ask::Client::clone(shown));
        client.claimed_headers = self.worker.shared.claimed(claimed);
        client
    }

    /// A new credential for a live session: checks it, and drops what it does not grant.
    pub(super) fn reauthenticate(&self, id: Option<FrameId>, token: Box<str>) {
        let Some(attached) = self.in_use() else {
            return;
        };
        let knock = Knock {
            token: Some(token),
            mode: self.mode,
            client: attached.introduced(),
        };
        self.worker.shared.tasks.spawn(async move {
            let shared = Arc::clone(&attached.worker.shared);
            let admission = Box::pin(shared.let_in(knock)).await;
            let result = shared.judged(admission.as_ref(), false);
            let mut dropped_topics = Vec::new();
            if let (Ok(identity), Ok(admission)) = (&result, &admission)
                && identity.user == attached.user
            {
                dropped_topics = attached.renew(admission.pass(), identity).await;
            }
            attached.handle.post(Input::Refreshed {
                id,
                result,
                dropped_topics,
            });
        });
    }

    /// Whether a backend is asked before the client is told that its credential runs out.
    pub(super) fn goes_on(&self) -> bool {
        self.worker.shared.hook(Hook::Refresh).is_some()
    }

    /// Asks whether the credential goes on, and tells the client when it does not.
    pub(super) fn go_on(&self, grace_ms: u64) {
        let Some(attached) = self.in_use() else {
            return;
        };
        self.worker.shared.tasks.spawn(async move {
            let expires_at_ms = attached
                .expires_at_ms
                .load(std::sync::atomic::Ordering::Relaxed);
            let Some((grants, expires_at_ms)) =
                Box::pin(attached.ask_to_go_on(expires_at_ms)).await
            else {
                attached.tell(&Event::Expiring { grace_ms });
                return;
            };
            let pass = Pass {
                grants,
                mark: Mark::clone(&attached.mark.load()),
            };
            let identity = Identity {
                user: attached.user.clone(),
                grants: pass.to_record().into(),
                expires_at_ms,
            };
            let dropped_topics = attached.renew(pass, &identity).await;
            attached.handle.post(Input::Renewed {
                identity: Box::new(identity),
                dropped_topics,
            });
        });
    }
}

impl Attached {
    /// Applies a new credential of the same user; names the topics that it ends.
    async fn renew(self: &Arc<Self>, pass: Pass, identity: &Identity) -> Vec<TopicName> {
        self.set_pass(pass, identity.expires_at_ms);
        self.end_if_revoked();
        let refused = self.asked_again().await;
        let dropped_topics = self.drop_ungranted(&refused);
        let mut change = Remember::nothing(self.session, self.epoch());
        change.grants = Some((identity.grants.clone(), identity.expires_at_ms));
        change.unsubscribed.clone_from(&dropped_topics);
        let used = change.epoch;
        let written = self.write(change).await;
        self.after_write(used, &written);
        dropped_topics
    }

    /// The topics that the subscribe hook lets this session receive no longer. While it cannot be
    /// asked, none.
    async fn asked_again(&self) -> Vec<TopicName> {
        let held: Vec<TopicName> = {
            let grants = self.grants.load();
            let shared = &self.worker.shared;
            let user = self.user.as_ref();
            let subs = self.subs();
            let topics = subs.iter().map(|sub| &sub.topic);
            topics
                .filter(|topic| {
                    shared.may_subscribe(&grants, topic, user, self.session) == Allowed::Ask
                })
                .cloned()
                .collect()
        };
        if held.is_empty() {
            return held;
        }
        match Box::pin(self.ask_to_receive(&held, "refresh")).await {
            Ok(kept) => held
                .into_iter()
                .filter(|topic| !kept.contains(topic))
                .collect(),
            Err(_) => Vec::new(),
        }
    }
}

impl Shared {
    /// What the session is told of an admission; a refusal is counted.
    fn judged(
        &self,
        admission: Result<&Admission, &AuthError>,
        missing: bool,
    ) -> Result<Identity, AuthFailure> {
        match admission {
            Ok(admission) => Ok(Identity {
                user: admission.user().cloned(),
                grants: admission.pass().to_record().into(),
                expires_at_ms: admission.expires_at_ms(),
            }),
            Err(error) => {
                self.count_refusal(error);
                Err(failure_of(error, missing))
            }
        }
    }

    pub(crate) fn count_refusal(&self, error: &AuthError) {
        let failures = &self.metrics.session.auth_failures;
        failures.at(reason_of(error)).inc();
    }
}

/// Whether somebody else has to be asked for the key.
const fn is_unknown(admission: &Result<Admission, AuthError>) -> bool {
    matches!(
        admission,
        Err(AuthError::KeyUnknown(_) | AuthError::KeysUnknown(_))
    )
}

const fn failure_of(error: &AuthError, missing: bool) -> AuthFailure {
    match error {
        AuthError::Denied => return AuthFailure::Denied,
        AuthError::Undecided | AuthError::KeysUnknown(_) => return AuthFailure::Unavailable,
        _ if missing => return AuthFailure::Missing,
        _ => {}
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
        AuthError::KeyUnknown(_) => AuthReason::KeyUnknown,
        AuthError::KeysUnknown(_) | AuthError::Undecided => AuthReason::Unavailable,
        AuthError::Denied => AuthReason::Denied,
        AuthError::Expired => AuthReason::Expired,
        AuthError::Revoked => AuthReason::Revoked,
        AuthError::NotYetValid | AuthError::IssuedInFuture => AuthReason::NotYetValid,
        AuthError::LivesTooLong
        | AuthError::MissingClaim(_)
        | AuthError::BadClaim(_)
        | AuthError::WrongIssuer
        | AuthError::WrongAudience => AuthReason::Claims,
    }
}
