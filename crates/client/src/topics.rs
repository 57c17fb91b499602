//! What a client remembers of a topic it follows: enough to take it up again and to tell a
//! repetition from a message it never saw.

use std::collections::VecDeque;
use std::sync::Arc;

use sparkway_protocol::MessageId;
use tokio::sync::mpsc;

use crate::subscription::{Event, Loss, LossReason, Start, Subscribe};

/// How many ids are remembered per topic (8 bytes each).
const RECENT: usize = 256;

/// Where a topic stands between this client and the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Asked for, not yet granted.
    Asked,
    /// Granted.
    Live,
    /// Being left, because the application does not read.
    Leaving,
    /// Left; taken up again when the application has made room.
    Away,
}

/// What a message is to this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Newer than everything.
    New,
    /// Seen already.
    Duplicate,
    /// Never seen, but older than something seen.
    Late,
}

/// One followed topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Where its events go.
    pub(crate) events: mpsc::Sender<Event>,
    /// How it is followed.
    pub(crate) wish: Subscribe,
    /// From where it was asked for last.
    pub(crate) asked: Start,
    /// Where it stands.
    pub(crate) stage: Stage,
    /// Everything up to here is with the application, or was there before it asked.
    pub(crate) cursor: Option<MessageId>,
    /// A loss that found no room in the queue yet.
    pub(crate) owed: Option<Loss>,
    /// It was asked for twice: repetitions are no defect until something new comes.
    pub(crate) may_repeat: bool,
    /// While history comes in: its last id.
    catch_up: Option<MessageId>,
    /// Nothing up to here was asked for.
    floor: Option<MessageId>,
    /// Newest ids seen, ascending.
    recent: VecDeque<MessageId>,
}

impl Topic {
    pub(crate) fn new(events: mpsc::Sender<Event>, wish: Subscribe) -> Self {
        let since = match wish.start {
            Start::Since(id) => Some(id),
            Start::Now | Start::Rewind(_) => None,
        };
        Self {
            events,
            wish,
            asked: wish.start,
            stage: Stage::Asked,
            cursor: since,
            owed: None,
            may_repeat: false,
            catch_up: None,
            floor: since,
            recent: VecDeque::new(),
        }
    }

    /// How to ask for it again: from where it stands, or as at first while nothing is known.
    pub(crate) fn again(&self) -> Subscribe {
        let start = self.cursor.map_or(self.wish.start, Start::Since);
        Subscribe { start, ..self.wish }
    }

    /// The gateway granted it at this position. It may be on its way out again already: messages
    /// can come, and find no room, before the grant.
    pub(crate) fn granted(&mut self, position: MessageId) {
        if self.stage == Stage::Asked {
            self.stage = Stage::Live;
        }
        match (self.cursor, self.wish.start) {
            (None, Start::Now) => self.cursor = Some(position),
            (Some(cursor), _) if cursor >= position => self.catch_up = None,
            (None | Some(_), _) => self.catch_up = Some(position),
        }
    }

    /// Whether history is still coming in: live messages of other topics may be ahead of it.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.stage == Stage::Live && self.catch_up.is_some()
    }

    /// Judges a message and remembers it.
    pub(crate) fn judge(&mut self, id: MessageId) -> Verdict {
        if self.floor.is_some_and(|floor| id <= floor) {
            return Verdict::Duplicate;
        }
        let verdict = match self.recent.binary_search(&id) {
            Ok(_) => return Verdict::Duplicate,
            Err(0) if self.recent.len() >= RECENT => return Verdict::Duplicate,
            Err(at) if at < self.recent.len() => {
                self.recent.insert(at, id);
                Verdict::Late
            }
            Err(_) => {
                self.recent.push_back(id);
                self.may_repeat = false;
                Verdict::New
            }
        };
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        verdict
    }

    /// The application has it (or will find it in its queue).
    pub(crate) fn delivered(&mut self, id: MessageId) {
        self.cursor = Some(self.cursor.map_or(id, |cursor| cursor.max(id)));
        if self.catch_up.is_some_and(|last| last <= id) {
            self.catch_up = None;
        }
    }

    /// A judged message found no room: it will be asked for again.
    pub(crate) fn forget(&mut self, id: MessageId) {
        if let Ok(at) = self.recent.binary_search(&id) {
            self.recent.remove(at);
        }
    }

    /// Takes note of a loss: what was rewound may come again under lower ids.
    pub(crate) fn lost(&mut self, loss: &Loss) {
        if loss.reason == LossReason::Rewound {
            self.recent.clear();
            self.floor = None;
            self.catch_up = None;
            if let Some(after) = loss.after {
                self.cursor = Some(self.cursor.map_or(after, |cursor| cursor.min(after)));
            }
        }
        self.owed = Some(match self.owed.take() {
            Some(earlier) => widen(&earlier, loss),
            None => loss.clone(),
        });
    }

    /// Tells the loss that is owed, if there is room. Whether nothing is owed any more.
    pub(crate) fn tell_owed(&mut self) -> bool {
        let Some(loss) = self.owed.take() else {
            return true;
        };
        match self.events.try_send(Event::Loss(loss)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(Event::Loss(loss))) => {
                self.owed = Some(loss);
                false
            }
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }

    /// Whether half of the queue is free again.
    pub(crate) fn has_room(&self) -> bool {
        self.events.capacity() * 2 >= self.events.max_capacity()
    }
}

/// One loss that covers both.
fn widen(earlier: &Loss, later: &Loss) -> Loss {
    Loss {
        topic: Arc::clone(&later.topic),
        reason: later.reason,
        after: earlier
            .after
            .zip(later.after)
            .map(|(one, two)| one.min(two)),
        before: earlier
            .before
            .zip(later.before)
            .map(|(one, two)| one.max(two)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    fn topic(start: Start) -> Topic {
        let (events, _) = mpsc::channel(4);
        Topic::new(
            events,
            Subscribe {
                start,
                ..Subscribe::default()
            },
        )
    }

    #[test]
    fn a_repetition_is_told_from_a_late_message() {
        let mut topic = topic(Start::Now);
        assert_eq!(topic.judge(id(16)), Verdict::New);
        assert_eq!(topic.judge(id(48)), Verdict::New);
        assert_eq!(topic.judge(id(16)), Verdict::Duplicate);
        assert_eq!(topic.judge(id(32)), Verdict::Late);
        assert_eq!(topic.judge(id(32)), Verdict::Duplicate);
        for at in 4..1000 {
            assert_eq!(topic.judge(id(at * 16)), Verdict::New);
        }
        assert_eq!(
            topic.judge(id(16)),
            Verdict::Duplicate,
            "older than what is remembered"
        );
    }

    #[test]
    fn what_was_not_asked_for_is_a_duplicate() {
        let mut topic = topic(Start::Since(id(160)));
        assert_eq!(topic.judge(id(160)), Verdict::Duplicate);
        assert_eq!(topic.judge(id(176)), Verdict::New);
    }

    #[test]
    fn a_topic_catches_up_until_the_position_of_its_grant() {
        let mut topic = topic(Start::Since(id(16)));
        topic.granted(id(64));
        assert!(topic.is_catching_up());
        topic.delivered(id(48));
        assert!(topic.is_catching_up());
        topic.delivered(id(64));
        assert!(!topic.is_catching_up());
        assert_eq!(topic.again().start, Start::Since(id(64)));
    }

    #[test]
    fn after_a_rewind_of_the_store_lower_ids_are_new() {
        let mut topic = topic(Start::Now);
        topic.judge(id(320));
        topic.delivered(id(320));
        topic.lost(&Loss {
            topic: "t".into(),
            reason: LossReason::Rewound,
            after: Some(id(160)),
            before: Some(id(640)),
        });
        assert_eq!(topic.cursor, Some(id(160)));
        assert_eq!(topic.judge(id(176)), Verdict::New);
    }
}
