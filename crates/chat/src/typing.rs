//! Who is typing to whom: told, never kept, and over by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sparkway_protocol::{SessionId, UserId};

/// People to whom one visitor types at once, at the most.
const MOST: usize = 64;

/// Who of this node's visitors is typing to whom. Each start has a number: only its own timer ends
/// it.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: HashMap<SessionId, HashMap<UserId, u64>>,
}

impl Typing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, or goes on: the number of it. `None` where that would be too many.
    pub(crate) fn start(&self, session: SessionId, receiver: &UserId) -> Option<u64> {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        let running = state.running.entry(session).or_default();
        if running.len() >= MOST && !running.contains_key(receiver) {
            return None;
        }
        running.insert(receiver.clone(), number);
        Some(number)
    }

    /// Ends; with a number only what has not gone on since. Whether there was something to end.
    pub(crate) fn stop(&self, session: SessionId, receiver: &UserId, number: Option<u64>) -> bool {
        let mut state = self.state();
        let Some(running) = state.running.get_mut(&session) else {
            return false;
        };
        let known = running.get(receiver).copied();
        if known.is_none() || number.is_some() && number != known {
            return false;
        }
        running.remove(receiver);
        if running.is_empty() {
            state.running.remove(&session);
        }
        true
    }

    /// Ends all of a visitor who is gone: to whom he was typing.
    pub(crate) fn stop_all(&self, session: SessionId) -> Vec<UserId> {
        let running = self.state().running.remove(&session);
        running
            .into_iter()
            .flatten()
            .map(|(receiver, _)| receiver)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparkway_protocol::Partition;

    #[test]
    fn an_old_timer_does_not_end_what_goes_on() {
        let typing = Typing::default();
        let session = SessionId::from_random([1; 16], Partition::default());
        let bob = UserId::parse("bob").unwrap();
        let first = typing.start(session, &bob);
        let second = typing.start(session, &bob);
        assert!(first.is_some() && first != second);
        assert!(!typing.stop(session, &bob, first));
        assert!(typing.stop(session, &bob, second));
        assert!(!typing.stop(session, &bob, None), "it is over");
        typing.start(session, &bob);
        assert!(typing.stop(session, &bob, None));
        typing.start(session, &bob);
        assert_eq!(typing.stop_all(session), [bob]);
        assert!(typing.stop_all(session).is_empty());
    }

    #[test]
    fn nobody_types_to_everybody() {
        let typing = Typing::default();
        let session = SessionId::from_random([1; 16], Partition::default());
        let user = |at: usize| UserId::parse(&format!("u{at}")).unwrap();
        let started = (0..MOST + 5).filter(|&at| typing.start(session, &user(at)).is_some());
        assert_eq!(started.count(), MOST);
        assert!(
            typing.start(session, &user(0)).is_some(),
            "known ones go on"
        );
    }
}
