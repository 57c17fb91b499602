//! Subscriptions that a backend makes and ends, on whatever node the session is.

use sparkway_protocol::{MessageId, SessionId, TopicName};
use sparkway_store::{Control, Remember, SessionRecord, StoreError, Subscription, WriteError};

use super::Desk;

/// How often a session is looked up again that moved meanwhile.
const TRIES: usize = 4;

impl Desk {
    /// Subscribes a session to topics, whatever its grants. Each subscription begins now: what is
    /// published after this call reaches the session, wherever it is, also when it is detached and
    /// comes back. Topics that it has already stay as they are. Answers the topics that are new;
    /// `None` when there is no such session.
    ///
    /// # Guarantees
    /// Written into the record before the owner is told. A word that is lost with the store's
    /// control channel takes effect at the next resume.
    ///
    /// # Errors
    /// It may have happened; safe to repeat.
    ///
    /// # Cancel safety
    /// Dropped, it may have happened.
    pub async fn subscribe(
        &self,
        session: SessionId,
        topics: &[TopicName],
    ) -> Result<Option<Vec<TopicName>>, WriteError> {
        let mut starts = Vec::with_capacity(topics.len());
        for topic in topics {
            let start = self
                .shared
                .store
                .clock(self.layout().of(topic.as_str()))
                .await?;
            starts.push((topic.clone(), start));
        }
        let amended = self
            .amend(session, |record| {
                let held = |topic: &TopicName| {
                    record.subscriptions.iter().any(|held| held.topic == *topic)
                };
                let new: Vec<_> = starts
                    .iter()
                    .filter(|(topic, _)| !held(topic))
                    .cloned()
                    .collect();
                let mut change = Remember::nothing(session, record.epoch);
                change.subscribed = new.iter().map(subscription).collect();
                (
                    change,
                    Control::Enlist {
                        session,
                        topics: new,
                    },
                )
            })
            .await?;
        Ok(amended.map(|control| match control {
            Control::Enlist { topics, .. } => topics.into_iter().map(|(topic, _)| topic).collect(),
            _ => Vec::new(),
        }))
    }

    /// Ends subscriptions of a session. Answers whether there is such a session.
    ///
    /// # Errors
    /// It may have happened; safe to repeat.
    ///
    /// # Cancel safety
    /// Dropped, it may have happened.
    pub async fn unsubscribe(
        &self,
        session: SessionId,
        topics: &[TopicName],
    ) -> Result<bool, WriteError> {
        let amended = self
            .amend(session, |record| {
                let mut change = Remember::nothing(session, record.epoch);
                change.unsubscribed = topics.to_vec();
                let topics = topics.to_vec();
                (change, Control::Delist { session, topics })
            })
            .await?;
        Ok(amended.is_some())
    }

    /// Changes the record under the epoch that it has, then tells its owner.
    async fn amend(
        &self,
        session: SessionId,
        change: impl Fn(&SessionRecord) -> (Remember, Control),
    ) -> Result<Option<Control>, WriteError> {
        let store = &self.shared.store;
        for _ in 0..TRIES {
            let Some(record) = store.load(session).await? else {
                return Ok(None);
            };
            let (change, control) = change(&record);
            if !(change.subscribed.is_empty() && change.unsubscribed.is_empty()) {
                match store.remember(change).await {
                    Ok(()) => {}
                    // It moved since it was loaded.
                    Err(WriteError::Fenced) => continue,
                    Err(WriteError::Gone) => return Ok(None),
                    Err(error) => return Err(error),
                }
                if record.attached {
                    self.tell(&record, control.clone()).await?;
                }
            }
            return Ok(Some(control));
        }
        Err(WriteError::Fenced)
    }

    async fn tell(&self, record: &SessionRecord, control: Control) -> Result<(), StoreError> {
        self.shared.store.tell(record.owner.clone(), control).await
    }

    /// Removes the entries of a log up to an id, on all nodes.
    ///
    /// # Errors
    /// It may have happened; safe to repeat.
    ///
    /// # Cancel safety
    /// Dropped, it may have happened; other nodes may replay what is gone from memory for as long
    /// as their rings hold it.
    pub async fn trim(&self, topic: TopicName, until: MessageId) -> Result<(), StoreError> {
        let store = &self.shared.store;
        store.trim(topic.clone(), until).await?;
        self.shared.forget_until(&topic, until);
        for lease in store.nodes().await? {
            let topic = topic.clone();
            let told = Control::Trimmed { topic, until };
            store.tell(lease.node, told).await?;
        }
        Ok(())
    }
}

fn subscription((topic, start): &(TopicName, MessageId)) -> Subscription {
    Subscription {
        topic: topic.clone(),
        start: *start,
        echo: true,
        presence: false,
        by_backend: true,
    }
}
