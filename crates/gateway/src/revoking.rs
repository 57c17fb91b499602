//! Revoked tokens: whom they let in no more, and whose sessions end at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sparkway_auth::{Admission, AuthError, Mark, Mode, Pass, Revocation, Revocations, Revoked};
use sparkway_protocol::{CloseReason, UserId};
use sparkway_session::Input;
use sparkway_store::{SessionRecord, StoreError};

use crate::attached::Attached;
use crate::clock::millis;
use crate::shared::Shared;

/// How often the store is read again, besides after every reconnect: a word can be lost without one.
const REREAD: Duration = Duration::from_secs(30);

/// The revocations that this node knows.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Revocations>);

impl Known {
    fn with<T>(&self, use_it: impl FnOnce(&mut Revocations) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Lets somebody in who came with or without a token.
    ///
    /// # Errors
    /// Why not; also when the token was revoked.
    pub(crate) fn admit(&self, token: Option<&str>, mode: Mode) -> Result<Admission, AuthError> {
        let now_s = self.clock.now().unix_ms / 1000;
        let admission = self.verifier.load().admit(token, mode, now_s)?;
        if self.covers(admission.user(), &admission.pass().mark) {
            return Err(AuthError::Revoked);
        }
        Ok(admission)
    }

    pub(crate) fn covers(&self, user: Option<&UserId>, mark: &Mark) -> bool {
        let now_ms = self.clock.unix_ms();
        self.revoked
            .with(|known| !known.is_empty() && known.cover(user, mark, now_ms))
    }

    /// Whether nobody may take this session up any more.
    pub(crate) fn is_revoked(&self, record: &SessionRecord) -> bool {
        let pass = Pass::from_record(&record.grants);
        pass.is_ok_and(|pass| self.covers(record.user.as_ref(), &pass.mark))
    }

    /// Revokes tokens on all nodes: their sessions end within a second, are not taken up again,
    /// and no connection is made with them. `issued_until_ms`: tokens issued at or before it
    /// (default: now); `until_ms`: how long the revocation is kept (default: as long as
    /// `auth.revocation_keep` says, and never longer than ten years).
    ///
    /// # Errors
    /// [`StoreError`]: repeat it; this node obeys it already, others may.
    ///
    /// # Cancel safety
    /// Dropped, other nodes may or may not have learnt of it; repeat it.
    pub(crate) async fn revoke(
        self: &Arc<Self>,
        what: Revoked,
        issued_until_ms: Option<u64>,
        until_ms: Option<u64>,
    ) -> Result<Revocation, StoreError> {
        let now_ms = self.clock.unix_ms();
        let keep_ms = millis(self.settings.auth.revocation_keep);
        let longest_ms = now_ms.saturating_add(10 * 365 * 86_400_000);
        let until_ms = until_ms.unwrap_or_else(|| now_ms.saturating_add(keep_ms));
        let revocation = Revocation {
            what,
            issued_until_ms: issued_until_ms.unwrap_or(now_ms),
            until_ms: until_ms.min(longest_ms),
        };
        self.take_revocation(&revocation);
        let stored = stored(&revocation);
        if self.store.revoke(stored.clone()).await.is_err() {
            self.store.revoke(stored).await?;
        }
        Ok(revocation)
    }

    /// Another node revoked tokens.
    pub(crate) fn hear_revoked(self: &Arc<Self>, heard: &sparkway_store::Revocation) {
        if let Some(revocation) = understood(heard) {
            self.take_revocation(&revocation);
        }
    }

    fn take_revocation(&self, revocation: &Revocation) {
        let count = self.revoked.with(|known| {
            known.insert(revocation);
            known.len()
        });
        self.metrics
            .session
            .revocations
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        self.end_revoked();
    }

    /// Ends the sessions of this node whose credential is revoked.
    fn end_revoked(&self) {
        for attached in self.registry.all() {
            attached.end_if_revoked();
        }
    }

    /// Reads what the store knows, and tells it what it has lost.
    ///
    /// # Errors
    /// The store does not answer; what is known stays.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn read_revocations(&self) -> Result<(), StoreError> {
        let kept = self.store.revocations().await?;
        let now_ms = self.clock.unix_ms();
        let ends: HashMap<&str, u64> = kept
            .iter()
            .map(|kept| (&*kept.what, kept.until_ms))
            .collect();
        let is_kept = |known: &Revocation| {
            let end_ms = ends.get(known.to_record().as_str());
            end_ms.is_some_and(|end_ms| *end_ms >= known.until_ms)
        };
        let (lost, count) = self.revoked.with(|known| {
            known.prune(now_ms);
            let lost: Vec<_> = known
                .all()
                .into_iter()
                .filter(|one| !is_kept(one))
                .collect();
            for kept in kept.iter().filter_map(understood) {
                known.insert(&kept);
            }
            (lost, known.len())
        });
        self.metrics
            .session
            .revocations
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        if count > 0 {
            self.end_revoked();
        }
        for revocation in lost {
            self.store.revoke(stored(&revocation)).await?;
        }
        Ok(())
    }
}

/// A kept revocation, unless a newer version of this node wrote it.
fn understood(kept: &sparkway_store::Revocation) -> Option<Revocation> {
    let revocation = Revocation::from_record(&kept.what, kept.until_ms);
    if revocation.is_none() {
        tracing::warn!("a revocation is not understood");
    }
    revocation
}

/// The form in which the store keeps it.
fn stored(revocation: &Revocation) -> sparkway_store::Revocation {
    sparkway_store::Revocation {
        what: revocation.to_record().into(),
        until_ms: revocation.until_ms,
    }
}

/// Reads the revocations again and again, for as long as the node lives.
pub(crate) async fn reread(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(REREAD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = shared.read_revocations().await {
            tracing::debug!(%error, "revocations not read");
        }
    }
}

impl Attached {
    /// Ends the session if its credential is revoked. Called whenever one of both is new, after
    /// the session is in the register: no order of the two lets a session slip through.
    pub(crate) fn end_if_revoked(&self) {
        let shared = &self.worker.shared;
        if shared.covers(self.user.as_ref(), &self.mark.load()) && !self.is_over() {
            shared.metrics.session.revoked_sessions.inc();
            self.handle
                .post(Input::Disconnect(CloseReason::Unauthorized));
        }
    }
}
