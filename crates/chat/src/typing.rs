//! Who is typing to whom: told, never kept, and over by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sparkway_protocol::{SessionId, UserId};
use tokio::time::Instant;

/// People to whom one visitor types at once, at the most; as many timers run for him.
const MOST: usize = 64;

/// Who of this node's visitors is typing to whom. Whoever begins has one timer, which goes on for
/// as long as he does: however often he says so, and stops in between.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    running: Mutex<HashMap<SessionId, HashMap<UserId, Typed>>>,
}

/// What a timer ends.
#[derive(Debug)]
struct Typed {
    /// None: he has stopped, and the timer does not know it yet.
    until: Option<Instant>,
}

/// What has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It needs a timer.
    Begins,
    /// A timer runs.
    GoesOn,
    /// Nothing.
    TooMany,
}

/// What a timer finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing before this time.
    Wait(Instant),
    /// It was stopped; the timer is over.
    Stopped,
    /// It is over now, and so is the timer.
    Over,
}

impl Typing {
    fn running(&self) -> MutexGuard<'_, HashMap<SessionId, HashMap<UserId, Typed>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins, or goes on, until some time.
    pub(crate) fn start(&self, session: SessionId, receiver: &UserId, until: Instant) -> Start {
        let mut running = self.running();
        let known = running.entry(session).or_default();
        let until = Some(until);
        if let Some(typed) = known.get_mut(receiver) {
            typed.until = until;
            return Start::GoesOn;
        }
        if known.len() >= MOST {
            return Start::TooMany;
        }
        known.insert(receiver.clone(), Typed { until });
        Start::Begins
    }

    /// Ends; its timer will find that out.
    pub(crate) fn stop(&self, session: SessionId, receiver: &UserId) {
        let mut running = self.running();
        let known = running.get_mut(&session);
        if let Some(typed) = known.and_then(|known| known.get_mut(receiver)) {
            typed.until = None;
        }
    }

    /// What a timer has to do.
    pub(crate) fn look(&self, session: SessionId, receiver: &UserId, now: Instant) -> Look {
        let mut running = self.running();
        let Some(known) = running.get_mut(&session) else {
            return Look::Stopped;
        };
        let found = match known.get(receiver).and_then(|typed| typed.until) {
            Some(until) if until > now => return Look::Wait(until),
            Some(_) => Look::Over,
            None => Look::Stopped,
        };
        known.remove(receiver);
        if known.is_empty() {
            running.remove(&session);
        }
        found
    }

    /// Ends all of a visitor who is gone: to whom he was typing.
    pub(crate) fn stop_all(&self, session: SessionId) -> Vec<UserId> {
        let running = self.running().remove(&session);
        let known = running.into_iter().flatten();
        known
            .filter(|(_, typed)| typed.until.is_some())
            .map(|(receiver, _)| receiver)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sparkway_protocol::Partition;

    use super::*;

    fn session() -> SessionId {
        SessionId::from_random([1; 16], Partition::default())
    }

    #[test]
    fn one_timer_serves_however_often_somebody_begins_and_stops() {
        let typing = Typing::default();
        let bob = UserId::parse("bob").unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(typing.start(session(), &bob, at(10)), Start::Begins);
        for second in 1..100 {
            typing.stop(session(), &bob);
            let again = typing.start(session(), &bob, at(10 + second));
            assert_eq!(again, Start::GoesOn, "no further timer");
        }
        assert_eq!(typing.look(session(), &bob, at(10)), Look::Wait(at(109)));
        assert_eq!(typing.look(session(), &bob, at(109)), Look::Over);
        assert_eq!(typing.start(session(), &bob, at(120)), Start::Begins);
        typing.stop(session(), &bob);
        assert_eq!(typing.look(session(), &bob, at(120)), Look::Stopped);
        assert_eq!(typing.start(session(), &bob, at(130)), Start::Begins);
        let stopped = typing.stop_all(session());
        assert_eq!(stopped.as_slice(), std::slice::from_ref(&bob));
        assert_eq!(typing.look(session(), &bob, at(130)), Look::Stopped);
        assert!(typing.stop_all(session()).is_empty());
    }

    #[test]
    fn nobody_types_to_everybody() {
        let typing = Typing::default();
        let until = Instant::now();
        let user = |at: usize| UserId::parse(&format!("u{at}")).unwrap();
        let begin = |at: usize| typing.start(session(), &user(at), until);
        let started = (0..MOST + 5).filter(|&at| begin(at) == Start::Begins);
        assert_eq!(started.count(), MOST);
        assert_eq!(begin(MOST), Start::TooMany);
        assert_eq!(begin(0), Start::GoesOn, "known ones go on");
    }
}
