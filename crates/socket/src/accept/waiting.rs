//! Connections that are not upgraded yet: so many at once, and no more.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use tokio_util::sync::CancellationToken;

/// Those under way, oldest first. Where there are too many, the oldest gives way to the newest:
/// whoever is honest is done within milliseconds, and whoever is slow on purpose is the oldest. To
/// let the newest wait instead would let the slow ones decide who comes in.
#[derive(Debug)]
pub(super) struct Waiting {
    most: usize,
    begun: VecDeque<Weak<CancellationToken>>,
}

impl Waiting {
    pub(super) fn new(most: usize) -> Self {
        let begun = VecDeque::new();
        Self {
            most: most.max(1),
            begun,
        }
    }

    /// One more. It is under way for as long as the returned value lives, and gives way when that
    /// is cancelled.
    pub(super) fn begin(&mut self) -> Arc<CancellationToken> {
        while self
            .begun
            .front()
            .is_some_and(|oldest| oldest.strong_count() == 0)
        {
            self.begun.pop_front();
        }
        if self.begun.len() >= self.most {
            // Behind an old one there may be many that are done.
            self.begun.retain(|begun| begun.strong_count() > 0);
        }
        if self.begun.len() >= self.most
            && let Some(oldest) = self.begun.pop_front().and_then(|oldest| oldest.upgrade())
        {
            oldest.cancel();
        }
        let newest = Arc::new(CancellationToken::new());
        self.begun.push_back(Arc::downgrade(&newest));
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_still_under_way_gives_way() {
        let mut waiting = Waiting::new(3);
        let slow = waiting.begin();
        for _ in 0..100 {
            drop(waiting.begin());
        }
        assert!(!slow.is_cancelled(), "the others are done");
        let later = [waiting.begin(), waiting.begin()];
        assert!(!slow.is_cancelled());
        let newest = waiting.begin();
        assert!(slow.is_cancelled());
        assert!(!newest.is_cancelled() && !later[0].is_cancelled());
        assert!(waiting.begun.len() <= 3);
    }
}
