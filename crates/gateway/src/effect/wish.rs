//! Publishes that a backend decides: asked one after the other, so that the order of a session's
//! publishes stays what it was.

use std::sync::Arc;

use sparkway_hooks::AskError;
use sparkway_protocol::{Code, FrameId};
use sparkway_session::{AppendRequest, Input};

use crate::attached::Attached;

/// A publish that waits for the backend, and whether it is not to be kept.
pub(crate) type Wish = (AppendRequest, bool);

impl Attached {
    /// Queues a publish that a backend decides. Bounded by what a session may have in flight.
    pub(super) fn wish(self: &Arc<Self>, request: AppendRequest, ephemeral: bool) {
        let mut wishes = self.wishes();
        wishes.waiting.push_back((request, ephemeral));
        if std::mem::replace(&mut wishes.asking, true) {
            return;
        }
        drop(wishes);
        let attached = Arc::clone(self);
        self.worker.shared.tasks.spawn(async move {
            while let Some((request, ephemeral)) = attached.next_wish() {
                Box::pin(attached.decide(request, ephemeral)).await;
            }
        });
    }

    fn next_wish(&self) -> Option<Wish> {
        let mut wishes = self.wishes();
        let next = wishes.waiting.pop_front().filter(|_| !self.is_over());
        if next.is_none() {
            wishes.waiting.clear();
            wishes.asking = false;
        }
        next
    }

    async fn decide(self: &Arc<Self>, mut request: AppendRequest, ephemeral: bool) {
        let payload = request.payload.clone();
        let id = request.id.as_ref().map(FrameId::as_str);
        let decided = self.ask_to_publish(&request.topic, payload, (ephemeral, id));
        let code = match decided.await {
            Ok(payload) => {
                request.payload = payload;
                if ephemeral {
                    self.announce(request).await;
                } else {
                    self.store(request);
                }
                return;
            }
            Err(AskError::Denied | AskError::NotSet) => {
                self.worker.shared.count_denied(&request.topic);
                Code::Forbidden
            }
            Err(
                AskError::Timeout
                | AskError::Failed
                | AskError::Invalid
                | AskError::CircuitOpen
                | AskError::Busy,
            ) => Code::Unavailable,
        };
        self.handle.post(Input::Answered {
            id: request.id,
            result: Err(code),
        });
    }
}
