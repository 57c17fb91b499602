//! A visitor of an application: let in by it, entered in its lobby, told what waits for him.

use std::sync::Arc;

use sparkway_auth::Admission;
use sparkway_dialect::topics;
use sparkway_protocol::{CloseReason, Format, FrameId, MessageId, Payload, Since};
use sparkway_session::{Effect, Input};
use sparkway_store::presence::{Move, Step};
use tokio::sync::oneshot;

use crate::application::{Application, Visitor, inbox, lobby};
use crate::attached::Attached;
use crate::clock::millis;
use crate::connection::Connection;
use crate::entering::RoomPlace;
use crate::settings::DeliveredOn;
use crate::shared::{NotLive, Shared};

/// How far the application has got with a visitor.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// Its answer to the credential, until it is there.
    asked: Option<oneshot::Receiver<Result<Admission, CloseReason>>>,
    /// Boxed: most connections have none.
    pub(crate) admission: Option<Box<Admission>>,
    /// Its welcome, until it is there.
    welcome: Option<oneshot::Receiver<MessageId>>,
    /// Up to where the application knows that the inbox is written; `None` before it is open.
    written: Option<MessageId>,
    /// Up to where the application knows that a client of the native dialect has the inbox.
    arrived: MessageId,
}

impl Connection {
    pub(crate) fn application(&self) -> Option<Arc<dyn Application>> {
        let chat = self.worker.shared.sites.chat.as_ref();
        chat.filter(|_| self.format == Format::Chat).map(Arc::clone)
    }

    /// Asks the application who is there.
    pub(crate) fn knock(&mut self) {
        let Some(application) = self.application() else {
            self.handle.post(Input::Disconnect(CloseReason::Internal));
            return;
        };
        let (answer, asked) = oneshot::channel();
        self.visit.asked = Some(asked);
        let credential = self.credential.clone();
        let handle = Arc::clone(&self.handle);
        self.worker.shared.tasks.spawn(async move {
            let admitted = application.admit(credential.as_deref()).await;
            // The connection may be gone.
            let _gone = answer.send(admitted);
            // A sign of life that says nothing: it makes the connection look.
            handle.post(Input::Alive);
        });
    }

    /// Goes on when the application has answered.
    pub(crate) fn admitted(&mut self, effects: &mut Vec<Effect>) {
        let Some(asked) = &mut self.visit.asked else {
            return;
        };
        let Ok(answer) = asked.try_recv() else {
            return;
        };
        self.visit.asked = None;
        match answer {
            Ok(admission) => {
                self.visit.admission = Some(Box::new(admission));
                self.step(Input::Command(topics::connect()), effects);
            }
            Err(reason) => self.step(Input::Disconnect(reason), effects),
        }
    }

    /// What the operation that opens the session is to do for the application.
    pub(crate) fn expect_welcome(&mut self) -> Option<Hosting> {
        let application = self.application()?;
        let (sender, receiver) = oneshot::channel();
        self.visit.welcome = Some(receiver);
        Some(Hosting {
            application,
            sender,
        })
    }

    /// The place in his inbox that the visitor takes once he is welcome.
    pub(crate) fn inbox_place(&mut self) -> Option<RoomPlace> {
        let from = self.visit.welcome.as_mut()?.try_recv().ok()?;
        self.visit.welcome = None;
        self.visit.written = Some(from);
        let attached = self.attached.as_ref()?;
        Some(RoomPlace {
            topic: inbox(attached.user.as_ref()?)?,
            since: Since::Id(from),
        })
    }

    /// A call of the application, in its turn.
    pub(super) fn visitor_calls(&self, id: Option<FrameId>, method: Box<str>, params: Payload) {
        let (Some(application), Some(attached)) = (self.application(), self.in_use()) else {
            return;
        };
        self.worker.shared.tasks.spawn(async move {
            let Ok(_turn) = attached.seldom().queries.acquire().await else {
                return;
            };
            attached.wait_for_room().await;
            if let Some(visitor) = Visitor::of(&attached)
                && !attached.is_over()
            {
                application.call(visitor, method, params).await;
            }
            let result = Ok(sparkway_protocol::Outcome::Done);
            attached.handle.post(Input::Answered { id, result });
        });
    }

    /// Tells the application what of the inbox is written, whenever all that was queued is.
    pub(crate) fn note_written(&mut self) {
        let Some(known) = self.visit.written else {
            return;
        };
        let Some(attached) = self.attached.as_ref() else {
            return;
        };
        let shared = &self.worker.shared;
        let Some(topic) = attached.user.as_ref().and_then(inbox) else {
            return;
        };
        let partition = shared.layout.of(topic.as_str());
        // What an encrypted stream has taken is not yet on its way.
        let is_written = self.handle.outbox.bytes() == 0 && self.link.is_flushed();
        if !is_written || !attached.seat.is_hooked(partition) {
            return;
        }
        if !attached.subs().iter().any(|sub| sub.topic == topic) {
            // Not yet in its place: what was replayed is judged when it is.
            return;
        }
        let position = self.worker.hub().position(partition);
        let newest = shared
            .lot(partition)
            .map(|lot| lot.log().newest_until(&topic, position));
        let newest = newest.unwrap_or_default();
        let (Some(application), Some(visitor)) = (self.application(), Visitor::of(attached)) else {
            return;
        };
        if newest <= known {
            return;
        }
        self.visit.written = Some(newest);
        let attached = Arc::clone(attached);
        shared.tasks.spawn(async move {
            // One after the other, like calls.
            if let Ok(_turn) = attached.seldom().deliveries.acquire().await {
                application.written(visitor, newest).await;
            }
        });
    }

    /// A client of the native dialect has this message and what is before it: tells the
    /// application what of the user's inbox that is, where it waits for acks.
    pub(crate) fn note_arrived(&mut self, id: MessageId) {
        let shared = &self.worker.shared;
        let waits = shared.settings.chat.delivered_on == DeliveredOn::Ack;
        if !waits {
            return;
        }
        let (Some(application), Some(attached)) = (shared.sites.chat.clone(), self.in_use()) else {
            return;
        };
        let Some(topic) = attached.user.as_ref().and_then(inbox) else {
            return;
        };
        let subs = attached.subs();
        let start = subs.iter().find(|sub| sub.topic == topic);
        let start = start.map(|sub| sub.start);
        drop(subs);
        let (Some(from), Some(visitor)) = (start, Visitor::of(&attached)) else {
            return;
        };
        let lot = shared.lot_of(&topic);
        let newest = lot.map(|lot| lot.log().newest_until(&topic, id));
        let newest = newest.unwrap_or_default();
        let is_of_it = id.partition() == shared.layout.of(topic.as_str());
        if !is_of_it || newest <= self.visit.arrived || newest <= from {
            return;
        }
        self.visit.arrived = newest;
        shared.tasks.spawn(async move {
            if let Ok(_turn) = attached.seldom().deliveries.acquire().await {
                application.acknowledged(visitor, from, newest).await;
            }
        });
    }

    /// The visitor is gone.
    pub(crate) fn say_gone(&self) {
        if let (Some(application), Some(attached)) = (self.application(), &self.attached)
            && let Some(visitor) = Visitor::of(attached)
        {
            application.gone(&visitor);
        }
    }
}

/// The application's part in opening a session.
#[derive(Debug)]
pub(crate) struct Hosting {
    application: Arc<dyn Application>,
    sender: oneshot::Sender<MessageId>,
}

impl Hosting {
    /// The session is registered: lets the application say its first words.
    ///
    /// # Errors
    /// The application wants the connection closed.
    pub(crate) async fn welcome(self, attached: &Arc<Attached>) -> Result<(), CloseReason> {
        let visitor = Visitor::of(attached).ok_or(CloseReason::Unauthorized)?;
        let from = self.application.welcome(visitor).await?;
        // The connection may be gone.
        let _gone = self.sender.send(from);
        Ok(())
    }
}

impl Attached {
    /// Welcomes a visitor whose session is registered here. Another connection of his may have
    /// replaced it already, before this node could have heard of it.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub(crate) async fn receive(self: &Arc<Self>, hosting: Hosting) -> Result<(), CloseReason> {
        match self.worker.shared.store.load(self.session).await {
            Ok(Some(_)) => hosting.welcome(self).await,
            Ok(None) => Err(CloseReason::Superseded),
            Err(_) => Err(CloseReason::NotAdmitted),
        }
    }

    /// The visitor is in the lobby: before his other connections are closed, so that he never
    /// leaves it between two of them. Waits a moment until all nodes can know it.
    pub(crate) async fn enter_lobby(&self) {
        let Some(lobby) = lobby() else { return };
        self.in_lobby
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let node = self.worker.shared.id.clone();
        self.move_in_lobby(Step::Join(node));
        self.worker.shared.presence_written(&lobby).await;
    }

    /// The store forgot that the visitor is in the lobby.
    pub(crate) fn enter_lobby_again(&self) {
        if self.in_lobby.load(std::sync::atomic::Ordering::Relaxed) {
            self.move_in_lobby(Step::Join(self.worker.shared.id.clone()));
        }
    }

    /// The visitor has no connection any more: he leaves the lobby after the grace.
    pub(crate) fn leave_lobby(&self) {
        if self
            .in_lobby
            .swap(false, std::sync::atomic::Ordering::Relaxed)
        {
            let grace = self.worker.shared.settings.chat.presence_grace;
            let grace_ms = millis(grace);
            self.move_in_lobby(Step::Away { grace_ms });
        }
    }

    fn move_in_lobby(&self, step: Step) {
        let (Some(topic), Some(user)) = (lobby(), self.user.clone()) else {
            return;
        };
        if let Some(lot) = self.worker.shared.lot_of(&topic) {
            lot.roster.submit(Move {
                topic,
                session: self.session,
                // The first one of every session, and none of these gets another.
                epoch: sparkway_protocol::Epoch(1),
                user,
                step,
            });
        }
    }
}

/// Follows the lobby for as long as the node lives, so that the application hears of visitors of
/// other nodes.
pub(crate) async fn follow_lobby(shared: Arc<Shared>) {
    let Some(lobby) = lobby() else { return };
    while let Err(NotLive) = shared.make_live(std::slice::from_ref(&lobby)).await {
        shared.unwant(&lobby);
        tracing::warn!("the lobby is not followed yet");
    }
}
