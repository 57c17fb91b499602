//! Reading from the log what did not come over the feed.

use std::collections::VecDeque;
use std::time::Duration;

use sparkway_metrics::RepairResult;
use sparkway_protocol::{MessageId, TopicName};
use sparkway_store::{Hole, Page, Want};
use sparkway_topic::{Part, Window, merge, missing_before};

use super::{REPAIR_PAUSE, Reader};
use crate::worker::FanOut;

impl Reader {
    /// Reads all topics from their last ids up to `bound`, merges them, hands them on. `past`: where
    /// this node stood with the former server.
    pub(super) async fn catch_up(
        &mut self,
        topics: Vec<(TopicName, MessageId)>,
        bound: MessageId,
        past: MessageId,
    ) {
        let mut cursors = topics;
        while !cursors.is_empty() {
            let mut parts = Vec::with_capacity(cursors.len());
            let mut more = Vec::new();
            for chunk in cursors.chunks(self.shared.sizes.repair_topics) {
                let wants: Vec<Want> = chunk
                    .iter()
                    .map(|(topic, after)| Want {
                        topic: topic.clone(),
                        after: *after,
                    })
                    .collect();
                for (page, (topic, after)) in self.read(wants).await.into_iter().zip(chunk) {
                    self.tell_gap(topic, *after, &page).await;
                    if page.more {
                        more.push(topic.clone());
                    }
                    parts.push(Part {
                        entries: page.entries,
                        more: page.more,
                    });
                }
            }
            let merged = merge(parts, bound);
            for entry in merged.entries {
                if is_too_late(entry.id, past, &self.told) {
                    self.keep(&entry);
                } else {
                    self.hand_on(entry);
                }
            }
            self.flush().await;
            if merged.position >= bound {
                return;
            }
            cursors = cursors
                .into_iter()
                .map(|(topic, after)| (topic, after.max(merged.position)))
                .collect();
        }
    }

    /// Reads until the store answers: nothing may be handed on before.
    async fn read(&self, wants: Vec<Want>) -> Vec<Page> {
        let mut pause = Duration::from_millis(10);
        let mut limit = self.shared.sizes.repair_page;
        loop {
            match self
                .shared
                .store
                .read(self.partition, wants.clone(), limit)
                .await
            {
                Ok(pages) => return pages,
                Err(error) => {
                    tracing::warn!(partition = self.partition.get(), %error, "repair waits");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REPAIR_PAUSE);
                    // What was too much for one answer must not be asked for ever.
                    limit = (limit / 2).max(self.shared.sizes.repair_page_min);
                }
            }
        }
    }

    /// What the log no longer has is told to everybody who should have received it.
    async fn tell_gap(&mut self, topic: &TopicName, after: MessageId, page: &Page) {
        let first = page.entries.first().map(AsRef::as_ref);
        let age_ms = self.shared.retention(topic).age_ms;
        let window = Window {
            now_ms: self.shared.clock.unix_ms(),
            age_ms,
        };
        if let Some(gap) = missing_before(topic, after, first, after, window) {
            // Before it is told: whoever resumes from now on finds the gap in the log.
            if let (Some(lot), Some(first)) = (self.lot(), first) {
                lot.log().restart(topic, first.prev);
            }
            self.shared
                .metrics
                .topic
                .gap_repairs
                .at(RepairResult::Trimmed)
                .inc();
            self.send(&FanOut::Gap(gap)).await;
        }
    }
}

/// Whether sessions are past an entry already, and were told so. While nodes are with two servers,
/// both give out ids: what the one got meanwhile lies between what the other had handed on. Handed
/// on now, it would come behind newer ones.
fn is_too_late(id: MessageId, past: MessageId, told: &VecDeque<Hole>) -> bool {
    id <= past && told.iter().any(|hole| hole.after < id && id < hole.before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_passed_and_told_of_is_too_late() {
        let id = |number| MessageId::new(number).unwrap();
        let hole = |after, before| Hole {
            after: id(after),
            before: id(before),
        };
        // Two servers were lost one after the other.
        let told = VecDeque::from([hole(16, 64), hole(80, 128)]);
        let late = |number| is_too_late(id(number), id(96), &told);
        assert!(late(32) && late(96));
        assert!(!late(64) && !late(80), "in no hole: nobody was told");
        assert!(!late(112), "it comes behind all that was handed on");
        assert!(!is_too_late(id(32), id(96), &VecDeque::new()));
    }
}
