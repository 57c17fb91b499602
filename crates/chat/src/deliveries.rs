//! Messages on their way into inboxes that did not take them at once: one queue per receiver, so
//! that their order stays, and bounds on the number and the bytes of all of them. What finds no
//! room, or is given up, is found in the logs of conversations (`missed`).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sparkway_protocol::UserId;

use crate::messages::Message;

/// Messages that wait, of all receivers, and their bytes: a node has them in memory.
const MOST: usize = 10_000;
const BYTES: usize = 64 << 20;

/// A message, and how its sender is called.
type Waiting = (Message, Box<str>);

/// What became of a message that is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is the first: somebody has to work the queue off.
    First,
    /// It is behind others.
    Behind,
    /// There is no room.
    Full,
}

/// The queues of a node.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queues: HashMap<UserId, VecDeque<Waiting>>,
    count: usize,
    bytes: usize,
}

fn bytes_of((message, username): &Waiting) -> usize {
    let ids = message.sender.as_str().len() + message.receiver.as_str().len();
    let texts = message.content.len() + message.kind.len() + username.len();
    size_of::<Waiting>() + ids + texts
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages for somebody wait: a newer one has to wait behind them.
    pub(crate) fn is_waiting(&self, receiver: &UserId) -> bool {
        self.state().queues.contains_key(receiver)
    }

    pub(crate) fn push(&self, message: Message, username: &str) -> Queued {
        let mut state = self.state();
        let waiting: Waiting = (message, username.into());
        let bytes = bytes_of(&waiting);
        if state.count >= MOST || state.bytes + bytes > BYTES {
            return Queued::Full;
        }
        state.count += 1;
        state.bytes += bytes;
        let receiver = waiting.0.receiver.clone();
        let queue = state.queues.entry(receiver).or_default();
        queue.push_back(waiting);
        if queue.len() == 1 {
            Queued::First
        } else {
            Queued::Behind
        }
    }

    /// The first that waits for somebody.
    pub(crate) fn front(&self, receiver: &UserId) -> Option<Waiting> {
        self.state().queues.get(receiver)?.front().cloned()
    }

    /// The first is delivered. Whether more wait.
    pub(crate) fn pop(&self, receiver: &UserId) -> bool {
        let mut state = self.state();
        let Some(queue) = state.queues.get_mut(receiver) else {
            return false;
        };
        let gone = queue.pop_front();
        let is_over = queue.is_empty();
        if is_over {
            state.queues.remove(receiver);
        }
        state.count -= usize::from(gone.is_some());
        state.bytes -= gone.as_ref().map_or(0, bytes_of);
        !is_over
    }

    /// Nobody works the queue off any more: how many were in it.
    pub(crate) fn give_up(&self, receiver: &UserId) -> usize {
        let mut state = self.state();
        let queue = state.queues.remove(receiver).unwrap_or_default();
        state.count -= queue.len();
        state.bytes -= queue.iter().map(bytes_of).sum::<usize>();
        queue.len()
    }
}

#[cfg(test)]
mod tests {
    use sparkway_protocol::MessageId;

    use super::*;
    use crate::messages::Status;

    fn message(id: u64, receiver: &str) -> Message {
        Message {
            id: MessageId::new(id).unwrap(),
            sender: UserId::parse("ada").unwrap(),
            receiver: UserId::parse(receiver).unwrap(),
            content: "x".into(),
            kind: "text".into(),
            status: Status::Sent,
        }
    }

    #[test]
    fn messages_of_one_receiver_keep_their_order_and_all_of_them_have_a_bound() {
        let deliveries = Deliveries::default();
        let bob = UserId::parse("bob").unwrap();
        assert_eq!(deliveries.push(message(1, "bob"), "Ada"), Queued::First);
        assert_eq!(deliveries.push(message(2, "bob"), "Ada"), Queued::Behind);
        assert_eq!(deliveries.push(message(3, "cleo"), "Ada"), Queued::First);
        assert!(deliveries.is_waiting(&bob));
        assert_eq!(deliveries.front(&bob).unwrap().0.id.get(), 1);
        assert!(deliveries.pop(&bob));
        assert_eq!(deliveries.front(&bob).unwrap().0.id.get(), 2);
        assert!(!deliveries.pop(&bob));
        assert!(!deliveries.is_waiting(&bob) && !deliveries.pop(&bob));
        for id in 0..MOST as u64 {
            deliveries.push(message(id, "bob"), "Ada");
        }
        assert_eq!(deliveries.push(message(9, "bob"), "Ada"), Queued::Full);
        assert_eq!(deliveries.give_up(&bob), MOST - 1);
        assert_eq!(deliveries.push(message(9, "bob"), "Ada"), Queued::First);
    }

    #[test]
    fn long_messages_fill_the_queues_before_there_are_many() {
        let deliveries = Deliveries::default();
        let long = |id| Message {
            content: "x".repeat(1 << 20).into(),
            ..message(id, "bob")
        };
        let until_full = || (0..100).find(|id| deliveries.push(long(*id), "Ada") == Queued::Full);
        assert_eq!(until_full(), Some(63), "64 MiB, with what is around them");
        assert_eq!(deliveries.push(message(1, "cleo"), "Ada"), Queued::First);
        let bob = UserId::parse("bob").unwrap();
        assert!(deliveries.pop(&bob));
        assert_eq!(until_full(), Some(1), "the place of the one that is gone");
        assert_eq!(deliveries.give_up(&bob), 63);
        assert_eq!(until_full(), Some(63));
    }
}
