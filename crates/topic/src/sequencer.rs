//! Whether an entry continues what a receiver has of its topic.

use sparkway_protocol::{Entry, MessageId};

/// What an entry is to a receiver whose newest id of the topic is known (core.md 1, back link).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next one: hand it on.
    InOrder,
    /// Seen already: drop it.
    Duplicate,
    /// Something between `after` and the entry is missing: read the log before handing it on.
    Hole {
        /// The newest id the receiver has.
        after: MessageId,
    },
    /// The log went back behind the receiver (the store lost writes, or the topic was idle for so
    /// long that its tip expired): hand the entry on; what was lost is told by the store's holes.
    Rewound,
}

/// Judges an entry against `last`, the newest id that the receiver has of its topic.
#[must_use]
pub fn judge(last: MessageId, entry: &Entry) -> Verdict {
    if entry.id <= last {
        Verdict::Duplicate
    } else if entry.prev == last {
        Verdict::InOrder
    } else if entry.prev > last {
        Verdict::Hole { after: last }
    } else {
        Verdict::Rewound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::tests::entry;

    fn id(raw: u64) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    #[test]
    fn back_link_decides_between_order_duplicate_hole_and_rewind() {
        assert_eq!(judge(id(16), &entry("t", 32, 16)), Verdict::InOrder);
        assert_eq!(judge(id(32), &entry("t", 32, 16)), Verdict::Duplicate);
        assert_eq!(
            judge(id(16), &entry("t", 64, 48)),
            Verdict::Hole { after: id(16) }
        );
        assert_eq!(judge(id(48), &entry("t", 64, 16)), Verdict::Rewound);
        assert_eq!(judge(MessageId::ZERO, &entry("t", 16, 0)), Verdict::InOrder);
    }
}
