//! Revocations of tokens: one sorted set for the whole cluster, told to all nodes.

use redis::{Value, cmd};

use super::backend::Backend;
use super::keys;
use super::reply::{list_of, number_of, text_of};
use super::router::Lane;
use super::scripts;
use crate::{Revocation, StoreError};

/// Revocations per page when they are read.
const PAGE: usize = 1000;

impl Backend {
    /// See [`crate::Store::revoke`].
    pub(super) async fn revoke(&self, revocation: Revocation) -> Result<(), StoreError> {
        let key = self.keys.revoked();
        let slot = keys::slot(&key);
        let mut command = scripts::REVOKE.call(&[key]);
        command
            .arg(&*revocation.what)
            .arg(revocation.until_ms)
            .arg(Revocation::COUNT_MAX)
            .arg(self.keys.revocations());
        match number_of(&self.ask_slot(Lane::Quick, slot, command).await?) {
            Some(1) => Ok(()),
            Some(_) => Err(StoreError::Unavailable("too many revocations")),
            None => Err(StoreError::Corrupt("revocation")),
        }
    }

    /// See [`crate::Store::revocations`].
    pub(super) async fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let key = self.keys.revoked();
        let slot = keys::slot(&key);
        let mut all = Vec::new();
        loop {
            let mut command = cmd("ZREVRANGE");
            command
                .arg(&key)
                .arg(all.len())
                .arg(all.len() + PAGE - 1)
                .arg("WITHSCORES");
            let page = self.ask_slot(Lane::Quick, slot, command).await?;
            let found = read(&page).ok_or(StoreError::Corrupt("revocations"))?;
            let is_last = found.len() < PAGE;
            all.extend(found);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// A page of members and scores: pairs in RESP3, a flat list in RESP2.
fn read(page: &Value) -> Option<Vec<Revocation>> {
    let one = |what: &Value, until: &Value| {
        let until = match until {
            Value::Double(until) => format!("{until:.0}"),
            other => text_of(other)?.to_owned(),
        };
        Some(Revocation {
            what: text_of(what)?.into(),
            until_ms: until.parse().ok()?,
        })
    };
    let items = list_of(page.clone())?;
    if items.iter().all(|item| matches!(item, Value::Array(_))) {
        let pair = |item: &Value| match item {
            Value::Array(pair) => one(pair.first()?, pair.get(1)?),
            _ => None,
        };
        return items.iter().map(pair).collect();
    }
    let (pairs, _) = items.as_chunks::<2>();
    pairs.iter().map(|[what, until]| one(what, until)).collect()
}
