//! Where a subscription with `since` or `rewind` begins, and what it replays.

use sparkway_protocol::{Event, MessageId, Since, TopicName};
use sparkway_session::StoreFailure;
use sparkway_store::record::Range;
use sparkway_store::{SharedEntry, Subscription, Want};
use sparkway_topic::{Window, missing_before};

use super::subscribe::unavailable;
use crate::attached::Attached;

/// Where a subscription's replay begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    /// Entries after this id.
    pub(super) after: MessageId,
    /// Whether nothing of what was asked for is gone.
    pub(super) recovered: bool,
}

impl Attached {
    /// Where the replay of a subscription begins, and whether all of it is still there.
    pub(super) async fn replay_from(
        &self,
        topic: &TopicName,
        since: Since,
        start: MessageId,
    ) -> Result<Option<From>, StoreFailure> {
        let shared = &self.worker.shared;
        match since {
            Since::Now => Ok(None),
            Since::Id(after) => {
                let want = Want {
                    topic: topic.clone(),
                    after,
                };
                let partition = shared.layout.of(topic.as_str());
                let pages = shared.store.read(partition, vec![want], 1).await;
                let page = pages.map_err(unavailable)?.into_iter().next();
                let first = page.as_ref().and_then(|page| page.entries.first());
                let window = Window {
                    now_ms: 0,
                    age_ms: u64::MAX,
                };
                let first = first.map(AsRef::as_ref);
                let gap = missing_before(topic, after, first, start, window);
                // A topic without any entry after `after` has lost nothing if its newest id is
                // not behind it, which only its own tip can say.
                let recovered = match (gap, first) {
                    (None, _) => true,
                    (Some(_), Some(_)) => false,
                    (Some(_), None) => {
                        shared.store.tip(topic.clone()).await.map_err(unavailable)? <= after
                    }
                };
                Ok(Some(From { after, recovered }))
            }
            Since::Rewind(count) => {
                let range = Range {
                    topic: topic.clone(),
                    after: MessageId::ZERO,
                    before: None,
                    limit: count,
                    reverse: true,
                };
                if count == 0 {
                    return Ok(Some(From {
                        after: start,
                        recovered: true,
                    }));
                }
                let page = shared.store.history(range).await.map_err(unavailable)?;
                let after = page.entries.last().map_or(start, |oldest| oldest.prev);
                let recovered = page.entries.len() == count || after == MessageId::ZERO;
                Ok(Some(From { after, recovered }))
            }
        }
    }

    pub(super) async fn push_replayed(&self, sub: &Subscription, entry: SharedEntry) {
        if !entry.is_for(self.session, sub.echo) {
            return;
        }
        let event = Event::Message(entry);
        let Some(frame) = sparkway_dialect::encode(self.seat.format, &event) else {
            return;
        };
        while self.seat.outbox.push(frame.clone()) == sparkway_socket::Push::Full {
            self.wait_for_room().await;
        }
    }
}
