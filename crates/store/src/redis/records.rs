//! Records of an application: one hash per kind.

use bytes::Bytes;
use redis::{Value, cmd};
use sparkway_protocol::Partition;

use super::backend::Backend;
use super::reply::{bytes_of, list_of, number_of, text_of};
use super::router::Lane;
use super::scripts;
use super::walk::no_page;
use crate::StoreError;
use crate::directory::Listed;
use crate::records::Record;

const CORRUPT: StoreError = StoreError::Corrupt("record");
/// Records asked for in one step of a listing.
const STEP: usize = 200;
/// Steps of one page at the most.
const STEPS: usize = 100;

impl Backend {
    fn record_place(&self, kind: &str) -> (Partition, String) {
        let partition = self.layout.of(kind);
        (partition, self.keys.records(partition, kind))
    }

    /// See [`crate::Records::records`].
    pub(super) async fn find_records(
        &self,
        kind: &str,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Record>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (partition, key) = self.record_place(kind);
        let mut command = cmd("HMGET");
        command.arg(key).arg(&keys);
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let found = list_of(answer).ok_or(CORRUPT)?;
        found
            .iter()
            .map(|value| match value {
                Value::Nil => Ok(None),
                value => read(value).map(Some).ok_or(CORRUPT),
            })
            .collect()
    }

    /// See [`crate::Records::put_record`].
    pub(super) async fn put_record(
        &self,
        kind: &str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> Result<bool, StoreError> {
        let (partition, place) = self.record_place(kind);
        let mut command = scripts::PUT.call(&[place]);
        command.arg(key).arg(version).arg(&value[..]);
        let answer = self.ask(Lane::Quick, partition, command).await?;
        Ok(number_of(&answer).ok_or(CORRUPT)? == 1)
    }

    /// See [`crate::Records::record_page`]. A page ends between two steps of the server's walk;
    /// of a step that is larger than a page, the rest is found again by its keys.
    pub(super) async fn record_page(
        &self,
        kind: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Listed<(String, Record)>, StoreError> {
        let (partition, place) = self.record_place(kind);
        let (mut cursor, mut behind) = match &after {
            None => (0, String::new()),
            Some(text) => read_place(text).ok_or_else(no_page)?,
        };
        let mut items = Vec::new();
        for _ in 0..STEPS {
            let mut command = cmd("HSCAN");
            command
                .arg(&place)
                .arg(cursor)
                .arg("COUNT")
                .arg(STEP.min(limit.div_ceil(2)));
            let answer = self.ask(Lane::Quick, partition, command).await?;
            let (next, mut step) = read_step(answer)?;
            step.retain(|(key, _)| *key > behind);
            step.sort_by(|(one, _), (other, _)| one.cmp(other));
            let room = limit.saturating_sub(items.len());
            if step.len() > room {
                // A step is begun only by a page of its own: behind a key counts in one step.
                if items.is_empty() {
                    step.truncate(room);
                    behind = step.last().map_or(behind, |(key, _)| key.clone());
                    items = step;
                }
                let next = Some(format!("{cursor}:{behind}"));
                return Ok(Listed { items, next });
            }
            items.append(&mut step);
            (cursor, behind) = (next, String::new());
            if next == 0 {
                return Ok(Listed { items, next: None });
            }
        }
        let next = Some(format!("{cursor}:"));
        Ok(Listed { items, next })
    }
}

fn read(value: &Value) -> Option<Record> {
    let bytes = bytes_of(value)?;
    let at = bytes.iter().position(|&byte| byte == b' ')?;
    let version = std::str::from_utf8(bytes.get(..at)?).ok()?.parse().ok()?;
    Some(Record {
        value: Bytes::copy_from_slice(bytes.get(at + 1..)?),
        version,
    })
}

fn read_place(text: &str) -> Option<(u64, String)> {
    let (cursor, behind) = text.split_once(':')?;
    Some((cursor.parse().ok()?, behind.to_owned()))
}

/// The cursor and the records of a step.
fn read_step(answer: Value) -> Result<(u64, Vec<(String, Record)>), StoreError> {
    let mut parts = list_of(answer).ok_or(CORRUPT)?.into_iter();
    let next = parts.next().as_ref().and_then(number_of).ok_or(CORRUPT)?;
    let found = parts.next().and_then(list_of).ok_or(CORRUPT)?;
    let (pairs, _) = found.as_chunks::<2>();
    let pairs = pairs
        .iter()
        .map(|[key, value]| Some((text_of(key)?.to_owned(), read(value)?)));
    Ok((next, pairs.collect::<Option<_>>().ok_or(CORRUPT)?))
}
