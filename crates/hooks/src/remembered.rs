//! The last answers of a backend, for the time when it cannot be asked.

use std::collections::HashMap;
use std::hash::Hash;

/// Most answers that are kept.
const COUNT_MAX: usize = 10_000;

/// Answers by question, each for a while. When there are too many, old ones go first.
#[derive(Debug)]
pub struct Remembered<Q, A> {
    answers: HashMap<Q, (A, u64)>,
}

impl<Q, A> Default for Remembered<Q, A> {
    fn default() -> Self {
        Self {
            answers: HashMap::new(),
        }
    }
}

impl<Q: Eq + Hash, A: Clone> Remembered<Q, A> {
    /// Keeps an answer until a time (monotonic milliseconds).
    pub fn keep(&mut self, question: Q, answer: A, until_ms: u64, now_ms: u64) {
        if self.answers.len() >= COUNT_MAX {
            self.answers.retain(|_, (_, until_ms)| *until_ms > now_ms);
        }
        if self.answers.len() >= COUNT_MAX {
            // All are young: half of them go, the older ones.
            let mut ends: Vec<u64> = self.answers.values().map(|(_, end)| *end).collect();
            let middle = ends.len() / 2;
            let (_, middle, _) = ends.select_nth_unstable(middle);
            let middle = *middle;
            self.answers.retain(|_, (_, until_ms)| *until_ms > middle);
        }
        self.answers.insert(question, (answer, until_ms));
    }

    /// The answer, if it still counts.
    #[must_use]
    pub fn find(&self, question: &Q, now_ms: u64) -> Option<A> {
        let (answer, until_ms) = self.answers.get(question)?;
        (*until_ms > now_ms).then(|| answer.clone())
    }

    /// Forgets an answer.
    pub fn forget(&mut self, question: &Q) {
        self.answers.remove(question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_its_time_and_there_are_never_too_many() {
        let mut known = Remembered::default();
        known.keep("a", 1, 10, 0);
        assert_eq!(known.find(&"a", 9), Some(1));
        assert_eq!(known.find(&"a", 10), None);
        known.forget(&"a");
        assert_eq!(known.find(&"a", 0), None);
        let mut many = Remembered::default();
        for at in 0..3 * COUNT_MAX as u64 {
            many.keep(at, (), 1_000_000 + at, 0);
            assert!(many.answers.len() <= COUNT_MAX);
        }
        assert_eq!(many.find(&(3 * COUNT_MAX as u64 - 1), 0), Some(()));
    }
}
