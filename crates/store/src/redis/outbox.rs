//! Events of a partition: a stream that the scripts of sessions write.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use redis::{Value, cmd};
use sparkway_protocol::{NodeId, Partition};

use super::backend::Backend;
use super::reply::{list_of, number_of, text_of};
use super::router::Lane;
use super::{RedisStore, scripts};
use crate::outbox::{DEAD_LETTERS, Happened, KeptEvent, Matters, Outbox, TakenEvents};
use crate::{BoxFuture, StoreError};

/// Of which matters events are kept.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    sessions: AtomicBool,
    topics: AtomicBool,
    presence: AtomicBool,
}

impl Keeping {
    /// For the scripts of presence: `t` for topics, `p` for their users.
    pub(super) fn word(&self) -> &'static str {
        match (self.topics.load(Relaxed), self.presence.load(Relaxed)) {
            (false, false) => "",
            (true, false) => "t",
            (false, true) => "p",
            (true, true) => "tp",
        }
    }
}

impl Backend {
    /// The keys of a script that changes sessions, with the outbox behind them if events are kept.
    pub(super) fn with_outbox<const N: usize>(
        &self,
        partition: Partition,
        keys: [String; N],
    ) -> Vec<String> {
        let mut keys = Vec::from(keys);
        if self.keeping.sessions.load(Relaxed) {
            keys.push(self.keys.outbox(partition));
        }
        keys
    }

    async fn take_events(
        &self,
        partition: Partition,
        node: NodeId,
        hold_ms: u64,
        limit: usize,
    ) -> Result<TakenEvents, StoreError> {
        let keys = [
            self.keys.outbox(partition),
            self.keys.outbox_turn(partition),
        ];
        let mut command = scripts::TAKE_EVENTS.call(&keys);
        command
            .arg(node.as_str())
            .arg(hold_ms.max(1))
            .arg(limit.max(1));
        let answer = list_of(self.ask(Lane::Quick, partition, command).await?);
        let answer = answer.ok_or(StoreError::Corrupt("events"))?;
        let (waiting, events) = answer.split_first().ok_or(StoreError::Corrupt("events"))?;
        let (events, _) = events.as_chunks::<5>();
        Ok(TakenEvents {
            waiting: number_of(waiting).ok_or(StoreError::Corrupt("events"))?,
            // One that this version does not know stays for a node that does.
            events: events.iter().filter_map(read).collect(),
        })
    }

    async fn settle_events(
        &self,
        partition: Partition,
        ids: Vec<Box<str>>,
        dead: bool,
    ) -> Result<(), StoreError> {
        let keys = [
            self.keys.outbox(partition),
            self.keys.outbox_dead(partition),
        ];
        let mut command = scripts::SETTLE_EVENTS.call(&keys);
        command.arg(u8::from(dead)).arg(DEAD_LETTERS);
        for id in &ids {
            command.arg(&**id);
        }
        self.ask(Lane::Quick, partition, command).await.map(drop)
    }

    async fn dead_events(&self, partition: Partition) -> Result<u64, StoreError> {
        let mut command = cmd("XLEN");
        command.arg(self.keys.outbox_dead(partition));
        let answer = self.ask(Lane::Quick, partition, command).await?;
        number_of(&answer).ok_or(StoreError::Corrupt("dead letters"))
    }
}

fn read([id, kind, session, user, topic]: &[Value; 5]) -> Option<KeptEvent> {
    let id = text_of(id)?;
    let (at_ms, _) = id.split_once('-')?;
    Some(KeptEvent {
        at_ms: at_ms.parse().ok()?,
        id: id.into(),
        kind: Happened::parse(text_of(kind)?)?,
        session: known(session),
        topic: known(topic),
        user: known(user),
    })
}

fn known(value: &Value) -> Option<Box<str>> {
    text_of(value)
        .filter(|text| !text.is_empty())
        .map(Box::from)
}

impl Outbox for RedisStore {
    fn keep_events(&self, matters: Matters) {
        let keeping = &self.backend.keeping;
        keeping.sessions.fetch_or(matters.sessions, Relaxed);
        keeping.topics.fetch_or(matters.topics, Relaxed);
        keeping.presence.fetch_or(matters.presence, Relaxed);
    }

    fn take_events(
        &self,
        partition: Partition,
        node: NodeId,
        hold_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<TakenEvents, StoreError>> {
        Box::pin(self.backend.take_events(partition, node, hold_ms, limit))
    }

    fn settle_events(
        &self,
        partition: Partition,
        ids: Vec<Box<str>>,
        dead: bool,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.backend.settle_events(partition, ids, dead))
    }

    fn dead_events(&self, partition: Partition) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.backend.dead_events(partition))
    }
}
