//! What this node knows of the server processes that held a partition before the present one.
//!
//! Not all nodes leave a master at the same time. What one of them wrote to the former master, or
//! heard from it, after the first had gone to the next one lies behind the hole that this one made
//! there, although it is lost. So each node tells the new master the newest id that it knows of any
//! other process: where that is behind the newest hole, the hole grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sparkway_protocol::MessageId;

/// How many processes are remembered.
const PROCESSES: usize = 8;

/// The newest id that is known of one server process.
#[derive(Debug)]
pub(super) struct Heard {
    run_id: Box<str>,
    newest: AtomicU64,
}

impl Heard {
    /// Notes an id that the process has given out.
    pub(super) fn note(&self, id: MessageId) {
        self.newest.fetch_max(id.get(), Ordering::Relaxed);
    }
}

/// The processes of one partition.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<Vec<Arc<Heard>>>);

impl Processes {
    /// The account of a process. Beyond the last eight the one with the oldest ids is forgotten:
    /// every hole since then is behind those.
    pub(super) fn of(&self, run_id: &str) -> Arc<Heard> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| *known.run_id == *run_id) {
            return Arc::clone(known);
        }
        if all.len() >= PROCESSES {
            let newest = |known: &Arc<Heard>| known.newest.load(Ordering::Relaxed);
            all.sort_unstable_by_key(newest);
            all.remove(0);
        }
        let new = Arc::new(Heard {
            run_id: run_id.into(),
            newest: AtomicU64::new(0),
        });
        all.push(Arc::clone(&new));
        new
    }

    /// The newest id that is known of any other process, and of which; `None` when none is.
    pub(super) fn elsewhere(&self, run_id: &str) -> Option<(Box<str>, MessageId)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = all.iter().filter(|known| *known.run_id != *run_id);
        let newest = others.max_by_key(|known| known.newest.load(Ordering::Relaxed))?;
        let id = MessageId::new(newest.newest.load(Ordering::Relaxed))?;
        (id > MessageId::ZERO).then(|| (newest.run_id.clone(), id))
    }

    /// All that the process had is in good hands: it counts as none.
    pub(super) fn forget(&self, run_id: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| *known.run_id != *run_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId::new(number).unwrap()
    }

    #[test]
    fn newest_of_the_others_is_what_counts() {
        let processes = Processes::default();
        let elsewhere = |run_id: &str| processes.elsewhere(run_id).map(|(_, id)| id.get());
        assert_eq!(elsewhere("a"), None);
        processes.of("a").note(id(32));
        processes.of("a").note(id(16));
        assert_eq!(elsewhere("a"), None);
        assert_eq!(elsewhere("b"), Some(32));
        // It goes on while others are with the next one already.
        let late = processes.of("a");
        processes.of("b").note(id(64));
        late.note(id(48));
        assert_eq!(processes.elsewhere("b"), Some(("a".into(), id(48))));
        assert_eq!(elsewhere("c"), Some(64));
        processes.forget("a");
        assert_eq!(elsewhere("b"), None);
    }

    #[test]
    fn table_is_bounded_and_forgets_the_oldest_ids() {
        let processes = Processes::default();
        for number in 1..=100_u64 {
            processes.of(&number.to_string()).note(id(number * 16));
        }
        assert_eq!(processes.0.lock().unwrap().len(), PROCESSES);
        assert_eq!(processes.elsewhere("x"), Some(("100".into(), id(1600))));
    }
}
