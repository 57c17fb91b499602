//! Publishes of backends.

use futures_util::future::join_all;
use sparkway_metrics::{Origin, PublishResult};
use sparkway_protocol::{
    Durability, Ephemeral, MessageId, Payload, SessionId, TopicName, TraceContext, UserId,
};
use sparkway_store::{Append, Appended, StoreError, WriteError};

use super::Desk;
use crate::appender::Waiter;

/// A message of a backend.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its topic; also an inbox (`$user:…`, `$session:…`).
    pub topic: TopicName,
    /// What it says.
    pub payload: Payload,
    /// On whose behalf, if anybody's.
    pub from: Option<UserId>,
    /// A session that is not to receive it.
    pub exclude: Option<SessionId>,
    /// Names this publish: the same digest is stored once. Without one, a repetition of the
    /// request is stored again.
    pub digest: Option<[u8; 16]>,
    /// How safely it is stored; the topic's own rule may ask for more.
    pub durability: Durability,
    /// Only announced, never kept.
    pub ephemeral: bool,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is in the log.
    Stored {
        /// Its id.
        id: MessageId,
        /// An earlier publish with the same digest stored it.
        duplicate: bool,
    },
    /// It was told to whoever listened, and is not kept.
    Announced,
}

impl Desk {
    /// Publishes messages, those of one topic in their order. They travel with the publishes of
    /// this node's clients, many per call to the store. Answers in order.
    ///
    /// # Errors
    /// Per message: unknown whether it happened; repeat it with the same digest.
    ///
    /// # Cancel safety
    /// Dropped, each message may or may not be stored.
    pub async fn publish(
        &self,
        publications: Vec<Publication>,
    ) -> Vec<Result<Published, WriteError>> {
        // All are queued before the first is awaited: the order is that of the list.
        let outcomes: Vec<_> = publications
            .into_iter()
            .map(|publication| self.begin(publication))
            .collect();
        join_all(outcomes).await
    }

    /// Queues one message.
    fn begin(
        &self,
        publication: Publication,
    ) -> impl Future<Output = Result<Published, WriteError>> + use<> {
        let shared = std::sync::Arc::clone(&self.shared);
        let Publication {
            topic,
            payload,
            from,
            exclude,
            digest,
            durability,
            ephemeral,
            trace,
        } = publication;
        let settings = shared.settings.topic(&topic);
        if ephemeral || settings.ephemeral {
            let slot = shared.metrics.namespaces.slot(topic.namespace());
            let message = Ephemeral {
                topic,
                from,
                origin: exclude,
                exclude_origin: exclude.is_some(),
                payload,
            };
            return futures_util::future::Either::Left(async move {
                let result = shared.store.announce(message).await;
                let label = match result {
                    Ok(()) => PublishResult::Ok,
                    Err(_) => PublishResult::Unavailable,
                };
                let publishes = shared.metrics.session.publishes.of(slot);
                publishes.at((Origin::Http, label)).inc();
                Ok(result.map(|()| Published::Announced)?)
            });
        }
        let durability = match (durability, settings.durability) {
            (Durability::Stored, Durability::Stored) => Durability::Stored,
            (Durability::Replicated, _) | (_, Durability::Replicated) => Durability::Replicated,
        };
        let span = shared.tracing.as_ref();
        let span = span.and_then(|tracing| tracing.publish(trace, &topic, None));
        let append = Append {
            retention: shared.retention(&topic),
            payload,
            from,
            origin: exclude,
            exclude_origin: exclude.is_some(),
            // The node's own retry needs a name, too.
            digest: digest.unwrap_or_else(rand::random),
            fence: None,
            trace: span.as_ref().map_or_else(
                || trace.filter(TraceContext::is_sampled),
                |span| Some(span.context),
            ),
            durability,
            topic,
        };
        let (waiter, outcome) = Waiter::backend(&shared, &append.topic, span);
        if let Some(lot) = shared.lot_of(&append.topic) {
            lot.appender.submit(append, waiter);
        }
        futures_util::future::Either::Right(async move {
            let gone = StoreError::Unavailable("the node ends");
            let stored = outcome.await.unwrap_or(Err(gone.into()))?;
            let Appended { id, duplicate } = stored;
            Ok(Published::Stored { id, duplicate })
        })
    }
}
