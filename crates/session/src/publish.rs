//! Say something in a topic.

use sparkway_protocol::{Command, FrameId, MessageId, Outcome};

use crate::command::acked;
use crate::digest;
use crate::effect::{AppendRequest, Effect};
use crate::input::StoreFailure;
use crate::machine::{Effects, Session};

impl Session {
    pub(crate) fn publish(&mut self, command: Command, effects: &mut Effects) {
        let Command::Publish {
            id,
            topic,
            payload,
            ephemeral,
            durability,
            exclude_self,
            trace,
        } = command
        else {
            return;
        };
        self.begin();
        let digest = id
            .as_ref()
            .map(|id| digest::of_publish(self.id, &topic, id));
        let request = Box::new(AppendRequest {
            id,
            topic,
            payload,
            exclude_self,
            durability,
            digest,
            trace,
        });
        effects.push(if ephemeral {
            Effect::Announce(request)
        } else {
            Effect::Append(request)
        });
    }

    pub(crate) fn stored(
        &mut self,
        id: Option<FrameId>,
        result: Result<Option<(MessageId, bool)>, StoreFailure>,
        effects: &mut Effects,
    ) {
        if !self.finish() {
            return;
        }
        match result {
            Ok(stored) => {
                let duplicate = stored.is_some_and(|(_, duplicate)| duplicate);
                let stored = stored.map(|(id, _)| id);
                acked(
                    effects,
                    id,
                    Outcome::Published {
                        id: stored,
                        duplicate,
                    },
                );
            }
            Err(failure) => self.failed(id, failure, effects),
        }
    }
}
