//! The keys that listings walk over.

use sparkway_protocol::{NodeId, SessionId, TopicName, UserId};

use super::logs::Logs;
use super::sessions::Sessions;

impl Sessions {
    pub(super) fn ids(&self) -> Vec<SessionId> {
        self.kept.keys().copied().collect()
    }

    pub(super) fn ids_of_node(&self, node: &NodeId) -> Vec<SessionId> {
        self.owned
            .get(node)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    pub(super) fn ids_detached(&self) -> Vec<SessionId> {
        self.deadlines.iter().map(|&(_, session)| session).collect()
    }

    pub(super) fn ids_of_user(&self, user: &UserId) -> Vec<SessionId> {
        self.users
            .get(user)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

impl Logs {
    /// Topics in which something was stored, by prefix.
    pub(super) fn names(&self, prefix: &str) -> Vec<TopicName> {
        self.topics
            .iter()
            .filter(|(name, log)| name.as_str().starts_with(prefix) && log.tip().get() != 0)
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn length(&self, topic: &TopicName) -> u64 {
        self.topics
            .get(topic)
            .map_or(0, |log| log.entries().count() as u64)
    }
}
