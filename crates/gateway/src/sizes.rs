//! How much is done at once: pages, turns, queues. No setting of operators; simulations make them
//! small, so that every bound is met often.

use sparkway_hub::LogBounds;

/// How much a node does at once.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Entries per topic and page when one session is brought up to date: with the largest
    /// messages a page is 4 MiB.
    pub page: usize,
    /// The same for each of many topics that are read at once.
    pub page_min: usize,
    /// Feed events taken per wake-up: what comes together goes out together.
    pub feed_turn: usize,
    /// Entries read per topic and page of a repair.
    pub repair_page: usize,
    /// The same after the store did not answer in time.
    pub repair_page_min: usize,
    /// Topics read in one call of a repair.
    pub repair_topics: usize,
    /// Batches that wait for a worker before the readers wait for it.
    pub inlet: usize,
    /// Sessions that are resumed at once: further ones wait for their turn.
    pub resumes: usize,
    /// Milliseconds for which a topic without subscribers stays live, for those who come back.
    pub linger_ms: u64,
    /// Milliseconds between two looks for such topics.
    pub linger_tick_ms: u64,
    /// Memory of the rings of one partition.
    pub rings: LogBounds,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            page: 64,
            page_min: 4,
            feed_turn: 256,
            repair_page: 256,
            repair_page_min: 4,
            repair_topics: 64,
            inlet: 256,
            resumes: 256,
            linger_ms: 30_000,
            linger_tick_ms: 5000,
            rings: LogBounds::default(),
        }
    }
}
