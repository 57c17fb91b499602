//! A node's word to itself through the feed of every partition: it shows that the node can hear,
//! which no error says when a subscriber connection is held open by something that is not Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sparkway_protocol::{Ephemeral, NodeId, Partition, Partitions, Payload, TopicName};
use sparkway_store::feed::FeedRequest;

use crate::shared::{Lot, Shared};

/// Between two words.
const EVERY: Duration = Duration::from_secs(5);
/// So many words that the store took and that did not come back are one too many: the feed is
/// connected anew. Three, so that a repair or a reconnect under way has time to end.
const UNHEARD_MAX: u32 = 3;

/// What a reader knows of its partition's canary.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) topic: TopicName,
    /// When it was heard last, in monotonic milliseconds.
    heard_ms: AtomicU64,
}

impl Canary {
    /// The canary of a node in a partition, heard now; `None` where the node's name leaves no room
    /// for that of a topic.
    fn of(
        node: &NodeId,
        (layout, partition): (Partitions, Partition),
        now_ms: u64,
    ) -> Option<Self> {
        let mut names = (0_u32..).map(|at| format!("$canary:{at}:{node}"));
        let name = names.find(|name| layout.of(name) == partition)?;
        Some(Self {
            topic: TopicName::parse(&name).ok()?,
            heard_ms: AtomicU64::new(now_ms),
        })
    }

    /// Whether a message is this node's word to itself; then it has been heard.
    pub(crate) fn hears(&self, message: &Ephemeral, now_ms: u64) -> bool {
        let is_it = message.topic == self.topic;
        if is_it {
            self.heard_ms.store(now_ms, Ordering::Relaxed);
        }
        is_it
    }

    /// Milliseconds since it was heard.
    pub(crate) fn silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }
}

/// Speaks and listens for as long as the node lives.
pub(crate) async fn sing(shared: Arc<Shared>, partition: Partition) {
    let Some(lot) = shared.lot(partition) else {
        return;
    };
    let place = (shared.layout, partition);
    let canary = Canary::of(&shared.id, place, shared.clock.mono_ms());
    let Some(canary) = canary.map(|canary| lot.canary.get_or_init(|| canary)) else {
        return;
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_followed = false;
    let mut unheard = 0;
    let mut heard_ms = 0;
    loop {
        ticks.tick().await;
        if !is_followed {
            let topics = std::slice::from_ref(&canary.topic);
            is_followed = shared.make_live(topics).await.is_ok();
            if !is_followed {
                shared.unwant(&canary.topic);
                continue;
            }
        }
        let now_heard_ms = canary.heard_ms.load(Ordering::Relaxed);
        if now_heard_ms != heard_ms {
            (heard_ms, unheard) = (now_heard_ms, 0);
        }
        if unheard >= UNHEARD_MAX {
            unheard = 0;
            shared.renew(lot, partition).await;
        }
        let word = Ephemeral {
            topic: canary.topic.clone(),
            from: None,
            origin: None,
            exclude_origin: false,
            payload: Payload::json("0".into()),
        };
        // A store that does not take it says nothing of the feed.
        if shared.store.announce(word).await.is_ok() {
            unheard += 1;
        }
    }
}

impl Shared {
    async fn renew(&self, lot: &Lot, partition: Partition) {
        tracing::warn!(
            partition = partition.get(),
            "the store takes what this node says and the feed does not bring it: connecting anew"
        );
        self.metrics.store.bus_renewals.inc();
        // A request that cannot be made any more means that the feed has ended.
        lot.feed.request(FeedRequest::Renew).await;
    }

    /// How long this node has not heard its own word, where that is longest: at most a few seconds
    /// where feeds and store work. In milliseconds.
    pub(crate) fn silence_ms(&self) -> u64 {
        let now_ms = self.clock.mono_ms();
        let lots = self.lots.iter();
        let canaries = lots.filter_map(|lot| lot.canary.get());
        canaries
            .map(|canary| canary.silence_ms(now_ms))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_canary_of_its_own_that_hears_only_itself() {
        let layout = Partitions::new(16).unwrap();
        let node = NodeId::parse("pod-1").unwrap();
        for partition in layout.iter() {
            let canary = Canary::of(&node, (layout, partition), 100).unwrap();
            assert_eq!(layout.of(canary.topic.as_str()), partition);
            assert!(canary.topic.is_reserved(), "no client may follow it");
            let mut word = Ephemeral {
                topic: canary.topic.clone(),
                from: None,
                origin: None,
                exclude_origin: false,
                payload: Payload::json("0".into()),
            };
            assert_eq!(canary.silence_ms(5100), 5000);
            assert!(canary.hears(&word, 5000));
            assert_eq!(canary.silence_ms(5100), 100);
            word.topic = TopicName::parse("$canary:0:pod-2").unwrap();
            assert!(!canary.hears(&word, 9000));
        }
    }
}
