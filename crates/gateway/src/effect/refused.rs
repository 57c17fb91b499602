//! Topics of a subscribe that a session may not receive, and what a failed one leaves behind.

use sparkway_auth::Grants;
use sparkway_protocol::{Code, TopicName};
use sparkway_store::Remember;

use crate::attached::Attached;
use crate::shared::Allowed;

impl Attached {
    /// Takes out the topics that this session may not receive, and says why.
    pub(super) async fn refused(
        &self,
        grants: &Grants,
        topics: &mut Vec<TopicName>,
    ) -> Vec<(TopicName, Code)> {
        let shared = &self.worker.shared;
        let mut refused = Vec::new();
        let mut to_ask = Vec::new();
        topics.retain(|topic| {
            let user = self.user.as_ref();
            let allowed = shared.may_subscribe(grants, topic, user, self.session);
            match allowed {
                Allowed::Yes => {}
                Allowed::No => refused.push((topic.clone(), Code::Forbidden)),
                Allowed::Ask => to_ask.push(topic.clone()),
            }
            allowed != Allowed::No
        });
        if to_ask.is_empty() {
            return refused;
        }
        let (allowed, code) = match Box::pin(self.ask_to_receive(&to_ask, "subscribe")).await {
            Ok(allowed) => (allowed, Code::Forbidden),
            Err(_) => (Vec::new(), Code::Unavailable),
        };
        to_ask.retain(|topic| !allowed.contains(topic));
        topics.retain(|topic| !to_ask.contains(topic));
        refused.extend(to_ask.into_iter().map(|topic| (topic, code)));
        refused
    }

    /// The request failed as a whole: leaves what it joined, and takes the other interests back.
    pub(super) async fn undo(&self, topics: &[TopicName], joined: usize, held: &[TopicName]) {
        let (joined, rest) = topics.split_at_checked(joined).unwrap_or((topics, &[]));
        for topic in rest {
            self.worker.shared.unwant(topic);
        }
        let new: Vec<TopicName> = joined
            .iter()
            .filter(|topic| !held.contains(topic))
            .cloned()
            .collect();
        self.leave_topics(&new);
        if self.is_over() {
            return;
        }
        let mut change = Remember::nothing(self.session, self.epoch());
        change.unsubscribed = topics
            .iter()
            .filter(|topic| !held.contains(topic))
            .cloned()
            .collect();
        if let Err(error) = self.worker.shared.store.remember(change).await {
            tracing::debug!(session = %self.session, %error, "subscribe not undone in the record");
        }
    }
}
