//! Reads logs, tips, clocks and holes.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Value, cmd};
use sparkway_protocol::{Entry, MessageId, Partition, TopicName};

use super::backend::Backend;
use super::codec::{self, Fields};
use super::reply::{bytes_of, id_of, list_of, text_of};
use super::router::Lane;
use crate::record::Range;
use crate::{Hole, Page, StoreError, Want};

impl Backend {
    /// See [`crate::Store::read`].
    pub(super) async fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> Result<Vec<Page>, StoreError> {
        let mut pages: Vec<Option<Vec<Arc<Entry>>>> = vec![None; wants.len()];
        // A stream may be named once in a call: a topic that is wanted twice waits for another.
        while limit > 0 && pages.iter().any(Option::is_none) {
            let mut round = HashMap::new();
            for (at, want) in wants.iter().enumerate() {
                if matches!(pages.get(at), Some(None)) {
                    let key = self.keys.log(partition, &want.topic);
                    round.entry(key).or_insert((at, want));
                }
            }
            let mut found = self.read_streams(partition, &round, limit).await?;
            for (key, (at, want)) in round {
                let entries = found.remove(key.as_bytes());
                let entries =
                    entries.map_or(Ok(Vec::new()), |entries| read_entries(&want.topic, entries))?;
                if let Some(page) = pages.get_mut(at) {
                    *page = Some(entries);
                }
            }
        }
        let pages = wants.into_iter().zip(pages).map(|(want, entries)| {
            let entries = entries.unwrap_or_default();
            Page {
                more: limit > 0 && entries.len() >= limit,
                topic: want.topic,
                entries,
            }
        });
        Ok(pages.collect())
    }

    async fn read_streams(
        &self,
        partition: Partition,
        wants: &HashMap<String, (usize, &Want)>,
        limit: usize,
    ) -> Result<HashMap<Vec<u8>, Value>, StoreError> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(limit).arg("STREAMS");
        let wants: Vec<_> = wants.iter().collect();
        for (key, _) in &wants {
            command.arg(key);
        }
        for (_, (_, want)) in &wants {
            command.arg(format!("{}-{}", want.after, u64::MAX));
        }
        let answer = self.ask(Lane::Bulk, partition, command).await?;
        let mut found = HashMap::new();
        for stream in list_of(answer).unwrap_or_default() {
            let mut parts = list_of(stream).unwrap_or_default().into_iter();
            if let (Some(Value::BulkString(key)), Some(entries)) = (parts.next(), parts.next()) {
                found.insert(key, entries);
            }
        }
        Ok(found)
    }

    /// See [`crate::Store::history`].
    pub(super) async fn history(&self, range: Range) -> Result<Page, StoreError> {
        if range.before == Some(MessageId::ZERO) {
            return Ok(Page {
                topic: range.topic,
                entries: Vec::new(),
                more: false,
            });
        }
        let partition = self.layout.of(range.topic.as_str());
        let after = format!("({}-{}", range.after, u64::MAX);
        let before = match range.before {
            Some(before) => format!("({before}-0"),
            None => "+".to_owned(),
        };
        let mut command = if range.reverse {
            cmd("XREVRANGE")
        } else {
            cmd("XRANGE")
        };
        command.arg(self.keys.log(partition, &range.topic));
        if range.reverse {
            command.arg(before).arg(after);
        } else {
            command.arg(after).arg(before);
        }
        // One more than asked for tells whether there is more.
        command.arg("COUNT").arg(range.limit.saturating_add(1));
        let answer = self.ask(Lane::Bulk, partition, command).await?;
        let mut entries = read_entries(&range.topic, answer)?;
        let more = entries.len() > range.limit;
        entries.truncate(range.limit);
        Ok(Page {
            topic: range.topic,
            entries,
            more,
        })
    }

    /// See [`crate::Store::tip`].
    pub(super) async fn tip(&self, topic: TopicName) -> Result<MessageId, StoreError> {
        let partition = self.layout.of(topic.as_str());
        let mut command = cmd("GET");
        command.arg(self.keys.tip(partition, &topic));
        read_id(&self.ask(Lane::Quick, partition, command).await?)
    }

    /// See [`crate::Store::clock`].
    pub(super) async fn clock(&self, partition: Partition) -> Result<MessageId, StoreError> {
        let mut command = cmd("GET");
        command.arg(self.keys.clock(partition));
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let clock = read_id(&answer)?;
        self.note_id(partition, clock);
        Ok(clock)
    }

    /// See [`crate::Store::holes`].
    pub(super) async fn holes(&self, partition: Partition) -> Result<Vec<Hole>, StoreError> {
        let mut command = cmd("LRANGE");
        command.arg(self.keys.holes(partition)).arg(0).arg(-1);
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let holes = list_of(answer).unwrap_or_default();
        Ok(holes
            .iter()
            .filter_map(|hole| read_hole(text_of(hole)?))
            .collect())
    }
}

/// `S:F` as a hole; a birth mark `b:F` is none.
pub(super) fn read_hole(text: &str) -> Option<Hole> {
    let (after, before) = text.split_once(':')?;
    Some(Hole {
        after: MessageId::parse(after)?,
        before: MessageId::parse(before)?,
    })
}

fn read_id(answer: &Value) -> Result<MessageId, StoreError> {
    match answer {
        Value::Nil => Ok(MessageId::ZERO),
        answer => bytes_of(answer)
            .and_then(id_of)
            .ok_or(StoreError::Corrupt("an id is no number")),
    }
}

fn read_entries(topic: &TopicName, answer: Value) -> Result<Vec<Arc<Entry>>, StoreError> {
    let entries = list_of(answer).ok_or(StoreError::Corrupt("a log is no list"))?;
    entries
        .into_iter()
        .map(|entry| {
            read_entry(topic, entry)
                .map(Arc::new)
                .ok_or(StoreError::Corrupt("an entry of a log"))
        })
        .collect()
}

fn read_entry(topic: &TopicName, entry: Value) -> Option<Entry> {
    let mut parts = list_of(entry)?.into_iter();
    let Value::BulkString(stream_id) = parts.next()? else {
        return None;
    };
    let mut fields = Fields::default();
    let mut words = list_of(parts.next()?)?.into_iter();
    while let (Some(name), Some(Value::BulkString(value))) = (words.next(), words.next()) {
        match bytes_of(&name)? {
            b"prev" => fields.prev = value,
            b"data" => fields.data = value,
            b"from" => fields.from = value,
            b"meta" => fields.meta = value,
            // Fields of a newer version: not ours to refuse.
            _ => {}
        }
    }
    codec::entry(topic, &stream_id, fields)
}
