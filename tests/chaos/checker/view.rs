//! What a session's client took, over all its connections, and what it was owed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Answer, Conn, Gap, Key, Request, Session, Step, Topic, What, partition_of};
use super::index::Index;
use super::logs::of_message;
use super::{Rule, Violation};

/// Writes of the store's last moments may be lost: a change of subscriptions so long before may
/// come undone.
const UNDONE_US: u64 = 5_000_000;
/// And one so long after the fault began that lost them: it may have begun with a copy.
const UNDONE_AFTER_US: u64 = 8_000_000;

/// An answer to a publish may be so late.
const ACKNOWLEDGED_US: u64 = 1_000_000;

/// A time during which a topic was followed, in ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Everything behind this id is owed …
    pub(super) from: u64,
    /// What is gone and not newer than this was so old that it is not owed: it was published
    /// before the topic was asked for.
    pub(super) floor: u64,
    /// … up to this one; everything where there is none.
    pub(super) until: Option<u64>,
    /// When it was asked for.
    asked_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    /// Asked for and not yet answered. Where an earlier request had no answer either, it may have
    /// been granted, and earlier messages may come.
    Wanted { again: bool },
    /// Answered. The position, where nothing before it may come.
    Yes { position: u64 },
    /// Asked to end, not yet answered.
    Leaving,
    /// No more, since the request that ended it was sent.
    No { asked_us: u64 },
}

/// What the client took.
#[derive(Debug, Default)]
pub(super) struct View {
    /// All messages by topic and id.
    pub(super) taken: BTreeMap<Topic, BTreeMap<u64, Key>>,
    /// What it was told to be gone.
    pub(super) gaps: Vec<Gap>,
    /// What it was owed.
    pub(super) spans: BTreeMap<Topic, Vec<Span>>,
    newest: BTreeMap<u64, u64>,
    /// Per topic that was left, the newest id that had come of its partition by then.
    left_at: BTreeMap<Topic, u64>,
    /// When the session was last resumed.
    resumed_us: u64,
    names_one: bool,
    /// Per partition, up to where things may come again.
    again: BTreeMap<u64, u64>,
    follows: BTreeMap<Topic, Follows>,
    asked: BTreeMap<(Conn, Arc<str>), (u64, Request)>,
    left: BTreeSet<Conn>,
}

impl View {
    pub(super) fn of(session: &Session, index: &Index, found: &mut Vec<Violation>) -> Self {
        let disowned = |step: &&Step| step.what == What::Disowned;
        let disowned = session.steps.iter().filter(disowned);
        let mut view = Self {
            left: disowned.map(|step| step.conn).collect(),
            names_one: session.names_one,
            ..Self::default()
        };
        for step in &session.steps {
            view.step(step, index, found);
        }
        if !session.is_whole {
            let topics: Vec<Topic> = view.spans.keys().cloned().collect();
            for topic in &topics {
                view.end(topic, index);
            }
        }
        view
    }

    fn step(&mut self, step: &Step, index: &Index, found: &mut Vec<Violation>) {
        let is_taken = !self.left.contains(&step.conn);
        match &step.what {
            What::Left => {
                self.left.insert(step.conn);
            }
            What::ResumeAsked { last } => self.resuming(last, found),
            What::Resumed { gaps, .. } if is_taken => {
                self.resumed_us = step.at_us;
                self.gaps.extend(gaps.iter().cloned());
            }
            What::Gap(gap) if is_taken => self.gaps.push(gap.clone()),
            What::Asked { id, request } => {
                self.asked(step.at_us, request, index);
                let asked = (step.at_us, request.clone());
                self.asked.insert((step.conn, id.clone()), asked);
            }
            What::Answered { id, answer } if is_taken => {
                if let Some((at_us, request)) = self.asked.remove(&(step.conn, id.clone())) {
                    self.answered((at_us, step.at_us), &request, answer, index);
                }
            }
            What::Message { topic, id, key } if is_taken => {
                self.message(step.at_us, (topic, *id, *key), index, found);
            }
            What::Message { .. }
            | What::Answered { .. }
            | What::Resumed { .. }
            | What::Gap(_)
            | What::Connected
            | What::ResumeFailed
            | What::Disowned
            | What::Closed { .. } => {}
        }
    }

    fn resuming(&mut self, last: &[u64], found: &mut Vec<Violation>) {
        if self.names_one {
            for newest in self.newest.values_mut().filter(|id| !last.contains(id)) {
                let again = self.again.entry(partition_of(*newest)).or_default();
                *again = (*again).max(*newest);
                *newest = 0;
            }
        } else if !self.newest.values().all(|id| last.contains(id)) {
            let newest = self.newest.values().collect::<Vec<_>>();
            found.push(Violation {
                rule: Rule::Driver,
                session: None,
                topic: None,
                id: None,
                text: format!("resumed behind {last:?} and had {newest:?}"),
            });
        }
    }

    fn asked(&mut self, at_us: u64, request: &Request, index: &Index) {
        match request {
            Request::Subscribe(topics) => {
                for topic in topics {
                    let again = match self.follows.get(topic) {
                        Some(Follows::Yes { .. }) => continue,
                        None => false,
                        // Where leaving came undone, it is followed from where it was before.
                        Some(Follows::No { asked_us }) => is_undone(index, *asked_us, at_us),
                        Some(Follows::Leaving | Follows::Wanted { .. }) => true,
                    };
                    self.follows
                        .insert(topic.clone(), Follows::Wanted { again });
                }
            }
            Request::Unsubscribe(topics) => {
                for topic in topics {
                    self.end(topic, index);
                    self.follows.insert(topic.clone(), Follows::Leaving);
                }
            }
            Request::Publish { .. } | Request::Ping => {}
        }
    }

    /// What is owed of a topic ends with what was given of its partition.
    fn end(&mut self, topic: &Topic, index: &Index) {
        let partition = index.partitions.get(topic);
        let newest = partition.and_then(|partition| self.newest.get(partition));
        // Where things come again, what came before does not count as given yet.
        let until = newest.copied().unwrap_or_default();
        for span in self.spans.get_mut(topic).into_iter().flatten() {
            span.until.get_or_insert(until);
        }
        self.left_at.insert(topic.clone(), until);
    }

    /// Whether the topic was left after this message: what becomes of it is not told any more.
    pub(super) fn has_left(&self, topic: &Topic, id: u64) -> bool {
        self.left_at.get(topic).is_some_and(|left| id <= *left)
    }

    /// Whether a subscription that was granted held the topic when this message was lost: it had
    /// brought the message, or was there before the store lost it.
    pub(super) fn is_held(&self, topic: &Topic, id: u64, index: &Index) -> bool {
        let lost_us = index.lost_since(id, UNDONE_AFTER_US);
        let mut spans = self.spans.get(topic).into_iter().flatten();
        spans.any(|span| {
            let is_there = id > span.from || lost_us.is_some_and(|lost_us| span.asked_us < lost_us);
            is_there && span.until.is_none_or(|until| id <= until)
        })
    }

    /// Whether the store may have lost the subscription itself, and with it the means to say what
    /// it lost of the topic to a session that is resumed.
    pub(super) fn is_undone(&self, span: &Span, index: &Index) -> bool {
        let undoes = |loss: &u64| {
            span.asked_us < *loss + UNDONE_AFTER_US
                && *loss < span.asked_us + UNDONE_US
                && *loss < self.resumed_us
        };
        index.losses.iter().any(undoes)
    }

    fn answered(
        &mut self,
        (asked_us, answered_us): (u64, u64),
        request: &Request,
        answer: &Answer,
        index: &Index,
    ) {
        match (request, answer) {
            (Request::Subscribe(_), Answer::Subscribed(positions)) => {
                for (topic, position) in positions {
                    if let Some(&Follows::Wanted { again }) = self.follows.get(topic) {
                        let from = *position;
                        let position = if again { 0 } else { from };
                        let now = Follows::Yes { position };
                        self.follows.insert(topic.clone(), now);
                        let span = Span {
                            from,
                            floor: index
                                .newest_before(topic, known_by(index, asked_us, answered_us)),
                            until: None,
                            asked_us,
                        };
                        self.spans.entry(topic.clone()).or_default().push(span);
                    }
                }
            }
            (Request::Unsubscribe(topics), Answer::Done) => {
                for topic in topics {
                    if self.follows.get(topic) == Some(&Follows::Leaving) {
                        self.follows.insert(topic.clone(), Follows::No { asked_us });
                    }
                }
            }
            _ => {}
        }
    }

    fn message(
        &mut self,
        at_us: u64,
        (topic, id, key): (&Topic, u64, Key),
        index: &Index,
        found: &mut Vec<Violation>,
    ) {
        if let Some(wrong) = self.unfollowed(at_us, topic, id, index) {
            let text = format!("{topic} {id} came and is {wrong}");
            found.push(of_message(Rule::WrongTopic, topic, id, text));
        }
        let taken = self.taken.entry(topic.clone()).or_default();
        let is_new = taken.insert(id, key).is_none();
        let newest = self.newest.entry(partition_of(id)).or_default();
        let again = self.again.get(&partition_of(id));
        if !is_new && again.is_some_and(|again| id <= *again) && id > *newest {
            // Its client could not say that it has it.
        } else if !is_new {
            let text = format!("{topic} {id} {key:?} came twice");
            found.push(of_message(Rule::DeliveredTwice, topic, id, text));
        } else if id <= *newest {
            let text = format!("{topic} {id} {key:?} came after {newest}");
            found.push(of_message(Rule::DeliveryOrder, topic, id, text));
        }
        *newest = (*newest).max(id);
    }

    /// Why a message of this topic must not come.
    fn unfollowed(&self, at_us: u64, topic: &Topic, id: u64, index: &Index) -> Option<String> {
        match self.follows.get(topic) {
            None => Some("never followed".to_owned()),
            Some(Follows::No { asked_us }) => {
                let is_undone = is_undone(index, *asked_us, at_us);
                (!is_undone).then(|| "no longer followed".to_owned())
            }
            Some(Follows::Yes { position }) if id <= *position => {
                Some(format!("older than the subscription from {position}"))
            }
            Some(Follows::Wanted { .. } | Follows::Leaving | Follows::Yes { .. }) => None,
        }
    }
}

/// Whether a loss of the store before this time may have undone what was asked then.
fn is_undone(index: &Index, asked_us: u64, at_us: u64) -> bool {
    let undoes = |loss: &u64| *loss + UNDONE_US >= asked_us && *loss <= at_us;
    index.losses.iter().any(undoes)
}

/// Until when what anybody knew was published before a subscription that was asked for and
/// answered at these times. One that waited for the answer while the store lost something begins
/// behind the loss.
fn known_by(index: &Index, asked_us: u64, answered_us: u64) -> u64 {
    let is_near = |loss: &u64| *loss <= answered_us && answered_us < *loss + UNDONE_US;
    if index.losses.iter().any(is_near) {
        answered_us + ACKNOWLEDGED_US
    } else {
        asked_us
    }
}
