//! Exact words for what is gone.

use sparkway_protocol::{Entry, Gap, GapReason, MessageId, TopicName};

/// The replay window's age and the present, to tell an expired entry from a trimmed one.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Unix milliseconds now.
    pub now_ms: u64,
    /// Milliseconds for which entries are kept.
    pub age_ms: u64,
}

impl Window {
    fn reason(self, newest_missing: MessageId) -> GapReason {
        if newest_missing.unix_ms().saturating_add(self.age_ms) <= self.now_ms {
            GapReason::Expired
        } else {
            GapReason::Trimmed
        }
    }
}

/// Whether a reader at `cursor` misses entries of `topic`, given the first entry of the log behind
/// the cursor, or, where the log holds none, the topic's newest id ever given.
///
/// An entry whose back link lies behind the cursor proves the loss of what it links to; one whose
/// back link does not, proves that nothing is missing (reliability.md 0, flaw 4).
#[must_use]
pub fn missing_before(
    topic: &TopicName,
    cursor: MessageId,
    first: Option<&Entry>,
    tip: MessageId,
    window: Window,
) -> Option<Gap> {
    let (newest_missing, before) = match first {
        Some(entry) if entry.prev > cursor => (entry.prev, entry.id),
        None if tip > cursor => (tip, MessageId::new(tip.get() + 1).unwrap_or(MessageId::MAX)),
        Some(_) | None => return None,
    };
    Some(Gap {
        topic: topic.clone(),
        reason: window.reason(newest_missing),
        after: cursor,
        before,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::tests::entry;

    #[test]
    fn loss_is_told_if_and_only_if_an_entry_is_gone() {
        let topic = TopicName::parse("t").unwrap();
        let cursor = MessageId::new(40).unwrap();
        let old = Window {
            now_ms: u64::MAX,
            age_ms: 1,
        };
        let young = Window {
            now_ms: 0,
            age_ms: 1,
        };
        let first = entry("t", 96, 80);
        let gap = missing_before(&topic, cursor, Some(&first), first.id, old).unwrap();
        assert_eq!(
            (gap.reason, gap.after, gap.before),
            (GapReason::Expired, cursor, first.id)
        );
        let gap = missing_before(&topic, cursor, Some(&first), first.id, young).unwrap();
        assert_eq!(gap.reason, GapReason::Trimmed);
        let whole = entry("t", 96, 32);
        assert_eq!(
            missing_before(&topic, cursor, Some(&whole), whole.id, old),
            None
        );
        let tip = MessageId::new(64).unwrap();
        assert!(missing_before(&topic, cursor, None, tip, old).is_some());
        assert_eq!(missing_before(&topic, tip, None, tip, old), None);
    }
}
