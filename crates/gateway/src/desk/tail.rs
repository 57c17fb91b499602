//! Topics as they happen, for somebody who looks.

use std::sync::Arc;

use sparkway_protocol::TopicName;
use sparkway_store::StoreError;
use tokio::sync::mpsc;

use super::Desk;
use crate::drain::Phase;
use crate::shared::Shared;
pub use crate::taps::Told;

/// What happens in some topics from now on. Ends when it is not read fast enough.
#[derive(Debug)]
pub struct Tail {
    shared: Arc<Shared>,
    topics: Vec<TopicName>,
    told: mpsc::Receiver<Told>,
}

/// How a tail goes on.
#[derive(Clone, Debug)]
pub enum Next {
    /// Something happened.
    Told(Told),
    /// It was not read fast enough: something was left out, and nothing more comes.
    Dropped,
    /// The node goes.
    Leaving,
}

impl Tail {
    /// What happens next.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn next(&mut self) -> Next {
        let mut phase = self.shared.phase.subscribe();
        // Order: what happened is told before the end.
        tokio::select! {
            biased;
            told = self.told.recv() => told.map_or(Next::Dropped, Next::Told),
            _ = phase.wait_for(|phase| *phase >= Phase::Closing) => Next::Leaving,
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        for topic in &self.topics {
            self.shared.unwant(topic);
        }
    }
}

impl Desk {
    /// Follows topics.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: they could not be followed in time; repeat it.
    ///
    /// # Cancel safety
    /// Dropped before it is ready, the topics may stay followed by this node for longer.
    pub async fn tail(&self, topics: Vec<TopicName>) -> Result<Tail, StoreError> {
        // Before they are live, so that nothing is missed in between.
        let told = self.shared.taps.open(&topics);
        let live = self.shared.make_live(&topics).await;
        // Made also when it failed: dropped, it takes the interest back.
        let tail = Tail {
            shared: Arc::clone(&self.shared),
            topics,
            told,
        };
        match live {
            Ok(()) => Ok(tail),
            Err(_) => Err(StoreError::Unavailable("the topics did not become live")),
        }
    }

    /// Runs something for as long as the node lives, at most until it is drained.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(future);
    }
}
