//! How far a client has got in each partition: what it says when it resumes.

use serde_json::Value;
use sparkway_protocol::{MessageId, Partition};

/// The newest id per partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions([Option<MessageId>; Partition::MAX_COUNT]);

impl Positions {
    /// Reads `last_message_id`: absent, one id, or a list of them.
    pub(crate) fn read(value: &Value) -> Self {
        let mut positions = Self::default();
        let texts: Vec<&Value> = match value {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        for id in texts
            .into_iter()
            .filter_map(|text| MessageId::parse(text.as_str()?))
        {
            positions.raise(id);
        }
        positions
    }

    /// The position in this partition.
    pub(crate) fn of(&self, partition: Partition) -> Option<MessageId> {
        self.0.get(partition.index()).copied().flatten()
    }

    /// Raises the partition of `id` to it; never lowers.
    pub(crate) fn raise(&mut self, id: MessageId) {
        if self.of(id.partition()).is_none_or(|known| known < id) {
            self.set(id);
        }
    }

    /// Sets the partition of `id` to it.
    pub(crate) fn set(&mut self, id: MessageId) {
        if let Some(slot) = self.0.get_mut(id.partition().index()) {
            *slot = Some(id);
        }
    }

    /// Lowers the partition of `id` to it, where it stands higher.
    pub(crate) fn lower(&mut self, id: MessageId) {
        if self.of(id.partition()).is_some_and(|known| known > id) {
            self.set(id);
        }
    }

    /// All known ids, in partition order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MessageId> {
        self.0.iter().flatten().copied()
    }

    /// The wire form: a string for one partition, an array for several. Nothing known yet is said
    /// as `"0"`, before everything: left out, the gateway would replay nothing.
    pub(crate) fn wire(&self) -> Value {
        let mut ids: Vec<String> = self.iter().map(|id| id.to_string()).collect();
        match ids.len() {
            0 => Value::from("0"),
            1 => Value::from(ids.remove(0)),
            _ => Value::from(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(raw: u64) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    #[test]
    fn newest_id_is_kept_per_partition_and_never_goes_back_by_itself() {
        let mut positions = Positions::default();
        for raw in [32, 16, 33, 48] {
            positions.raise(id(raw));
        }
        assert_eq!(positions.iter().collect::<Vec<_>>(), [id(48), id(33)]);
        positions.lower(id(16));
        assert_eq!(positions.of(id(16).partition()), Some(id(16)));
    }

    #[test]
    fn one_partition_is_a_string_several_are_an_array_none_is_zero() {
        let mut positions = Positions::default();
        assert_eq!(positions.wire(), json!("0"));
        positions.raise(id(160));
        assert_eq!(positions.wire(), json!("160"));
        positions.raise(id(17));
        assert_eq!(positions.wire(), json!(["160", "17"]));
        assert_eq!(Positions::read(&positions.wire()), positions);
        assert_eq!(Positions::read(&Value::Null), Positions::default());
    }
}
