//! How the rest of the node reaches one connection's task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sparkway_hooks::ask;
use sparkway_session::Input;
use sparkway_socket::Outbox;
use tokio::sync::Notify;

/// The mailbox and the outbox of one connection.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) outbox: Arc<Outbox>,
    /// Whether the client takes deflated messages.
    pub(crate) deflates: bool,
    mailbox: Mutex<Vec<Input>>,
    /// When the session wants a tick, in monotonic milliseconds. Read by the worker's deadlines.
    deadline_ms: AtomicU64,
    /// When the worker's deadlines look at it next; `u64::MAX` before they do at all.
    watched_ms: AtomicU64,
    /// Told when the outbox has room again, and when the connection ends.
    pub(crate) room: Notify,
    /// What hooks are shown of the client; nothing where there are none.
    pub(crate) shown: OnceLock<Box<ask::Client>>,
}

impl Handle {
    pub(crate) fn new(outbox_bytes: usize, deflates: bool) -> Self {
        Self {
            deflates,
            outbox: Arc::new(Outbox::new(outbox_bytes)),
            mailbox: Mutex::default(),
            deadline_ms: AtomicU64::new(u64::MAX),
            watched_ms: AtomicU64::new(u64::MAX),
            room: Notify::new(),
            shown: OnceLock::new(),
        }
    }

    /// Leaves an input for the connection's task and wakes it. Bounded by what the task asked
    /// for: every input answers one of its effects, or is one of a few from the node.
    pub(crate) fn post(&self, input: Input) {
        self.mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(input);
        self.outbox.wake();
    }

    pub(crate) fn take_mail(&self) -> Vec<Input> {
        std::mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_deadline(&self, mono_ms: u64) {
        self.deadline_ms.store(mono_ms, Ordering::Relaxed);
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_watched(&self, mono_ms: u64) {
        self.watched_ms.store(mono_ms, Ordering::Relaxed);
    }

    pub(crate) fn watched_ms(&self) -> u64 {
        self.watched_ms.load(Ordering::Relaxed)
    }
}
