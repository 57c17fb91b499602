//! Which topics a feed follows, and which answers it owes: the state behind one connection after
//! the other, without any I/O.

use std::collections::{HashMap, VecDeque};

use sparkway_protocol::TopicName;

use crate::feed::FeedRequest;

/// Topics in one command.
pub(super) const CHUNK: usize = 256;

/// A topic that is followed.
#[derive(Clone, Copy, Debug)]
struct Followed {
    /// A topic that is forgotten and followed again gets a new one.
    ticket: u64,
    live: bool,
}

/// What a request asks the connection to do, in chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Subscribe, and ask for the tips: [`Following::answered`] then tells whom they concern.
    Subscribe(Vec<TopicName>),
    /// Unsubscribe.
    Leave(Vec<TopicName>),
}

/// All topics of one feed.
#[derive(Debug, Default)]
pub(super) struct Following {
    topics: HashMap<TopicName, Followed>,
    tickets: u64,
    /// Topics whose `Live` is owed, in the order in which their tips were asked for.
    owed: VecDeque<Vec<(TopicName, u64)>>,
    /// Topics that were unsubscribed and not yet left, on this connection.
    leaving: HashMap<TopicName, u32>,
}

impl Following {
    /// Takes a request over.
    pub(super) fn note(&mut self, request: FeedRequest) -> Vec<Work> {
        match request {
            FeedRequest::Follow(topics) => {
                for chunk in topics.chunks(CHUNK) {
                    let owed = chunk
                        .iter()
                        .map(|topic| (topic.clone(), self.ticket(topic)));
                    let owed = owed.collect();
                    self.owed.push_back(owed);
                }
                chunked(&topics, Work::Subscribe)
            }
            // While there is no connection, the next one is new anyway.
            FeedRequest::Renew => Vec::new(),
            FeedRequest::Forget(mut topics) => {
                topics.retain(|topic| self.topics.remove(topic).is_some());
                for topic in &topics {
                    *self.leaving.entry(topic.clone()).or_default() += 1;
                }
                chunked(&topics, Work::Leave)
            }
        }
    }

    fn ticket(&mut self, topic: &TopicName) -> u64 {
        if let Some(followed) = self.topics.get(topic) {
            return followed.ticket;
        }
        self.tickets += 1;
        let (ticket, live) = (self.tickets, false);
        self.topics.insert(topic.clone(), Followed { ticket, live });
        ticket
    }

    /// The topic with this name, if it is past its barrier: before it, an entry is at or below
    /// the tip that is still to be told.
    pub(super) fn live(&self, name: &str) -> Option<&TopicName> {
        let (topic, followed) = self.topics.get_key_value(name)?;
        followed.live.then_some(topic)
    }

    /// Every topic, to be subscribed on a new connection, on which nothing is being left.
    pub(super) fn begin(&mut self) -> Vec<TopicName> {
        self.leaving.clear();
        self.topics.keys().cloned().collect()
    }

    /// The topics whose tips are to be asked for, in chunks, on a new connection.
    pub(super) fn owed(&self) -> Vec<Vec<TopicName>> {
        let names = |owed: &Vec<(TopicName, u64)>| {
            let names = owed.iter().map(|(topic, _)| topic.clone());
            names.collect()
        };
        self.owed.iter().map(names).collect()
    }

    /// Tips have come: the topics they concern, in order. `None` for one that was forgotten
    /// meanwhile, and perhaps followed anew: that has an answer of its own.
    pub(super) fn answered(&mut self) -> Vec<Option<TopicName>> {
        let owed = self.owed.pop_front().unwrap_or_default();
        let concerned = owed.into_iter().map(|(topic, ticket)| {
            let followed = self.topics.get_mut(&topic)?;
            if followed.ticket != ticket {
                return None;
            }
            followed.live = true;
            Some(topic)
        });
        concerned.collect()
    }

    /// The server unsubscribed a topic. False when nobody had asked: its slot moved to another
    /// master, and what this connection says cannot be trusted any more.
    pub(super) fn left(&mut self, name: &str) -> bool {
        match self.leaving.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.leaving.remove(name)),
            None => return false,
        }
        true
    }
}

fn chunked(topics: &[TopicName], work: impl Fn(Vec<TopicName>) -> Work) -> Vec<Work> {
    let chunks = topics.chunks(CHUNK).map(<[TopicName]>::to_vec);
    chunks.map(work).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    fn follow(name: &str) -> FeedRequest {
        FeedRequest::Follow(vec![topic(name)])
    }

    fn forget(name: &str) -> FeedRequest {
        FeedRequest::Forget(vec![topic(name)])
    }

    #[test]
    fn topic_is_live_only_after_its_tip_came() {
        let mut following = Following::default();
        let work = following.note(follow("a"));
        assert_eq!(work, [Work::Subscribe(vec![topic("a")])]);
        assert_eq!(following.live("a"), None);
        assert_eq!(following.answered(), [Some(topic("a"))]);
        assert_eq!(following.live("a"), Some(&topic("a")));
        assert_eq!(following.live("b"), None);
    }

    #[test]
    fn tip_of_a_topic_that_was_forgotten_and_followed_again_makes_nothing_live() {
        let mut following = Following::default();
        following.note(follow("a"));
        following.note(forget("a"));
        following.note(follow("a"));
        assert_eq!(following.answered(), [None], "asked before it was left");
        assert_eq!(following.live("a"), None);
        assert_eq!(following.answered(), [Some(topic("a"))]);
        assert!(following.live("a").is_some());
    }

    #[test]
    fn following_again_owes_another_answer() {
        let mut following = Following::default();
        following.note(follow("a"));
        following.answered();
        following.note(follow("a"));
        assert!(following.live("a").is_some(), "it stays live meanwhile");
        assert_eq!(following.answered(), [Some(topic("a"))]);
    }

    #[test]
    fn new_connection_subscribes_all_and_asks_again_for_what_is_owed() {
        let mut following = Following::default();
        following.note(follow("live"));
        following.answered();
        following.note(follow("owed"));
        following.note(follow("gone"));
        following.note(forget("gone"));
        let mut all = following.begin();
        all.sort();
        assert_eq!(all, [topic("live"), topic("owed")]);
        assert_eq!(following.owed(), [vec![topic("owed")], vec![topic("gone")]]);
        assert_eq!(following.answered(), [Some(topic("owed"))]);
        assert_eq!(following.answered(), [None]);
        assert!(!following.left("gone"), "left with the old connection");
    }

    #[test]
    fn only_what_was_asked_for_may_be_left() {
        let mut following = Following::default();
        following.note(follow("a"));
        assert!(!following.left("a"));
        following.note(forget("a"));
        following.note(follow("a"));
        following.note(forget("a"));
        assert!(following.left("a"));
        assert!(following.left("a"));
        assert!(!following.left("a"));
        assert_eq!(following.note(forget("a")), [], "not followed");
    }

    #[test]
    fn big_requests_are_cut_and_answered_in_order() {
        let names: Vec<_> = (0..600).map(|at| topic(&format!("t{at}"))).collect();
        let mut following = Following::default();
        let work = following.note(FeedRequest::Follow(names.clone()));
        let mut answered = Vec::new();
        for work in work {
            let Work::Subscribe(asked) = work else {
                panic!("only subscriptions");
            };
            let concerned = following.answered();
            assert_eq!(concerned, asked.into_iter().map(Some).collect::<Vec<_>>());
            answered.extend(concerned.into_iter().flatten());
        }
        assert_eq!(answered, names);
    }
}
