//! How far a client has got, per partition.

use sparkway_protocol::{MessageId, Partition};

/// The newest acknowledged (or named) id of each partition. Most sessions use one partition, so
/// the ids stand in a short sorted list instead of an array of 16.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors(Vec<MessageId>);

impl Cursors {
    /// Cursors from any list of ids; of several ids of one partition the newest counts.
    #[must_use]
    pub fn from_ids(ids: &[MessageId]) -> Self {
        let mut cursors = Self::default();
        for &id in ids {
            cursors.advance(id);
        }
        cursors
    }

    /// Moves the cursor of the id's partition forward; never back. Says whether it moved.
    pub fn advance(&mut self, id: MessageId) -> bool {
        if id == MessageId::ZERO {
            return false;
        }
        match self
            .0
            .binary_search_by_key(&id.partition(), |known| known.partition())
        {
            Ok(at) => match self.0.get_mut(at) {
                Some(known) if *known < id => {
                    *known = id;
                    true
                }
                Some(_) | None => false,
            },
            Err(at) => {
                self.0.insert(at, id);
                true
            }
        }
    }

    /// The cursor of a partition; [`MessageId::ZERO`] when it never moved.
    #[must_use]
    pub fn of(&self, partition: Partition) -> MessageId {
        self.0
            .iter()
            .copied()
            .find(|id| id.partition() == partition)
            .unwrap_or(MessageId::ZERO)
    }

    /// One id per partition that moved, in partition order.
    #[must_use]
    pub fn ids(&self) -> &[MessageId] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_never_goes_back_and_partitions_do_not_mix() {
        let id = |raw| MessageId::new(raw).unwrap();
        let mut cursors = Cursors::default();
        assert!(cursors.advance(id(160)));
        assert!(cursors.advance(id(35)));
        assert!(!cursors.advance(id(144)));
        assert!(!cursors.advance(MessageId::ZERO));
        assert!(cursors.advance(id(176)));
        assert_eq!(cursors.ids(), [id(176), id(35)]);
        assert_eq!(cursors.of(Partition::new(3).unwrap()), id(35));
        assert_eq!(cursors.of(Partition::new(5).unwrap()), MessageId::ZERO);
    }
}
