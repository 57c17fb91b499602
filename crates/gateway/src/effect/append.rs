//! Store a message, or announce one that is not kept.

use std::sync::Arc;

use sparkway_metrics::{Origin, PublishResult};
use sparkway_protocol::{Code, Durability, Ephemeral, TopicName};
use sparkway_session::{AppendRequest, Input, StoreFailure};
use sparkway_store::Append;

use crate::appender::Waiter;
use crate::connection::Connection;

impl Connection {
    pub(super) fn append(&mut self, request: AppendRequest) -> Option<Input> {
        let attached = self.in_use()?;
        if !self.may_publish(&request.topic) {
            return Some(Input::Answered {
                id: request.id,
                result: Err(Code::Forbidden),
            });
        }
        let shared = &self.worker.shared;
        let lot = shared.lot_of(&request.topic)?;
        let settings = shared.settings.topic(&request.topic);
        let durability = match (request.durability, settings.durability) {
            (Durability::Stored, Durability::Stored) => Durability::Stored,
            (Durability::Replicated, _) | (_, Durability::Replicated) => Durability::Replicated,
        };
        let append = Append {
            retention: shared.retention(&request.topic),
            topic: request.topic,
            payload: request.payload,
            from: attached.user.clone(),
            origin: Some(attached.session),
            exclude_origin: request.exclude_self,
            // Where the client gave no id, the node's own retry still needs a name.
            digest: request.digest.unwrap_or_else(rand::random),
            fence: Some((attached.session, attached.epoch())),
            durability,
        };
        lot.appender
            .submit(append, Waiter::new(attached, request.id));
        None
    }

    pub(super) fn announce(&mut self, request: AppendRequest) -> Option<Input> {
        let attached = self.in_use()?;
        if !self.may_publish(&request.topic) {
            return Some(Input::Answered {
                id: request.id,
                result: Err(Code::Forbidden),
            });
        }
        let AppendRequest {
            id,
            topic,
            payload,
            exclude_self,
            ..
        } = request;
        let message = Ephemeral {
            topic,
            from: attached.user.clone(),
            origin: Some(attached.session),
            exclude_origin: exclude_self,
            payload,
        };
        let store = Arc::clone(&self.worker.shared.store);
        self.worker.shared.tasks.spawn(async move {
            let result = store.announce(message).await.map(|()| None);
            let result = result.map_err(|_| StoreFailure::Unavailable);
            attached.handle.post(Input::Stored { id, result });
        });
        None
    }

    fn may_publish(&self, topic: &TopicName) -> bool {
        let Some(attached) = &self.attached else {
            return false;
        };
        let shared = &self.worker.shared;
        let granted = shared.may_publish(&attached.grants.load(), topic);
        if !granted {
            shared
                .metrics
                .session
                .publishes
                .at((Origin::Client, PublishResult::Denied))
                .inc();
        }
        granted
    }
}
