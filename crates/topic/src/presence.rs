//! Who came and who left, gathered for those who watch a topic: many changes at once are told in
//! turns, and only the newest word about each user.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use sparkway_protocol::{PresenceChange, TopicName, UserId};

/// Most users of one topic about whom something waits to be told.
pub const WAITING: usize = 10_000;

/// Changes that wait to be told. The last change of a user stands for those before it; a user who
/// came back within one turn is therefore told as having come, to some who never saw him go.
#[derive(Debug, Default)]
pub struct PresenceDiff {
    topics: BTreeMap<TopicName, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<UserId>,
    newest: HashMap<UserId, Arc<PresenceChange>>,
}

impl PresenceDiff {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Notes a change. `false` when there is no room for another user of the topic: it is not
    /// told, and whoever wants to be sure asks who is there.
    pub fn note(&mut self, change: Arc<PresenceChange>) -> bool {
        let waiting = self.topics.entry(change.topic.clone()).or_default();
        if let Some(newest) = waiting.newest.get_mut(&change.user) {
            *newest = change;
            return true;
        }
        if waiting.order.len() >= WAITING {
            return false;
        }
        waiting.order.push_back(change.user.clone());
        waiting.newest.insert(change.user.clone(), change);
        true
    }

    /// Takes the longest waiting changes, at most `limit` of each topic.
    pub fn take(&mut self, limit: usize) -> Vec<(TopicName, Vec<Arc<PresenceChange>>)> {
        let mut taken = Vec::with_capacity(self.topics.len());
        self.topics.retain(|topic, waiting| {
            let count = waiting.order.len().min(limit);
            let users = waiting.order.drain(..count);
            let changes: Vec<_> = users
                .filter_map(|user| waiting.newest.remove(&user))
                .collect();
            taken.push((topic.clone(), changes));
            !waiting.order.is_empty()
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(topic: &str, user: usize, present: bool) -> Arc<PresenceChange> {
        Arc::new(PresenceChange {
            topic: TopicName::parse(topic).unwrap(),
            user: UserId::parse(&format!("u{user}")).unwrap(),
            present,
        })
    }

    #[test]
    fn the_newest_word_about_a_user_is_told_once() {
        let mut diff = PresenceDiff::default();
        assert!(diff.is_empty());
        for (user, present) in [(1, true), (2, true), (1, false), (1, true), (2, false)] {
            assert!(diff.note(change("a", user, present)));
        }
        let told = diff.take(10);
        assert_eq!(told.len(), 1);
        let (topic, changes) = &told[0];
        assert_eq!(topic.as_str(), "a");
        assert_eq!(*changes, [change("a", 1, true), change("a", 2, false)]);
        assert!(diff.is_empty() && diff.take(10).is_empty());
    }

    #[test]
    fn a_crowd_is_told_in_turns_and_topics_do_not_wait_for_each_other() {
        let mut diff = PresenceDiff::default();
        for user in 0..25 {
            assert!(diff.note(change("crowd", user, true)));
        }
        assert!(diff.note(change("quiet", 1, true)));
        let turns: Vec<Vec<usize>> = std::iter::from_fn(|| {
            let told = diff.take(10);
            (!told.is_empty()).then(|| told.iter().map(|(_, changes)| changes.len()).collect())
        })
        .collect();
        assert_eq!(turns, [vec![10, 1], vec![10], vec![5]]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut diff = PresenceDiff::default();
        for user in 0..WAITING {
            assert!(diff.note(change("crowd", user, true)));
        }
        assert!(!diff.note(change("crowd", WAITING, true)));
        assert!(
            diff.note(change("crowd", 7, false)),
            "a known user has room"
        );
    }
}
