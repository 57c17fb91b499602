//! The only state that outlives a node: topic logs, session records, node leases.
//!
//! *In*: what the gateway carries out for sessions ([`Append`], [`Claim`], [`Remember`], …).
//! *Out*: answers, and per partition a [`Feed`] of what was published anywhere in the cluster.
//!
//! *Guarantees*: written on the [`Store`] trait, checked for every backend by the one suite in
//! `conformance` (behind the feature of that name). Two backends: [`memory`] (embedded) and
//! [`redis`].
//!
//! *Never*: decides what a session may do, or what a gap means; never acknowledges what is not
//! stored.
//!
//! *Next*: `sparkway-hub`, which hands entries to the connections of this node.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod directory;
pub mod error;
pub mod feed;
pub mod memory;
pub mod outbox;
pub mod planted;
pub mod presence;
pub mod record;
pub mod records;
pub mod redis;

use std::fmt;
use std::sync::Arc;

pub use futures_util::future::BoxFuture;
use sparkway_metrics::RedisMetrics;
use sparkway_protocol::{
    Entry, Ephemeral, Epoch, MessageId, NodeId, Partition, Partitions, SessionId, TopicName,
};

pub use directory::Directory;
pub use error::{ClaimError, StoreError, WriteError};
pub use feed::{Control, Feed, FeedEvent, FeedHandle, Marked};
pub use outbox::{Happened, KeptEvent, Matters, Outbox, TakenEvents};
pub use presence::Presence;
pub use record::{
    Append, Appended, Claim, Claimed, Detach, Expired, Hole, NodeLease, OnlyOne, Open, Opened,
    Page, Remember, Retention, Revocation, SessionRecord, Subscription, Want,
};
pub use records::Records;

/// What every backend promises. All methods may be called from any task at any time; every write
/// is safe to repeat after an error, which never says whether the write happened.
///
/// Deadlines: every method ends within the backend's configured deadline (default 2 s) and answers
/// [`StoreError::Unavailable`] then. Dropping a future leaves the write either done or not done,
/// never half done.
pub trait Store:
    Directory + Outbox + Presence + Records + fmt::Debug + Send + Sync + 'static
{
    /// What is counted of the calls of a backend that is a process of its own; `None` for one that
    /// is not.
    fn metrics(&self) -> Option<RedisMetrics> {
        None
    }

    /// Seconds that this node's clock is ahead of the one behind a partition; 0 where both are the
    /// same clock.
    ///
    /// # Errors
    /// [`StoreError`]: not known now.
    fn clock_offset(&self, _: Partition) -> BoxFuture<'_, Result<f64, StoreError>> {
        Box::pin(async { Ok(0.0) })
    }

    /// How many partitions the data has: fixed for the life of the data.
    fn partitions(&self) -> Partitions;

    /// 32 secret bytes, the same on every node, made once for the life of the data.
    ///
    /// # Errors
    /// [`StoreError`]: the caller cannot issue or check heartbeat tokens yet; retry.
    fn cluster_key(&self) -> BoxFuture<'_, Result<[u8; 32], StoreError>>;

    /// Opens the feed of one partition: see [`FeedEvent`] for its promises. The feed reconnects by
    /// itself for as long as the returned value lives.
    fn feed(&self, partition: Partition) -> Feed;

    /// What other nodes tell this one. At most once: may be lost while the connection is down, so
    /// every fact behind it is also found by a fenced write, or can be read again after
    /// [`Control::Restored`].
    fn control(&self, node: &NodeId) -> tokio::sync::mpsc::Receiver<Control>;

    /// Appends entries to the logs of topics of one partition and announces them, in order.
    ///
    /// Per message, atomically: if the idempotency digest is known, answers the first id with
    /// `duplicate`; if the fence does not hold, [`WriteError::Fenced`]; else gives the next id of
    /// the partition, links it to the topic's entry before it, stores, trims, and announces it to
    /// every feed that follows the topic. Ids rise over all topics of the partition for ever, also
    /// after the store lost its newest writes. A digest is remembered for at least the idempotency
    /// window. Nothing is announced that is not stored.
    ///
    /// At most [`sparkway_protocol::limits::APPEND_BATCH`] messages; answers in their order.
    ///
    /// # Errors
    /// Outer: nothing is known about any of them. Inner: that one was not stored.
    fn append(
        &self,
        partition: Partition,
        batch: Vec<Append>,
    ) -> BoxFuture<'_, Result<Vec<Result<Appended, WriteError>>, StoreError>>;

    /// Announces something that is not kept, to every feed that follows its topic. At most once.
    ///
    /// # Errors
    /// [`StoreError`]: it may or may not have been announced.
    fn announce(&self, message: Ephemeral) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Reads forward from the logs of topics of one partition: per [`Want`] the entries after it,
    /// in order, at most `limit` each. A page that holds `limit` entries has `more`. Pages are in
    /// the order of the wants. An entry that was appended before the call is in the page, unless
    /// trimmed or behind `limit`.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was read; retry.
    fn read(
        &self,
        partition: Partition,
        wants: Vec<Want>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Page>, StoreError>>;

    /// Reads a page of one log between two ids (both exclusive), newest first when `reverse`.
    /// `more` says whether the log holds further entries in the range.
    ///
    /// # Errors
    /// [`StoreError`]: nothing was read; retry.
    fn history(&self, range: record::Range) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// The newest id given in a topic, [`MessageId::ZERO`] when it never had one (or was idle for
    /// so long that nothing of it is kept).
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn tip(&self, topic: TopicName) -> BoxFuture<'_, Result<MessageId, StoreError>>;

    /// The newest id given in a partition: everything appended before the call is at or below it.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn clock(&self, partition: Partition) -> BoxFuture<'_, Result<MessageId, StoreError>>;

    /// The intervals of ids that the store may have lost, oldest first, at most 16.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn holes(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Hole>, StoreError>>;

    /// Creates a session, attached to a node. With [`Open::only_one`], atomically removes other
    /// sessions of the user and tells their owners: exactly one survives any race.
    ///
    /// # Errors
    /// [`StoreError`]: the session may or may not exist; repeat with the same id, or let it expire.
    fn open(&self, open: Open) -> BoxFuture<'_, Result<Opened, StoreError>>;

    /// Reads a session record, attached or detached.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn load(&self, session: SessionId) -> BoxFuture<'_, Result<Option<SessionRecord>, StoreError>>;

    /// Takes a session over, atomically: checks the generation, raises the epoch, makes the node
    /// its owner, removes it from the detached ones, and tells the former owner within the same
    /// step. From then on every write under an older epoch is refused. The epoch is one that no claim
    /// of the session has had, also none that the store has lost, unless its clock was set back.
    ///
    /// # Errors
    /// [`ClaimError`]: unknown, or the token's generation is not valid; or the store is away, then
    /// the claim may have happened and is safe to repeat.
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, ClaimError>>;

    /// Writes changes to a session under its epoch.
    ///
    /// # Errors
    /// [`WriteError::Fenced`]: somebody else owns it: close the connection. [`WriteError::Gone`]:
    /// no record: write it again with [`Store::restore`]. [`WriteError::Store`]: repeat.
    fn remember(&self, change: Remember) -> BoxFuture<'_, Result<(), WriteError>>;

    /// Writes a whole record again after the store lost it, with its epoch raised by one. The owner
    /// of an older record that stood there is told.
    ///
    /// # Errors
    /// [`WriteError::Fenced`]: a record exists that is not older.
    fn restore(&self, record: SessionRecord) -> BoxFuture<'_, Result<Epoch, WriteError>>;

    /// Marks sessions as without a connection, each under its epoch, with a deadline after which
    /// they expire. Answers in order.
    ///
    /// # Errors
    /// Outer: unknown for all. Inner: as [`Store::remember`].
    fn detach(
        &self,
        partition: Partition,
        sessions: Vec<Detach>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), WriteError>>, StoreError>>;

    /// Ends a session at once, under its epoch.
    ///
    /// # Errors
    /// As [`Store::remember`]; a missing record is a success.
    fn end(&self, session: SessionId, epoch: Epoch) -> BoxFuture<'_, Result<(), WriteError>>;

    /// Renews the lease of a node for `lease_ms` and publishes its load.
    ///
    /// # Errors
    /// [`StoreError`]: repeat before the lease runs out.
    fn lease(&self, lease: NodeLease, lease_ms: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Gives a lease up; the node's remaining sessions become detached at the next sweep.
    ///
    /// # Errors
    /// [`StoreError`]: the lease runs out by itself.
    fn release(&self, node: NodeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All nodes whose lease holds.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeLease>, StoreError>>;

    /// Keeps a revocation until its time is over and tells all nodes of it ([`Control::Revoked`]).
    /// Safe to repeat; the later end counts.
    ///
    /// # Errors
    /// [`StoreError`]: repeat it; also when [`Revocation::COUNT_MAX`] are kept already.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All revocations that are not over.
    ///
    /// # Errors
    /// [`StoreError`]: retry.
    fn revocations(&self) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>>;

    /// Detaches the sessions of nodes whose lease ran out (their window begins now) and removes
    /// detached sessions whose deadline passed; one that was detached only by a lapsed lease, and
    /// whose owner holds a lease again by then, is attached again instead. Each expired session is
    /// returned by exactly one call in the cluster. Handles at most `limit` of each; call again while it returns as many.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is lost; the next sweep goes on.
    fn sweep(
        &self,
        partition: Partition,
        window_ms: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Expired>, StoreError>>;
}

/// A store, shared by every part of a node (and by all nodes of one process in `sparkway dev`).
pub type SharedStore = Arc<dyn Store>;

/// An entry as it is shared between ring, hub and feeds.
pub type SharedEntry = Arc<Entry>;
