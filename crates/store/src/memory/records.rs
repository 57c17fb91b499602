//! Records of an application, in memory: one lock for all kinds.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{MemoryStore, lock};
use crate::directory::Listed;
use crate::records::{Record, Records};
use crate::{BoxFuture, StoreError};

/// All records, by kind and key.
#[derive(Debug, Default)]
pub(super) struct Cabinet {
    kinds: BTreeMap<&'static str, BTreeMap<String, Record>>,
}

impl Cabinet {
    fn put(&mut self, kind: &'static str, key: String, value: Bytes, version: u64) -> bool {
        let records = self.kinds.entry(kind).or_default();
        let known = records.get(&key);
        let is_repeat =
            known.is_some_and(|known| known.version == version + 1 && known.value == value);
        if is_repeat {
            return true;
        }
        if known.map_or(0, |known| known.version) != version {
            return false;
        }
        let version = version + 1;
        records.insert(key, Record { value, version });
        true
    }
}

impl Records for MemoryStore {
    fn records(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        Box::pin(async move {
            let cabinet = lock(&self.cabinet);
            let records = cabinet.kinds.get(kind);
            let find = |key: &String| records.and_then(|records| records.get(key).cloned());
            Ok(keys.iter().map(find).collect())
        })
    }

    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move { Ok(lock(&self.cabinet).put(kind, key, value, version)) })
    }

    fn record_page(
        &self,
        kind: &'static str,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Listed<(String, Record)>, StoreError>> {
        Box::pin(async move {
            let cabinet = lock(&self.cabinet);
            let records = cabinet.kinds.get(kind).into_iter().flatten();
            let mut rest =
                records.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
            let page = rest.by_ref().take(limit);
            let items: Vec<_> = page
                .map(|(key, record)| (key.clone(), record.clone()))
                .collect();
            let more = rest.next().is_some();
            Ok(Listed {
                next: items.last().filter(|_| more).map(|(key, _)| key.clone()),
                items,
            })
        })
    }
}
