//! Finds out whether the sessions in use here are still this node's, after something may have been
//! lost that would have said so.
//!
//! A claim elsewhere is told over the control channel, at most once; and a store that went back
//! behind a claim knows the former owner again. Both leave two connections that believe to have
//! one session, until one of them writes. The record of such a store may also lack the newest
//! subscriptions. So after every reconnect the records are read once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use sparkway_protocol::{Epoch, Partition, TopicName};
use sparkway_session::Input;
use sparkway_store::planted::Defect;
use sparkway_store::{Remember, StoreError, Subscription};

use crate::attached::Attached;
use crate::shared::Shared;

/// Records that are read at the same time.
const AT_ONCE: usize = 16;
/// How often reading is tried while the store does not answer.
const ATTEMPTS: u32 = 5;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(500);

impl Shared {
    /// Looks up every session in use on this node, or those of one partition: who has lost its
    /// session to another node is told, who is not known, or known as it was before, is written
    /// again.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn check_ownership(&self, of: Option<Partition>) {
        if Defect::NoFence.is_planted() {
            return;
        }
        let mut sessions = self.registry.all();
        sessions.retain(|attached| of.is_none_or(|one| attached.session.partition() == one));
        // In one order always, so that a simulation can be repeated.
        sessions.sort_unstable_by_key(|attached| attached.session);
        for _ in 0..ATTEMPTS {
            let looked = futures_util::stream::iter(sessions).map(async |attached| {
                let looked = attached.check_ownership().await;
                looked.err().map(|_| attached)
            });
            let unknown = looked.buffer_unordered(AT_ONCE);
            sessions = unknown.filter_map(std::future::ready).collect().await;
            if sessions.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::warn!(
            sessions = sessions.len(),
            "not known whether they are still owned"
        );
    }
}

impl Attached {
    async fn check_ownership(self: &Arc<Self>) -> Result<(), StoreError> {
        let used = self.epoch();
        let shared = &self.worker.shared;
        let record = shared.store.load(self.session).await?;
        let Some(record) = record.filter(|record| record.epoch >= used) else {
            self.restore(used);
            return Ok(());
        };
        if record.owner == shared.id {
            // A newer epoch of this very node is a restore, or a claim that is told here.
            return self.complete(used, &record.subscriptions).await;
        }
        if record.epoch >= self.epoch() {
            let epoch = Epoch(u64::MAX);
            self.handle.post(Input::Superseded { epoch });
        }
        Ok(())
    }

    /// Brings a record up to date that was written again with these subscriptions, while topics
    /// were left and joined.
    pub(crate) async fn settle(self: &Arc<Self>, used: Epoch, mut named: Vec<Subscription>) {
        let held = self.subscriptions();
        let is_held = |sub: &Subscription| held.iter().any(|one| one.topic == sub.topic);
        let mut undo = Remember::nothing(self.session, used);
        let left = named.extract_if(.., |sub| !is_held(sub));
        undo.unsubscribed = left.map(|sub| sub.topic).collect();
        if !undo.unsubscribed.is_empty() && !self.is_over() {
            self.after_write(used, &self.write(undo).await);
        }
        // With those that were joined again meanwhile.
        if let Err(error) = self.complete(used, &named).await {
            tracing::debug!(session = %self.session, %error, "subscriptions not written");
        }
    }

    /// Writes the subscriptions again that the record lacks.
    async fn complete(
        self: &Arc<Self>,
        used: Epoch,
        recorded: &[Subscription],
    ) -> Result<(), StoreError> {
        let mut change = Remember::nothing(self.session, used);
        change.subscribed = self.subscriptions();
        let lacks = |sub: &Subscription| !recorded.iter().any(|known| known.topic == sub.topic);
        change.subscribed.retain(lacks);
        if change.subscribed.is_empty() || self.is_over() {
            return Ok(());
        }
        let written: Vec<TopicName> = change
            .subscribed
            .iter()
            .map(|sub| sub.topic.clone())
            .collect();
        self.after_write(used, &self.write(change).await);
        // Left meanwhile: the record may have been told so before.
        let held = self.subscriptions();
        let mut undo = Remember::nothing(self.session, used);
        undo.unsubscribed = written;
        undo.unsubscribed
            .retain(|topic| !held.iter().any(|sub| sub.topic == *topic));
        if !undo.unsubscribed.is_empty() && !self.is_over() {
            self.after_write(used, &self.write(undo).await);
        }
        Ok(())
    }
}
