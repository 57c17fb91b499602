//! The only spawn of the gateway: every task is counted and awaited when the node stops.

use std::future::Future;
use std::task::{Context, Waker};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::pace::{NodePace, Paced};

/// The tasks of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    pace: NodePace,
}

impl Tasks {
    /// Tasks that go at this pace.
    pub(crate) fn at(pace: NodePace) -> Self {
        Self {
            tracker: TaskTracker::new(),
            pace,
        }
    }

    /// Bytes for a name that nobody can guess, but whoever simulates the node.
    pub(crate) fn any_name(&self) -> [u8; 16] {
        self.pace
            .as_ref()
            .map_or_else(rand::random, |pace| pace.name())
    }

    /// Waits until no task is left, for as long as the caller likes.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Runs a future on the current worker's runtime.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.pace {
            None => self.tracker.spawn(future),
            Some(pace) => {
                let task = self.tracker.spawn(Paced::new(pace, future));
                pace.began(task.abort_handle());
                task
            }
        }
    }

    /// Carries a future out as far as it goes without waiting, and lets a task do the rest. What
    /// the embedded store answers at once then costs no task and no second turn of the caller.
    ///
    /// Call it where the future may run at once: with no lock held.
    pub(crate) fn run<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.pace.is_some() {
            drop(self.spawn(future));
            return;
        }
        let mut future = Box::pin(future);
        // Nobody waits for this waker: the task polls once more before it sleeps.
        let mut context = Context::from_waker(Waker::noop());
        if future.as_mut().poll(&mut context).is_pending() {
            drop(self.spawn(future));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_need_not_wait_is_done_at_once_and_the_rest_by_a_task() {
        let tasks = Tasks::default();
        let steps = Arc::new(AtomicU32::new(0));
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let counted = Arc::clone(&steps);
        tasks.run(async move {
            counted.fetch_add(1, Ordering::Relaxed);
            receiver.await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(steps.load(Ordering::Relaxed), 1);
        sender.send(()).unwrap();
        tasks.finished().await;
        assert_eq!(steps.load(Ordering::Relaxed), 2);
    }
}
