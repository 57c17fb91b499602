//! Listings and removal, in memory: pages are in the order of their keys.

use sparkway_protocol::{CloseReason, MessageId, NodeId, Partition, SessionId, TopicName};

use super::{MemoryStore, lock};
use crate::directory::{Directory, Listed, SessionQuery, SessionsOf, TopicQuery, TopicSummary};
use crate::{BoxFuture, Control, SessionRecord, StoreError};

impl Directory for MemoryStore {
    fn sessions(
        &self,
        partition: Partition,
        query: SessionQuery,
    ) -> BoxFuture<'_, Result<Listed<SessionRecord>, StoreError>> {
        Box::pin(async move {
            let after = match &query.after {
                None => None,
                Some(text) => Some(SessionId::parse(text).ok_or_else(no_page)?),
            };
            let sessions = lock(&self.cell(partition)?.sessions);
            let ids = match &query.of {
                SessionsOf::All => sessions.ids(),
                SessionsOf::Node(node) => sessions.ids_of_node(node),
                SessionsOf::Detached => sessions.ids_detached(),
                SessionsOf::User(user) => sessions.ids_of_user(user),
            };
            let found = page(ids, after.as_ref(), query.limit);
            Ok(Listed {
                items: found
                    .items
                    .into_iter()
                    .filter_map(|session| sessions.load(session))
                    .collect(),
                next: found.next.map(|last| last.to_string()),
            })
        })
    }

    fn topics(
        &self,
        partition: Partition,
        query: TopicQuery,
    ) -> BoxFuture<'_, Result<Listed<TopicSummary>, StoreError>> {
        Box::pin(async move {
            let after = match &query.after {
                None => None,
                Some(text) => Some(TopicName::parse(text).map_err(|_| no_page())?),
            };
            let logs = lock(&self.cell(partition)?.logs);
            let found = page(logs.names(&query.prefix), after.as_ref(), query.limit);
            Ok(Listed {
                items: found
                    .items
                    .into_iter()
                    .map(|topic| TopicSummary {
                        tip: logs.tip(&topic),
                        entries: logs.length(&topic),
                        topic,
                    })
                    .collect(),
                next: found.next.map(|last| last.to_string()),
            })
        })
    }

    fn log_length(&self, topic: TopicName) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move { Ok(lock(&self.cell_of(&topic)?.logs).length(&topic)) })
    }

    fn trim(&self, topic: TopicName, until: MessageId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if let Some(log) = lock(&self.cell_of(&topic)?.logs).topics.get_mut(&topic) {
                log.trim_until(until);
            }
            Ok(())
        })
    }

    fn remove(
        &self,
        session: SessionId,
        reason: CloseReason,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let Ok(cell) = self.cell(session.partition()) else {
                return Ok(false);
            };
            let now_ms = self.now_ms();
            let mut sessions = lock(&cell.sessions);
            let known = sessions.load(session).is_some();
            sessions.remove_for_another(session, reason, now_ms, &lock(&self.nodes));
            Ok(known)
        })
    }

    fn tell(&self, node: NodeId, control: Control) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.nodes).tell(&node, &control);
            Ok(())
        })
    }
}

fn no_page() -> StoreError {
    StoreError::Layout("no end of a page".to_owned())
}

struct Found<K> {
    items: Vec<K>,
    next: Option<K>,
}

/// The first keys after `after`, in order. Reads all keys, sorts only those of the page.
fn page<K: Ord + Clone>(keys: Vec<K>, after: Option<&K>, limit: usize) -> Found<K> {
    let mut items: Vec<K> = keys
        .into_iter()
        .filter(|key| after.is_none_or(|after| key > after))
        .collect();
    let goes_on = items.len() > limit;
    if goes_on {
        items.select_nth_unstable(limit);
        items.truncate(limit);
    }
    items.sort_unstable();
    let next = goes_on.then(|| items.last().cloned()).flatten();
    Found { items, next }
}
