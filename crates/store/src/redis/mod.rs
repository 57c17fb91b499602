//! The store in Redis: one server, Sentinel or a cluster.
//!
//! Every write is one script, atomic and safe to repeat; what is announced is published inside it.
//! Commands go over supervised connections (`link.rs`), found by `router.rs`; each feed has a
//! connection of its own (`subscriber.rs`), which is the only place where pushes are read. Keys:
//! `keys.rs`; what stands in them: `codec.rs`, `fields.rs`; scripts: `scripts/`.
//!
//! *Server*: Redis 6.2, a cluster 7.0, or newer; `maxmemory-policy noeviction`. A user of an access
//! control list needs every key and channel under the prefix, and `EVAL EVALSHA SCRIPT INFO ROLE
//! PING HELLO SELECT WAIT CLUSTER` beside reading, writing, publishing and subscribing.
//!
//! *Cost* (Redis 7.0, 200 bytes of payload, in Redis' processor time): 6 to 8 µs per message in
//! batches of 16 to 64, 8 to 9 µs with three nodes following, 16 to 25 µs one by one. Bytes: a
//! session 264, 488 with 5 topics, 1,128 with 20, and 152 for its user; a topic 4,824 with its
//! first entry (less with a smaller `stream-node-max-bytes`), then 280 per entry; a digest 104,
//! kept for one to two windows.

mod append;
mod backend;
mod batch;
mod cluster;
mod codec;
mod control;
mod departed;
mod dial;
mod directory;
mod fault;
mod feed;
mod fields;
mod following;
mod former;
mod handover;
mod keys;
mod layout;
mod lease;
mod link;
mod locate;
mod meter;
mod outbox;
mod presence;
mod read;
mod records;
mod reply;
pub mod resp;
mod revoke;
mod router;
mod scripts;
mod session;
mod settings;
mod subscriber;
mod survey;
mod url;
mod walk;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use redis::Pipeline;
use sparkway_metrics::{RedisMetrics, RedisOp};
use sparkway_protocol::{
    Ephemeral, Epoch, MessageId, NodeId, Partition, Partitions, PresenceChange, SessionId,
    TopicName, UserId,
};
use tokio::sync::mpsc;

use crate::directory::Listed;
use crate::presence::{Members, Move, Standing, Swept};
use crate::record::Range;
use crate::records::{Record, Records};
use crate::{
    Append, Appended, BoxFuture, Claim, ClaimError, Claimed, Control, Detach, Expired, Feed, Hole,
    NodeLease, Open, Opened, Page, Presence, Remember, Revocation, SessionRecord, Store,
    StoreError, Want, WriteError,
};
use backend::{Backend, Settled};
use dial::Dialer;
use keys::Keys;
use link::Live;
use meter::named;
use router::{Lane, Repeat, Router};

pub use settings::{RedisSettings, SettingsError};
pub use url::{Address, Password, RedisUrl, Servers, UrlError};

/// A store in Redis. It must be made and used inside a tokio runtime.
#[derive(Debug)]
pub struct RedisStore {
    backend: Arc<Backend>,
}

impl RedisStore {
    /// Connects, and compares the layout of the data with these settings; lays out an empty Redis.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: not reachable within the command deadline; try again.
    /// [`StoreError::Layout`]: the data, the settings or the certificates do not fit: do not start.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the data may have been laid out.
    pub async fn connect(settings: RedisSettings) -> Result<Self, StoreError> {
        settings
            .check()
            .map_err(|error| StoreError::Layout(error.to_string()))?;
        let dialer = Arc::new(Dialer::new(&settings)?);
        let router = Router::new(&settings, dialer);
        // The first round finds the masters, and two more show who was there before a slot moves.
        for _ in 0..3 {
            router.refresh(std::time::Duration::ZERO).await;
        }
        let layout = layout::settle(&router, &settings).await?;
        let settled = Settled {
            keys: Keys::new(&settings.key_prefix, layout.partitions),
            layout: layout.partitions,
            cluster_key: layout.cluster_key,
            command_deadline: settings.command_deadline,
            replicas: settings.replicas,
            window: settings.idempotency_window,
        };
        let backend = Backend::new(router, settled);
        backend.survey().await?;
        Ok(Self { backend })
    }

    /// Holds a call that asks the server more than once to the one deadline.
    async fn within<T, E: From<StoreError>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let deadline = self.backend.command_deadline;
        match tokio::time::timeout(deadline, call).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unavailable("no answer in time").into()),
        }
    }
}

impl Backend {
    /// A name of another partition would be written where nobody looks for it.
    fn check_topics<'a>(
        &self,
        partition: Partition,
        mut topics: impl Iterator<Item = &'a TopicName>,
    ) -> Result<(), StoreError> {
        match topics.find(|topic| self.layout.of(topic.as_str()) != partition) {
            Some(topic) => Err(StoreError::Layout(format!(
                "topic {topic} is not of partition {}",
                partition.get()
            ))),
            None => Ok(()),
        }
    }

    async fn announce(&self, message: Ephemeral) -> Result<(), StoreError> {
        let partition = self.layout.of(message.topic.as_str());
        let channel = self.keys.channel(partition, &message.topic);
        let bytes = codec::ephemeral(&message);
        let build = |_: &Live| {
            let mut pipeline = Pipeline::with_capacity(1);
            pipeline.cmd(self.publish_word()).arg(&channel).arg(&bytes);
            pipeline
        };
        let slot = self.slot(partition);
        let announced = self.router.call(Lane::Quick, slot, Repeat::Never, build);
        announced.await.map(drop)
    }
}

impl Presence for RedisStore {
    fn move_members(
        &self,
        partition: Partition,
        moves: Vec<Move>,
    ) -> BoxFuture<'_, Result<Vec<PresenceChange>, StoreError>> {
        Box::pin(async move {
            let topics = moves.iter().map(|step| &step.topic);
            self.backend.check_topics(partition, topics)?;
            self.backend.move_members(partition, moves).await
        })
    }

    fn members(
        &self,
        topic: TopicName,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Members, StoreError>> {
        Box::pin(self.within(self.backend.members(topic, after, limit)))
    }

    fn standings(
        &self,
        topic: TopicName,
        users: Vec<UserId>,
    ) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(self.within(self.backend.standings(topic, users)))
    }

    fn sweep_members(
        &self,
        partition: Partition,
        grace_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(self.within(self.backend.sweep_members(partition, grace_ms, limit)))
    }
}

impl Records for RedisStore {
    fn records(
        &self,
        kind: &'static str,
        keys: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>, StoreError>> {
        Box::pin(self.backend.find_records(kind, keys))
    }

    fn put_record(
        &self,
        kind: &'static str,
        key: String,
        value: Bytes,
        version: u64,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.backend.put_record(kind, key, value, version))
    }

    fn record_page(
        &self,
        kind: &'static str,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Listed<(String, Record)>, StoreError>> {
        Box::pin(self.within(self.backend.record_page(kind, after, limit)))
    }
}

impl Store for RedisStore {
    fn metrics(&self) -> Option<RedisMetrics> {
        Some(self.backend.router.metrics().clone())
    }

    fn clock_offset(&self, partition: Partition) -> BoxFuture<'_, Result<f64, StoreError>> {
        Box::pin(named(RedisOp::Clock, self.backend.clock_offset(partition)))
    }

    fn partitions(&self) -> Partitions {
        self.backend.layout
    }

    fn cluster_key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>> {
        Box::pin(async { Ok(self.backend.cluster_key) })
    }

    fn feed(&self, partition: Partition) -> Feed {
        feed::open(Arc::clone(&self.backend), partition)
    }

    fn control(&self, node: &NodeId) -> mpsc::Receiver<Control> {
        control::listen(Arc::clone(&self.backend), node)
    }

    fn append(
        &self,
        partition: Partition,
        batch: Vec<Append>,
    ) -> BoxFuture<'_, Result<Vec<Result<Appended, WriteError>>, StoreError>> {
        Box::pin(named(RedisOp::Append, async move {
            let topics = batch.iter().map(|message| &message.topic);
            self.backend.check_topics(partition, topics)?;
            self.within(self.backend.append(partition, batch)).await
        }))
    }

    fn announce(&self, message: Ephemeral) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(named(RedisOp::Announce, self.backend.announce(message)))
    }

    fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Page>, StoreError>> {
        Box::pin(named(RedisOp::Read, async move {
            let topics = wants.iter().map(|want| &want.topic);
            self.backend.check_topics(partition, topics)?;
            self.within(self.backend.read(partition, wants, limit))
                .await
        }))
    }

    fn history(&self, range: Range) -> BoxFuture<'_, Result<Page, StoreError>> {
        Box::pin(named(RedisOp::History, self.backend.history(range)))
    }

    fn tip(&self, topic: TopicName) -> BoxFuture<'_, Result<MessageId, StoreError>> {
        Box::pin(named(RedisOp::Tip, self.backend.tip(topic)))
    }

    fn clock(&self, partition: Partition) -> BoxFuture<'_, Result<MessageId, StoreError>> {
        Box::pin(named(RedisOp::Clock, self.backend.clock(partition)))
    }

    fn holes(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Hole>, StoreError>> {
        Box::pin(named(RedisOp::Holes, self.backend.holes(partition)))
    }

    fn open(&self, open: Open) -> BoxFuture<'_, Result<Opened, StoreError>> {
        Box::pin(named(RedisOp::Open, self.backend.open(open)))
    }

    fn load(&self, session: SessionId) -> BoxFuture<'_, Result<Option<SessionRecord>, StoreError>> {
        Box::pin(named(RedisOp::Load, self.backend.load(session)))
    }

    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, ClaimError>> {
        Box::pin(named(RedisOp::Claim, self.backend.claim(claim)))
    }

    fn remember(&self, change: Remember) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(named(RedisOp::Remember, self.backend.remember(change)))
    }

    fn restore(&self, record: SessionRecord) -> BoxFuture<'_, Result<Epoch, WriteError>> {
        Box::pin(named(RedisOp::Restore, self.backend.restore(record)))
    }

    fn detach(
        &self,
        partition: Partition,
        sessions: Vec<Detach>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), WriteError>>, StoreError>> {
        Box::pin(named(
            RedisOp::Detach,
            self.within(self.backend.detach(partition, sessions)),
        ))
    }

    fn end(&self, session: SessionId, epoch: Epoch) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(named(RedisOp::End, self.backend.end(session, epoch)))
    }

    fn lease(&self, lease: NodeLease, lease_ms: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(named(
            RedisOp::Lease,
            self.within(self.backend.lease(lease, lease_ms)),
        ))
    }

    fn release(&self, node: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(named(RedisOp::Lease, self.backend.release(node)))
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeLease>, StoreError>> {
        Box::pin(named(RedisOp::Nodes, self.backend.nodes()))
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.within(self.backend.revoke(revocation)))
    }

    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        Box::pin(self.within(self.backend.revocations()))
    }

    fn sweep(
        &self,
        partition: Partition,
        window_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Expired>, StoreError>> {
        Box::pin(named(
            RedisOp::Sweep,
            self.within(self.backend.sweep(partition, window_ms, limit)),
        ))
    }
}
