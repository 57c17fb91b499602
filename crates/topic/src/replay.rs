//! Several logs of one partition, merged into what a session missed.

use std::sync::Arc;

use sparkway_protocol::{Entry, MessageId};

/// What was found of one topic after a session's cursor.
#[derive(Clone, Debug)]
pub struct Part {
    /// Entries after the cursor, in id order.
    pub entries: Vec<Arc<Entry>>,
    /// There may be more behind the last of them.
    pub more: bool,
}

/// The outcome of [`merge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// What to send, in id order, each once.
    pub entries: Vec<Arc<Entry>>,
    /// Everything up to this id is now given: the session's new position.
    pub position: MessageId,
}

/// Merges what was found of each topic of a partition into one run in id order.
///
/// `bound` is an id up to which every part is known to be whole: the node's position *before* the
/// parts were read. Pages of different topics are not read at one instant, so behind the bound one
/// topic may show an entry while an older one of another topic is not yet in its page. Likewise
/// nothing is given behind the end of a part that has `more`.
#[must_use]
pub fn merge(parts: Vec<Part>, bound: MessageId) -> Merged {
    let position = parts
        .iter()
        .filter(|part| part.more)
        .filter_map(|part| part.entries.last())
        .map(|entry| entry.id)
        .fold(bound, MessageId::min);
    let mut entries: Vec<_> = parts
        .into_iter()
        .flat_map(|part| part.entries)
        .filter(|entry| entry.id <= position)
        .collect();
    entries.sort_unstable_by_key(|entry| entry.id);
    entries.dedup_by_key(|entry| entry.id);
    Merged { entries, position }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use sparkway_protocol::{Payload, TopicName};

    pub(crate) fn entry(topic: &str, id: u64, prev: u64) -> Entry {
        Entry {
            id: MessageId::new(id).unwrap(),
            prev: MessageId::new(prev).unwrap(),
            topic: TopicName::parse(topic).unwrap(),
            from: None,
            origin: None,
            exclude_origin: false,
            trace: None,
            payload: Payload::json("1".into()),
        }
    }

    fn part(topic: &str, ids: &[u64], more: bool) -> Part {
        let mut prev = 0;
        let entries = ids
            .iter()
            .map(|&id| Arc::new(entry(topic, id, std::mem::replace(&mut prev, id))))
            .collect();
        Part { entries, more }
    }

    #[test]
    fn nothing_is_given_behind_a_full_page_or_the_bound() {
        let merged = merge(
            vec![part("a", &[16, 64, 160], false), part("b", &[32, 48], true)],
            MessageId::new(200).unwrap(),
        );
        assert_eq!(
            merged
                .entries
                .iter()
                .map(|e| e.id.get())
                .collect::<Vec<_>>(),
            [16, 32, 48]
        );
        assert_eq!(merged.position.get(), 48);
        let merged = merge(
            vec![part("a", &[16, 64, 160], false)],
            MessageId::new(100).unwrap(),
        );
        assert_eq!(merged.entries.len(), 2);
        assert_eq!(merged.position.get(), 100);
    }

    proptest! {
        /// However the logs are cut into pages, paging through them gives every entry up to the
        /// bound exactly once and in order.
        #[test]
        fn paging_gives_every_entry_once_and_in_order(
            owners in prop::collection::vec(0_usize..4, 0..80),
            page in 1_usize..7,
            bound in 0_u64..100,
        ) {
            let topics = ["a", "b", "c", "d"];
            let mut logs: Vec<Vec<u64>> = vec![Vec::new(); 4];
            for (at, &owner) in owners.iter().enumerate() {
                logs[owner].push((at as u64 + 1) * 16);
            }
            let bound = MessageId::new(bound * 16).unwrap();
            let mut position = MessageId::ZERO;
            let mut given = Vec::new();
            while position < bound {
                let parts = (0..4)
                    .map(|at| {
                        let rest: Vec<u64> =
                            logs[at].iter().copied().filter(|&id| id > position.get()).collect();
                        part(topics[at], &rest[..rest.len().min(page)], rest.len() > page)
                    })
                    .collect();
                let merged = merge(parts, bound);
                prop_assert!(merged.position > position);
                position = merged.position;
                given.extend(merged.entries.iter().map(|e| e.id.get()));
            }
            let all: Vec<u64> =
                (1..=owners.len() as u64).map(|at| at * 16).filter(|&id| id <= bound.get()).collect();
            prop_assert_eq!(given, all);
        }
    }
}
