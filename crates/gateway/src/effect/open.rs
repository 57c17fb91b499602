//! Create a session.

use std::sync::Arc;

use sparkway_auth::{Grants, Pass};
use sparkway_dialect::Talk;
use sparkway_metrics::Opening;
use sparkway_protocol::{Epoch, Format, MessageId, Partition, SessionId};
use sparkway_session::{Cursors, Input, OpenRequest, Opened, StoreFailure};
use sparkway_store::{OnlyOne, Open, SessionRecord};

use crate::attached::{Attached, Owned};
use crate::connection::Connection;
use crate::effect::converse::session_of;
use crate::effect::visit::Hosting;
use crate::guests::Replaces;

impl Connection {
    /// Whether the user would have more connections than one may, of those that stay.
    pub(super) fn is_one_too_many(&self, request: &OpenRequest) -> bool {
        let guests = &self.worker.shared.guests;
        guests.is_full(request.user.as_ref(), self.replaces(request))
    }

    /// What the store ends, or takes over, when it opens this.
    fn replaces(&self, request: &OpenRequest) -> Replaces {
        let shared = &self.worker.shared;
        match (self.format, &self.talk) {
            (Format::Chat, _) => Replaces::Chats,
            _ if shared.only_one() == OnlyOne::OfUser => Replaces::All,
            (_, Talk::Conversation(state)) => state.party.as_ref().map_or_else(
                || Replaces::Nothing,
                |party| {
                    let user = request.user.as_ref();
                    Replaces::Session(session_of(shared, user, &party.client_id))
                },
            ),
            _ => Replaces::Nothing,
        }
    }

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
        let pass =
            Pass::from_record(&request.grants).unwrap_or_else(|_| Pass::unmarked(Grants::none()));
        let owned = Owned {
            session,
            user: request.user.clone(),
            pass,
            expires_at_ms: request.expires_at_ms,
            epoch: Epoch(0),
            generations: (request.generation, request.generation),
        };
        let attached = Attached::new(&self.worker, &self.handle, self.format, owned);
        self.attached = Some(Arc::clone(&attached));
        let hosting = self.expect_welcome();
        let format = self.format;
        self.worker.shared.tasks.run(async move {
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
            if let Some(opened) = attached.open(record, hosting).await {
                attached.handle.post(Input::Opened(opened));
            }
        });
    }
}

impl Attached {
    /// Creates the session in the store, and receives the visitor where an application is to.
    /// `None` where nobody waits for the answer any more.
    async fn open(
        self: &Arc<Self>,
        record: SessionRecord,
        hosting: Option<Hosting>,
    ) -> Option<Result<Opened, StoreFailure>> {
        let shared = &self.worker.shared;
        let (session, format) = (record.session, record.format);
        let only_one = if hosting.is_some() {
            self.enter_lobby().await;
            OnlyOne::OfDialect
        } else {
            shared.only_one()
        };
        let opened = match shared.store.open(Open { record, only_one }).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!(%session, %error, "session not opened");
                return Some(Err(StoreFailure::Unavailable));
            }
        };
        if self.is_over() {
            // The client left before it heard of its session.
            self.leave_lobby();
            if let Err(error) = shared.store.end(session, opened.epoch).await {
                tracing::debug!(%session, %error, "end not written");
            }
            return None;
        }
        self.own(opened.epoch);
        self.end_if_revoked();
        // In one step: from these positions on the seat receives what it joins.
        let positions = self.hook_everywhere();
        let opened_total = &shared.metrics.socket.connections_opened;
        opened_total.at((format, Opening::New)).inc();
        if let Some(hosting) = hosting
            && let Err(reason) = self.receive(hosting).await
        {
            self.handle.post(Input::Disconnect(reason));
            return None;
        }
        Some(Ok(Opened {
            session,
            epoch: opened.epoch,
            positions,
        }))
    }

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
