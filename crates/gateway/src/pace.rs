//! How fast tasks go: as the runtime likes, or as a simulation wants.
//!
//! A real node has no pace, and its tasks are spawned as they are. `crates/sim` gives a node one:
//! each task is then held up now and then for some virtual time, so that every order of steps that
//! threads and cores can bring about comes about in one thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::task::{AbortHandle, JoinHandle};

/// A wait that a pace asks for.
pub type Hold = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Decides when tasks go on. Only `crates/sim` has one.
pub trait Pace: fmt::Debug + Send + Sync + 'static {
    /// How often a new task is to be held up, in whatever unit [`Pace::hold`] understands.
    fn slowness(&self) -> u32;

    /// What a task of this slowness has to await before its next step, if anything.
    fn hold(&self, slowness: u32) -> Option<Hold>;

    /// Bytes for a name that nothing else has: what follows from it must follow from the seed.
    fn name(&self) -> [u8; 16];

    /// A task has begun; whoever kills the node ends it.
    fn began(&self, task: AbortHandle);
}

/// The pace of a node's tasks; `None` in a real node.
pub(crate) type NodePace = Option<Arc<dyn Pace>>;

/// Where tasks run.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    pace: NodePace,
}

impl Runtime {
    pub(crate) const fn new(handle: Handle, pace: NodePace) -> Self {
        Self { handle, pace }
    }

    /// What the runtime counts of itself.
    pub(crate) fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.pace {
            None => self.handle.spawn(future),
            Some(pace) => {
                let task = self.handle.spawn(Paced::new(pace, future));
                pace.began(task.abort_handle());
                task
            }
        }
    }
}

/// A task that is held up now and then.
pub(crate) struct Paced<F> {
    task: Pin<Box<F>>,
    pace: Arc<dyn Pace>,
    slowness: u32,
    held: Option<Hold>,
}

impl<F> Paced<F> {
    pub(crate) fn new(pace: &Arc<dyn Pace>, task: F) -> Self {
        Self {
            task: Box::pin(task),
            pace: Arc::clone(pace),
            slowness: pace.slowness(),
            held: None,
        }
    }
}

impl<F: Future> Future for Paced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.held.is_none() {
            this.held = this.pace.hold(this.slowness);
        }
        if let Some(held) = &mut this.held {
            ready!(held.as_mut().poll(cx));
            this.held = None;
        }
        this.task.as_mut().poll(cx)
    }
}
