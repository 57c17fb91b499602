//! How many messages a resumed session is going to receive, before it receives the first one.

use sparkway_hub::Coverage;
use sparkway_protocol::{MessageId, TopicName};
use sparkway_store::{StoreError, Want};

use crate::attached::Attached;
use crate::catchup::{Gathered, Lane};
use crate::reads::Wish;

impl Attached {
    /// Counts what lies between the lane's position and `bound`. Where the first piece of the
    /// replay holds all of it, nothing more is read.
    ///
    /// # Errors
    /// The store is away; try again.
    pub(crate) async fn count_missed(
        &self,
        lane: Lane,
        first: &Gathered,
        bound: MessageId,
    ) -> Result<u64, StoreError> {
        if first.position >= bound {
            let wanted = first.entries.iter().filter(|entry| self.is_for(entry));
            return Ok(wanted.count() as u64);
        }
        let mut count = 0;
        for (topic, start) in self.topics_of(lane.partition) {
            let after = start.max(lane.position);
            count += self.count_topic(lane, topic, after, bound).await?;
        }
        Ok(count)
    }

    async fn count_topic(
        &self,
        lane: Lane,
        topic: TopicName,
        mut after: MessageId,
        bound: MessageId,
    ) -> Result<u64, StoreError> {
        let shared = &self.worker.shared;
        let Some(lot) = shared.lot(lane.partition) else {
            return Ok(0);
        };
        let mut count = 0;
        loop {
            let ring = {
                let log = lot.log();
                (log.coverage(&topic, after) == Coverage::Whole)
                    .then(|| log.between(&topic, after, bound))
            };
            if let Some(entries) = ring {
                let wanted = entries.iter().filter(|entry| self.is_for(entry));
                return Ok(count + wanted.count() as u64);
            }
            let wish = Wish {
                want: Want {
                    topic: topic.clone(),
                    after,
                },
                bound,
                limit: shared.sizes.page,
            };
            let read = lot.reads.page(&shared.store, lane.partition, wish).await?;
            let entries = &read.page.entries;
            let wanted = entries
                .iter()
                .filter(|entry| entry.id <= bound && self.is_for(entry));
            count += wanted.count() as u64;
            match entries.last() {
                Some(last) if read.page.more && last.id < bound => after = last.id,
                Some(_) | None => return Ok(count),
            }
        }
    }
}
