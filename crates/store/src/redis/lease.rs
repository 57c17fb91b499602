//! Leases of nodes, and the sweep that follows when one runs out.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redis::{Value, cmd};
use sparkway_protocol::{NodeId, Partition, SessionId, UserId};

use super::backend::Backend;
use super::keys;
use super::layout;
use super::reply::{bytes_of, list_of, text_of};
use super::router::Lane;
use super::scripts;
use super::session::{EXPIRY_MS, KEEP_MS};
use crate::{Expired, NodeLease, StoreError};

/// Most sessions that one sweep handles: the script runs for a few milliseconds then.
const SWEEP_MAX: usize = 1000;
/// A lease is forgotten so long after it ran out, in milliseconds.
const FORGET_MS: u64 = 60_000;

impl Backend {
    async fn ask_nodes(&self, command: redis::Cmd) -> Result<Value, StoreError> {
        let slot = keys::slot(&self.keys.nodes());
        self.ask_slot(Lane::Quick, slot, command).await
    }

    /// See [`crate::Store::lease`].
    pub(super) async fn lease(&self, lease: NodeLease, lease_ms: u64) -> Result<(), StoreError> {
        let load = format!(
            "{} {} {} {lease_ms}",
            lease.connections,
            lease.spare_accepts_per_second,
            u8::from(lease.draining)
        );
        let mut command = scripts::LEASE.call(&[self.keys.nodes()]);
        command
            .arg(lease.node.as_str())
            .arg(lease_ms.max(1))
            .arg(load);
        self.ask_nodes(command).await?;
        // Every few seconds on every node: soon enough after a server came back empty.
        if let Err(error) = layout::affirm(self).await {
            tracing::error!(%error, "layout of the store is not this node's any more");
        }
        Ok(())
    }

    /// See [`crate::Store::clock_offset`]. Half of the way there and back is taken for the way
    /// there.
    pub(super) async fn clock_offset(&self, partition: Partition) -> Result<f64, StoreError> {
        let corrupt = || StoreError::Corrupt("TIME");
        let (before, began) = (SystemTime::now(), Instant::now());
        let answer = self.ask(Lane::Quick, partition, cmd("TIME")).await?;
        let here = before + began.elapsed() / 2;
        let here = here.duration_since(UNIX_EPOCH).unwrap_or_default();
        let answer = list_of(answer).ok_or_else(corrupt)?;
        let mut parts = answer
            .iter()
            .map(text_of)
            .map(|part| part?.parse::<f64>().ok());
        let (seconds, micros) = (parts.next().flatten(), parts.next().flatten());
        let there = seconds.zip(micros).ok_or_else(corrupt)?;
        Ok(here.as_secs_f64() - there.0 - there.1 / 1e6)
    }

    /// See [`crate::Store::release`].
    pub(super) async fn release(&self, node: NodeId) -> Result<(), StoreError> {
        let mut command = scripts::LEASE.call(&[self.keys.nodes()]);
        command.arg(node.as_str()).arg(0).arg("");
        self.ask_nodes(command).await.map(drop)
    }

    /// See [`crate::Store::nodes`].
    pub(super) async fn nodes(&self) -> Result<Vec<NodeLease>, StoreError> {
        let mut command = scripts::NODES.call(&[self.keys.nodes()]);
        command.arg(FORGET_MS);
        let answer = list_of(self.ask_nodes(command).await?);
        let answer = answer.ok_or(StoreError::Corrupt("leases"))?;
        let (pairs, _) = answer.as_chunks::<2>();
        pairs
            .iter()
            .map(|[node, load]| read_lease(node, load).ok_or(StoreError::Corrupt("lease")))
            .collect()
    }

    /// See [`crate::Store::sweep`].
    pub(super) async fn sweep(
        &self,
        partition: Partition,
        window_ms: u64,
        limit: usize,
    ) -> Result<Vec<Expired>, StoreError> {
        let sweeps = self.sweeps(partition);
        let mut sweeps = sweeps
            .ok_or(StoreError::Corrupt("no such partition"))?
            .lock()
            .await;
        // First who has sessions here, then who lives: a node renews its lease before it opens a
        // session, so that none of those found is missing among the living by mistake.
        let mut command = cmd("SMEMBERS");
        command.arg(self.keys.hosts(partition));
        let hosts = self.ask(Lane::Quick, partition, command).await?;
        let living = self.nodes().await?;
        let is_living = |node: &str| living.iter().any(|lease| lease.node.as_str() == node);
        let hosts = list_of(hosts).unwrap_or_default();
        let hosts = hosts.iter().filter_map(text_of);
        let dead: Vec<&str> = hosts.filter(|node| !is_living(node)).collect();

        let mut command = scripts::SWEEP.call(&self.with_outbox(
            partition,
            [
                self.keys.detached(partition),
                self.keys.hosts(partition),
                self.keys.swept(partition, self.sweeper),
                self.keys.session_stem(partition),
                self.keys.user_stem(partition),
                self.keys.node_stem(partition),
            ],
        ));
        command
            .arg(*sweeps)
            .arg(limit.clamp(1, SWEEP_MAX))
            .arg(window_ms)
            .arg(KEEP_MS)
            .arg(EXPIRY_MS)
            .arg(dead.len())
            .arg(&dead[..]);
        for lease in &living {
            command.arg(lease.node.as_str());
        }
        let answer = list_of(self.ask(Lane::Quick, partition, command).await?);
        *sweeps += 1;
        let answer = answer.ok_or(StoreError::Corrupt("sweep"))?;
        let (found, _) = answer.as_chunks::<3>();
        found
            .iter()
            .map(|expired| read_expired(expired).ok_or(StoreError::Corrupt("sweep")))
            .collect()
    }
}

fn read_lease(node: &Value, load: &Value) -> Option<NodeLease> {
    let mut words = text_of(load)?.split(' ');
    Some(NodeLease {
        node: NodeId::parse(text_of(node)?).ok()?,
        connections: words.next()?.parse().ok()?,
        spare_accepts_per_second: words.next()?.parse().ok()?,
        draining: words.next()? == "1",
    })
}

fn read_expired([session, last, user]: &[Value; 3]) -> Option<Expired> {
    Some(Expired {
        session: SessionId::parse(text_of(session)?)?,
        user: match text_of(user)? {
            "" => None,
            user => Some(UserId::parse(user).ok()?),
        },
        last_of_user: bytes_of(last)? == b"1",
    })
}
