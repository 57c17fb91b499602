//! Who is in a topic.

use crate::{TopicName, UserId};

/// A user came into a topic with his first session, or left it with his last one. Never kept:
/// whoever wants to know the whole asks who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Where.
    pub topic: TopicName,
    /// Who.
    pub user: UserId,
    /// Whether he is there now.
    pub present: bool,
}
