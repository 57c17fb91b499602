//! The threads of a node, each with a runtime of its own.

use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

use crate::pace::{NodePace, Runtime};

/// A thread with its runtime.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) runtime: Runtime,
    /// `None` for the thread of whoever simulates the node.
    pub(crate) join: Option<JoinHandle<()>>,
}

impl Thread {
    pub(crate) fn start(
        at: usize,
        workers: usize,
        running: &CancellationToken,
    ) -> std::io::Result<Self> {
        let name = if at < workers {
            format!("worker-{at}")
        } else {
            "internal".to_owned()
        };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let running = running.clone();
        let join = std::thread::Builder::new().name(name).spawn(move || {
            runtime.block_on(running.cancelled());
            // What still runs is dropped where it stands.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            runtime: Runtime::new(handle, None),
            join: Some(join),
        })
    }

    /// The thread that calls this, for a simulated node.
    pub(crate) fn this_one(pace: NodePace) -> Self {
        Self {
            runtime: Runtime::new(Handle::current(), pace),
            join: None,
        }
    }
}

/// Runs a piece of the start on a worker's runtime, so that what it spawns lives there.
pub(crate) async fn on<F>(threads: &[Thread], at: usize, future: F) -> std::io::Result<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let thread = threads
        .get(at)
        .ok_or_else(|| std::io::Error::other("no thread"))?;
    thread
        .runtime
        .spawn(future)
        .await
        .map_err(std::io::Error::other)
}
