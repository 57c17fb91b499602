//! What clients sent and saw, and whether the gateway kept its word.

mod deliveries;
mod gaps;
pub mod history;
mod index;
mod logs;
mod owners;
mod requests;
mod trace;
mod view;

use std::collections::BTreeMap;
use std::fmt;

use history::{History, Topic};
use index::Index;

/// Which promise was broken. The letters are those of the rules in the guarantees' page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// C1: ids of a log rise, belong to one partition and fit into 53 bits.
    LogOrder,
    /// C2: a session sees ids of a partition rise, over all its connections.
    DeliveryOrder,
    /// C3: what is in the log of a followed topic came, or was told to be gone.
    Lost,
    /// C4: nothing comes twice to a session.
    DeliveredTwice,
    /// C4, C6: nothing is stored twice.
    StoredTwice,
    /// C5: what was acknowledged is in the log, under the id that was acknowledged.
    AcknowledgedGone,
    /// C5: the id that was acknowledged is the id in the log.
    WrongId,
    /// C7: what one client publishes one after the other stands in the log in that order.
    PublishOrder,
    /// C8: a session receives only topics that it follows.
    WrongTopic,
    /// C8: nothing is delivered that nobody published.
    NeverPublished,
    /// C9: a session can be resumed inside its window.
    ResumeRefused,
    /// C10: what was seen or acknowledged and is gone was told to be gone.
    LossNotTold,
    /// C11: what was told to be gone is gone.
    FalseGap,
    /// C12: at any time one connection owns a session, and only its publishes are stored.
    TwoOwners,
    /// C13: every request is answered, once, with its own answer.
    Answers,
    /// A node ends only where it is told to: a broken invariant or a crash ends it, too.
    NodeEnded,
    /// The client named another position on resume than it had: a fault of the driver.
    Driver,
}

/// A promise that was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which promise.
    pub rule: Rule,
    /// Which session of the history saw it, where one did.
    pub session: Option<usize>,
    /// In which topic.
    pub topic: Option<Topic>,
    /// Which message.
    pub id: Option<u64>,
    /// In words.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: ", self.rule)?;
        if let Some(session) = self.session {
            write!(out, "session {session}: ")?;
        }
        out.write_str(&self.text)
    }
}

/// Everything that is wrong with a history, in the order of the rules; empty when every promise was
/// kept.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let index = Index::new(history);
    let mut found = Vec::new();
    logs::check(history, &index, &mut found);
    for (at, session) in history.sessions.iter().enumerate() {
        let mut own = Vec::new();
        requests::check(session, &mut own);
        owners::check(session, &index, &mut own);
        let view = view::View::of(session, &index, &mut own);
        deliveries::check(history, session, &index, &view, &mut own);
        gaps::check(history, session, &index, &mut own);
        for violation in &mut own {
            violation.session = Some(at);
        }
        found.append(&mut own);
    }
    found.sort();
    found
}

/// What led to a violation: every step that touched its message, and the life of its session
/// around it; at most `lines` lines.
#[must_use]
pub fn explain(history: &History, violation: &Violation, lines: usize) -> Vec<String> {
    trace::of(history, violation, lines)
}

/// How often each rule was broken.
#[must_use]
pub fn count(violations: &[Violation]) -> BTreeMap<Rule, usize> {
    let mut counted = BTreeMap::new();
    for violation in violations {
        *counted.entry(violation.rule).or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests;
