//! Take a place in the fan-out: from where a topic is delivered live, and what the client is told.

use sparkway_hub::{Coverage, Hub};
use sparkway_protocol::MessageId;
use sparkway_session::StoreFailure;
use sparkway_store::Subscription;

use crate::attached::{Attached, Sub};
use crate::shared::Allowed;

impl Attached {
    /// Takes the place in the hub: one step without an await. With `replayed`, entries between it
    /// and this worker's position are queued in the same step; everything later comes from the hub.
    pub(super) fn take_place(
        &self,
        sub: &Subscription,
        replayed: Option<MessageId>,
    ) -> Result<Place, StoreFailure> {
        let topic = &sub.topic;
        let shared = &self.worker.shared;
        let grants = self.grants.load();
        let allowed = shared.may_subscribe(&grants, topic, self.user.as_ref(), self.session);
        let granted = sub.by_backend || allowed != Allowed::No;
        if self.is_over() || !granted {
            // It ended, or lost the grant, while this was under way.
            return Err(StoreFailure::Unavailable);
        }
        let mut hub = self.worker.hub();
        let position = hub.position(shared.layout.of(topic.as_str()));
        let Some(lot) = shared.lot_of(topic) else {
            return Err(StoreFailure::Unavailable);
        };
        let (begin, newest, between) = {
            let log = lot.log();
            // What the log no longer had was told before this place was taken: it begins behind.
            let begin = match log.coverage(topic, position) {
                Coverage::From(begin) => begin.max(position),
                Coverage::Whole | Coverage::NotLive => position,
            };
            if replayed.is_some_and(|from| log.coverage(topic, from) != Coverage::Whole) {
                return Ok(Place::Behind);
            }
            let between = replayed.map(|from| log.between(topic, from, position));
            (
                begin,
                log.newest_until(topic, position),
                between.unwrap_or_default(),
            )
        };
        for entry in between {
            if entry.is_for(self.session, sub.echo) {
                self.tell(&sparkway_protocol::Event::Message(entry));
            }
        }
        let (after, is_new) = self.sit_down(&mut hub, sub, begin);
        Ok(Place::Taken {
            // This worker may be behind what the client has, or behind an earlier subscription.
            position: if after > position {
                after
            } else {
                newest.min(position)
            },
            is_new,
        })
    }

    /// Joins the hub, or changes how the topic is received. Behind which id; whether it is new.
    fn sit_down(&self, hub: &mut Hub, sub: &Subscription, begin: MessageId) -> (MessageId, bool) {
        let Subscription {
            topic,
            start,
            echo,
            presence,
            by_backend,
        } = sub;
        let mut subs = self.subs();
        if let Some(known) = subs.iter_mut().find(|known| known.topic == *topic) {
            hub.leave(topic, known.slot);
            let after = known.start.max(self.named_of(topic));
            (known.slot, _) = hub.join(topic, &self.seat, after, *echo);
            hub.watch(topic, known.slot, *presence);
            (known.echo, known.presence) = (*echo, *presence);
            self.worker.shared.unwant(topic);
            return (after, false);
        }
        let start = begin.max(*start);
        let (slot, _) = hub.join(topic, &self.seat, start, *echo);
        hub.watch(topic, slot, *presence);
        self.enter_topic(topic);
        let topic = topic.clone();
        if subs.is_empty() {
            // Most sessions have one; a vector begins with room for four.
            subs.reserve_exact(1);
        }
        subs.push(Sub {
            topic,
            start,
            echo: *echo,
            presence: *presence,
            by_backend: *by_backend,
            slot,
        });
        (start, true)
    }
}

/// How an attempt to take a place ended.
pub(super) enum Place {
    /// The topic is joined; its newest id is `position`.
    Taken { position: MessageId, is_new: bool },
    /// The ring does not reach back to what was replayed: replay more.
    Behind,
}
