//! The only spawn of the gateway: every task is counted and awaited when the node stops.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// The tasks of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// Waits until no task is left, for as long as the caller likes.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn finished(&self) {
        self.0.close();
        self.0.wait().await;
    }

    /// Runs a future on the current worker's runtime.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.spawn(future)
    }
}
