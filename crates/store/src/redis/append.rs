//! Appends batches of messages: one script call each, safe to repeat.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use redis::Pipeline;
use sparkway_protocol::{Durability, Epoch, Partition, SessionId, limits};
use tokio::time::Instant;

use super::backend::Backend;
use super::batch::{Batch, Elsewhere, Held, How, Results, all_stored, read_answer};
use super::link::Live;
use super::reply::{bytes_of, list_of, number_of, only, text_of};
use super::router::{Lane, Repeat};
use crate::{Append, StoreError, WriteError};

/// WAIT may take the command deadline divided by this.
const WAIT_SHARE: u32 = 2;
/// How often a node asks for the expiry of a bucket to be set, as a part of the bucket's length.
const RENEW_SHARE: u64 = 4;

/// The time buckets of one partition's digests, as this node believes them to be.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Partition time minus this node's time, in milliseconds, as a wrapped difference.
    ahead_ms: AtomicU64,
    /// The bucket whose expiry this node has set, plus one.
    expiring: AtomicU64,
    /// Node time at which the expiry is to be set again.
    renew_at_ms: AtomicU64,
}

impl Buckets {
    fn base(&self, length_ms: u64) -> u64 {
        let time = now_ms().wrapping_add(self.ahead_ms.load(Ordering::Relaxed));
        time / length_ms
    }

    /// The bucket whose expiry needs no setting, plus one; 0 when every one does.
    fn expiring(&self) -> u64 {
        if now_ms() >= self.renew_at_ms.load(Ordering::Relaxed) {
            return 0;
        }
        self.expiring.load(Ordering::Relaxed)
    }

    /// Takes the partition's time from an answer.
    fn learn(&self, partition_ms: u64) {
        let ahead = partition_ms.wrapping_sub(now_ms());
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// The bucket of this time was written with its expiry.
    fn written(&self, partition_ms: u64, length_ms: u64) {
        let bucket = partition_ms / length_ms + 1;
        if self.expiring() != bucket {
            let next = now_ms() + length_ms / RENEW_SHARE;
            self.renew_at_ms.store(next, Ordering::Relaxed);
            self.expiring.store(bucket, Ordering::Relaxed);
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

impl Backend {
    /// See [`crate::Store::append`].
    pub(super) async fn append(
        &self,
        partition: Partition,
        messages: Vec<Append>,
    ) -> Result<Results, StoreError> {
        if messages.len() > limits::APPEND_BATCH {
            return Err(StoreError::Corrupt("more messages than one call may hold"));
        }
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let elsewhere = self.fences_elsewhere(partition, &messages).await?;
        let batch = Batch::new(partition, &messages, &elsewhere);
        let replicated = |message: &Append| message.durability == Durability::Replicated;
        let lane = if messages.iter().any(replicated) {
            Lane::Replicated
        } else {
            Lane::Quick
        };
        let (live, mut results) = self.run_batch(lane, &batch).await?;
        let confirmed = lane != Lane::Replicated || self.is_replicated(&live).await;
        let heard = self.heard_of(partition, &live.run_id);
        for (message, result) in messages.iter().zip(&mut results) {
            let Ok(appended) = result else { continue };
            self.note_id(partition, appended.id);
            if let Some(heard) = &heard {
                heard.note(appended.id);
            }
            if replicated(message) && !confirmed {
                *result = Err(WriteError::Store(StoreError::NotReplicated));
            }
        }
        if results.len() == messages.len() {
            Ok(results)
        } else {
            Err(StoreError::Corrupt("append answered too little"))
        }
    }

    /// Whether enough replicas have what was written over this connection. Not knowing counts as
    /// no: the repeat writes the digest again and waits again.
    async fn is_replicated(&self, live: &Live) -> bool {
        let deadline = Instant::now() + self.command_deadline / WAIT_SHARE;
        match live.replicas(self.replicas, deadline).await {
            Ok(replicas) => replicas >= u64::from(self.replicas),
            Err(_) => false,
        }
    }

    /// Runs the script until its time buckets fit; results per message, and the connection.
    async fn run_batch(
        &self,
        lane: Lane,
        batch: &Batch<'_>,
    ) -> Result<(Arc<Live>, Results), StoreError> {
        let buckets = self.buckets(batch.partition);
        let mut settled = !self.may_inherit();
        loop {
            let expiring = buckets.expiring();
            let build = |live: &Live| {
                let mut pipeline = Pipeline::with_capacity(1);
                let base = buckets.base(self.bucket_ms);
                let how = How {
                    base,
                    expiring,
                    settled,
                };
                pipeline.add_command(batch.command(self, live, how));
                pipeline
            };
            let slot = self.slot(batch.partition);
            let called = self.router.call_over(lane, slot, Repeat::Safe, build);
            let (live, answers) = called.await?;
            let mut answers = list_of(only(answers)?).unwrap_or_default();
            if answers.len() < 2 {
                return Err(StoreError::Corrupt("append"));
            }
            let rest = answers.split_off(2);
            let time = answers.get(1).and_then(number_of);
            let time = time.ok_or(StoreError::Corrupt("append without a time"))?;
            buckets.learn(time);
            match answers.first().and_then(bytes_of) {
                Some(b"ok") => {
                    buckets.written(time, self.bucket_ms);
                    let results = rest.iter().map(read_answer).collect();
                    return Ok((live, results));
                }
                Some(b"all") => {
                    buckets.written(time, self.bucket_ms);
                    let first = rest.first().ok_or(StoreError::Corrupt("append"))?;
                    return Ok((live, all_stored(first, batch.messages.len())));
                }
                Some(b"unsettled") => {
                    if let Some(former) = rest.first().and_then(text_of) {
                        self.inherit(batch.partition, former, &live.run_id).await?;
                    }
                    settled = true;
                }
                _ => {}
            }
        }
    }

    /// Sessions of other partitions cannot be checked inside the script: they are asked first.
    /// A takeover between this check and the append is not seen.
    async fn fences_elsewhere(
        &self,
        partition: Partition,
        messages: &[Append],
    ) -> Result<Elsewhere, StoreError> {
        let mut elsewhere = Elsewhere::new();
        for fence in messages.iter().filter_map(|message| message.fence) {
            let (session, epoch) = fence;
            if session.partition() == partition || elsewhere.contains_key(&fence) {
                continue;
            }
            let held = match self.epoch_of(session).await? {
                Some(stored) if stored > epoch => Held::No,
                Some(stored) if stored == epoch => Held::Yes,
                _ => Held::Gone,
            };
            elsewhere.insert(fence, held);
        }
        Ok(elsewhere)
    }

    async fn epoch_of(&self, session: SessionId) -> Result<Option<Epoch>, StoreError> {
        if !self.has(session.partition()) {
            return Ok(None);
        }
        let key = self.keys.session(session);
        let slot = self.slot(session.partition());
        let build = |_: &Live| {
            let mut pipeline = redis::pipe();
            pipeline.cmd("HGET").arg(&key).arg("ep");
            pipeline
        };
        let answers = self
            .router
            .call(Lane::Quick, slot, Repeat::Safe, build)
            .await?;
        Ok(answers.first().and_then(number_of).map(Epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_the_partitions_time_however_far_the_nodes_clock_is_off() {
        let buckets = Buckets::default();
        for offset_ms in [0_i64, 3_600_000, -3_600_000, -1_800_000_000_000] {
            let partition_ms = now_ms().saturating_add_signed(offset_ms);
            buckets.learn(partition_ms);
            let base = buckets.base(1000);
            assert!(
                base == partition_ms / 1000 || base == partition_ms / 1000 + 1,
                "{base} at {partition_ms}"
            );
        }
    }

    #[test]
    fn expiry_of_a_bucket_is_set_once_and_again_for_the_next_bucket() {
        let buckets = Buckets::default();
        assert_eq!(buckets.expiring(), 0, "nothing is set yet");
        buckets.written(5_000_000, 1_000_000);
        assert_eq!(buckets.expiring(), 6);
        buckets.written(5_999_999, 1_000_000);
        assert_eq!(buckets.expiring(), 6);
        buckets.written(6_000_000, 1_000_000);
        assert_eq!(buckets.expiring(), 7);
    }
}
