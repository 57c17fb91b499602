//! A view of everything that crosses the line, for history checkers.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::wire::{Closed, Incoming, RawMessage};

/// One step on the line.
#[derive(Debug)]
pub enum Step<'a> {
    /// A WebSocket is open at this URL.
    Opened {
        /// Which.
        url: &'a str,
    },
    /// A frame is about to be written. It may still be lost with the line.
    Sent(&'a RawMessage),
    /// A frame came.
    Received(&'a Incoming),
    /// The connection ended.
    Closed(&'a Closed),
    /// This side cut it.
    Cut,
}

/// A step with its time and connection.
#[derive(Debug)]
pub struct Observed<'a> {
    /// When.
    pub at: Instant,
    /// Which connection of this client, counted from 1.
    pub connection: u64,
    /// What.
    pub step: Step<'a>,
}

/// Called for every step, in order, from the client's own task: it must be quick.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Observed<'_>) + Send + Sync>);

impl Observer {
    /// An observer that calls `each`.
    pub fn new(each: impl Fn(&Observed<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(each))
    }

    pub(crate) fn tell(&self, connection: u64, step: Step<'_>) {
        (self.0)(&Observed {
            at: Instant::now(),
            connection,
            step,
        });
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Observer")
    }
}
