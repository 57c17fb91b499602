//! Store a message, or announce one that is not kept.

use std::sync::Arc;

use sparkway_metrics::{Origin, PublishResult};
use sparkway_protocol::{Code, Durability, Ephemeral, FrameId, TopicName, TraceContext};
use sparkway_session::{AppendRequest, Input, StoreFailure};
use sparkway_store::Append;
use sparkway_store::planted::Defect;

use crate::appender::Waiter;
use crate::attached::Attached;
use crate::connection::Connection;
use crate::shared::{Allowed, Shared};

impl Connection {
    pub(super) fn append(&mut self, request: AppendRequest) -> Option<Input> {
        let attached = self.in_use()?;
        match self.may_publish(&request.topic) {
            Allowed::Yes => {}
            Allowed::No => return Some(forbidden(request.id)),
            Allowed::Ask => {
                self.note_message(request.id.as_ref(), &request.payload);
                attached.wish(request, false);
                return None;
            }
        }
        self.note_message(request.id.as_ref(), &request.payload);
        attached.store(request);
        None
    }

    pub(super) fn announce(&mut self, request: AppendRequest) -> Option<Input> {
        let attached = self.in_use()?;
        match self.may_publish(&request.topic) {
            Allowed::Yes => {}
            Allowed::No => return Some(forbidden(request.id)),
            Allowed::Ask => {
                attached.wish(request, true);
                return None;
            }
        }
        self.worker.shared.tasks.spawn(async move {
            attached.announce(request).await;
        });
        None
    }

    fn may_publish(&self, topic: &TopicName) -> Allowed {
        let Some(attached) = &self.attached else {
            return Allowed::No;
        };
        let shared = &self.worker.shared;
        let allowed = shared.may_publish(&attached.grants.load(), topic);
        if allowed == Allowed::No {
            shared.count_denied(topic);
        }
        allowed
    }
}

/// The publish is not allowed.
fn forbidden(id: Option<FrameId>) -> Input {
    Input::Answered {
        id,
        result: Err(Code::Forbidden),
    }
}

impl Shared {
    pub(crate) fn count_denied(&self, topic: &TopicName) {
        let slot = self.metrics.namespaces.slot(topic.namespace());
        let publishes = self.metrics.session.publishes.of(slot);
        publishes.at((Origin::Client, PublishResult::Denied)).inc();
    }
}

impl Attached {
    /// Queues a message to be stored.
    pub(crate) fn store(self: &Arc<Self>, request: AppendRequest) {
        let shared = &self.worker.shared;
        let Some(lot) = shared.lot_of(&request.topic) else {
            return;
        };
        let settings = shared.settings.topic(&request.topic);
        let durability = match (request.durability, settings.durability) {
            (Durability::Stored, Durability::Stored) => Durability::Stored,
            (Durability::Replicated, _) | (_, Durability::Replicated) => Durability::Replicated,
        };
        let span = shared.tracing.as_ref();
        let span = span
            .and_then(|tracing| tracing.publish(request.trace, &request.topic, Some(self.session)));
        let append = Append {
            retention: shared.retention(&request.topic),
            topic: request.topic,
            payload: request.payload,
            from: self.user.clone(),
            origin: Some(self.session),
            exclude_origin: request.exclude_self,
            // Where the client gave no id, the node's own retry still needs a name.
            digest: request
                .digest
                .filter(|_| !Defect::NoIdempotency.is_planted())
                .unwrap_or_else(rand::random),
            fence: (!Defect::NoFence.is_planted()).then(|| (self.session, self.epoch())),
            // What the client records is named to its subscribers, also where this node records
            // nothing.
            trace: span.as_ref().map_or_else(
                || request.trace.filter(TraceContext::is_sampled),
                |span| Some(span.context),
            ),
            durability,
        };
        let waiter = Waiter::new(Arc::clone(self), request.id, &append.topic, span);
        lot.appender.submit(append, waiter);
    }

    /// Announces a message that is not kept, and tells the session.
    pub(crate) async fn announce(&self, request: AppendRequest) {
        let AppendRequest {
            id,
            topic,
            payload,
            exclude_self,
            ..
        } = request;
        let message = Ephemeral {
            topic,
            from: self.user.clone(),
            origin: Some(self.session),
            exclude_origin: exclude_self,
            payload,
        };
        let result = self.worker.shared.store.announce(message).await;
        let result = result.map(|()| None);
        let result = result.map_err(|_| StoreFailure::Unavailable);
        self.handle.post(Input::Stored { id, result });
    }
}
