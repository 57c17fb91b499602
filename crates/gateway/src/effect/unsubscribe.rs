//! Leave topics.

use sparkway_protocol::{FrameId, TopicName};
use sparkway_session::Input;
use sparkway_store::presence::Step;
use sparkway_store::{Remember, WriteError};

use crate::appender::failure_of;
use crate::attached::Attached;
use crate::connection::Connection;

impl Connection {
    pub(super) fn unsubscribe(&mut self, id: Option<FrameId>, topics: Vec<Box<str>>) {
        let Some(attached) = self.in_use() else {
            return;
        };
        let names: Vec<TopicName> = topics
            .iter()
            .filter_map(|text| TopicName::parse(text).ok())
            .collect();
        attached.leave_topics(&names);
        self.worker.shared.tasks.run(async move {
            let mut change = Remember::nothing(attached.session, attached.epoch());
            // All that were named: an earlier try may have left them here and not written it.
            change.unsubscribed = names;
            let used = change.epoch;
            let written = attached.write(change).await;
            attached.after_write(used, &written);
            let result = match written {
                // The topic is left on this node; a record that is written again will say so.
                Ok(()) | Err(WriteError::Gone) => Ok(()),
                Err(error) => Err(failure_of(&error)),
            };
            attached
                .handle
                .post(Input::Unsubscribed { id, topics, result });
        });
    }
}

impl Attached {
    /// Leaves topics at once; what was queued already is still written.
    pub(super) fn leave_topics(&self, names: &[TopicName]) {
        let mut hub = self.worker.hub();
        self.subs().retain(|sub| {
            let leaves = names.contains(&sub.topic);
            if leaves {
                hub.leave(&sub.topic, sub.slot);
                self.worker.shared.unwant(&sub.topic);
                self.move_in(&sub.topic, Step::Leave);
            }
            !leaves
        });
        self.expect_no_longer(names);
    }
}
