//! Who follows topics without being a client: live tails of operators.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sparkway_protocol::{Entry, Ephemeral, TopicName};
use tokio::sync::mpsc;

/// Messages that wait for one tail; one that is further behind is dropped.
const WAITING: usize = 1024;

/// What a tail is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// Something was stored.
    Message(Arc<Entry>),
    /// Something was announced that is not kept.
    Ephemeral(Arc<Ephemeral>),
}

#[derive(Debug)]
struct Tap {
    topics: HashSet<TopicName>,
    to: mpsc::Sender<Told>,
}

/// The tails of one node. Readers never wait for them, and pay one load where there are none.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    count: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
}

impl Taps {
    /// Follows topics. The receiver ends when it does not keep up.
    pub(crate) fn open(&self, topics: &[TopicName]) -> mpsc::Receiver<Told> {
        let (to, receiver) = mpsc::channel(WAITING);
        let tap = Tap {
            topics: topics.iter().cloned().collect(),
            to,
        };
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(tap);
        self.count.store(taps.len(), Ordering::Relaxed);
        receiver
    }

    pub(crate) fn entry(&self, entry: &Arc<Entry>) {
        self.tell(&entry.topic, || Told::Message(Arc::clone(entry)));
    }

    pub(crate) fn ephemeral(&self, message: &Arc<Ephemeral>) {
        self.tell(&message.topic, || Told::Ephemeral(Arc::clone(message)));
    }

    fn tell(&self, topic: &TopicName, what: impl Fn() -> Told) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is full or gone is let go; its receiver sees the end behind what it has.
        taps.retain(|tap| {
            if tap.topics.contains(topic) {
                return tap.to.try_send(what()).is_ok();
            }
            !tap.to.is_closed()
        });
        self.count.store(taps.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sparkway_protocol::Payload;

    use super::*;

    fn message(topic: &str) -> Arc<Ephemeral> {
        Arc::new(Ephemeral {
            topic: TopicName::parse(topic).unwrap(),
            from: None,
            origin: None,
            exclude_origin: false,
            payload: Payload::json(Bytes::from_static(b"1")),
        })
    }

    #[test]
    fn a_tail_that_falls_behind_ends_and_holds_nobody_up() {
        let taps = Taps::default();
        taps.ephemeral(&message("a"));
        let topic = TopicName::parse("a").unwrap();
        let (mut slow, mut other) = (
            taps.open(std::slice::from_ref(&topic)),
            taps.open(std::slice::from_ref(&topic)),
        );
        for _ in 0..=WAITING {
            taps.ephemeral(&message("a"));
            taps.ephemeral(&message("b"));
            assert!(other.try_recv().is_ok());
        }
        let mut seen = 0;
        while slow.try_recv().is_ok() {
            seen += 1;
        }
        assert_eq!(seen, WAITING);
        assert_eq!(
            slow.try_recv().unwrap_err(),
            mpsc::error::TryRecvError::Disconnected
        );
        drop(other);
        taps.ephemeral(&message("a"));
        assert_eq!(taps.count.load(Ordering::Relaxed), 0);
    }
}
