//! Create a session.

use std::sync::Arc;

use sparkway_auth::Grants;
use sparkway_metrics::Opening;
use sparkway_protocol::{Epoch, MessageId, Partition, SessionId};
use sparkway_session::{Cursors, Input, OpenRequest, Opened, StoreFailure};
use sparkway_store::{Open, SessionRecord};

use crate::attached::{Attached, Owned};
use crate::connection::Connection;

impl Connection {
    pub(super) fn open(&mut self, request: OpenRequest) {
        let shared = Arc::clone(&self.worker.shared);
        let partition = request.user.as_ref().map_or_else(
            || {
                let any = request
                    .session
                    .as_bytes()
                    .first()
                    .copied()
                    .unwrap_or_default();
                Partition::new(any % shared.layout.count()).unwrap_or_default()
            },
            |user| shared.layout.of(user.as_str()),
        );
        let session = SessionId::from_random(*request.session.as_bytes(), partition);
        let grants = Grants::from_record(&request.grants).unwrap_or_else(|_| Grants::none());
        let owned = Owned {
            session,
            user: request.user.clone(),
            grants,
            expires_at_ms: request.expires_at_ms,
            epoch: Epoch(0),
            generations: (request.generation, request.generation),
        };
        let attached = Attached::new(&self.worker, &self.handle, self.format, owned);
        self.attached = Some(Arc::clone(&attached));
        let format = self.format;
        self.worker.shared.tasks.spawn(async move {
            let record = SessionRecord {
                session,
                user: request.user,
                grants: request.grants,
                expires_at_ms: request.expires_at_ms,
                generation: request.generation,
                confirmed: request.generation,
                epoch: Epoch(0),
                owner: shared.id.clone(),
                attached: true,
                format,
                cursors: Vec::new(),
                subscriptions: Vec::new(),
            };
            let only_one = shared.session.only_one_per_user;
            let result = shared.store.open(Open { record, only_one }).await;
            let result = match result {
                Ok(opened) if attached.is_over() => {
                    // The client left before it heard of its session.
                    if let Err(error) = shared.store.end(session, opened.epoch).await {
                        tracing::debug!(%session, %error, "end not written");
                    }
                    return;
                }
                Ok(opened) => {
                    attached.own(opened.epoch);
                    // In one step: from these positions on the seat receives what it joins.
                    let positions = attached.hook_everywhere();
                    let opened_total = &shared.metrics.socket.connections_opened;
                    opened_total.at((format, Opening::New)).inc();
                    Ok(Opened {
                        session,
                        epoch: opened.epoch,
                        positions,
                    })
                }
                Err(error) => {
                    tracing::debug!(%session, %error, "session not opened");
                    Err(StoreFailure::Unavailable)
                }
            };
            attached.handle.post(Input::Opened(result));
        });
    }
}

impl Attached {
    /// Live delivery from now on, in every partition. Returns where it begins.
    pub(super) fn hook_everywhere(&self) -> Vec<MessageId> {
        let hub = self.worker.hub();
        let mut positions = Cursors::default();
        for partition in self.worker.shared.layout.iter() {
            self.seat.hook(partition);
            positions.advance(hub.position(partition));
        }
        positions.ids().to_vec()
    }
}
