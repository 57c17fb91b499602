//! The end of a session's connection, written to the store.

use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::MessageId;
use sparkway_session::Cursors;
use sparkway_store::planted::Defect;
use sparkway_store::{Detach, WriteError};

use crate::attached::Attached;
use crate::clock::millis;
use crate::connection::Connection;

/// How often a detach is tried while the store is away: for about a minute.
const ATTEMPTS: u32 = 12;
/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_secs(8);

impl Connection {
    /// The session loses its connection and stays resumable.
    pub(super) fn detach(&self, cursors: &Cursors) {
        let Some(attached) = self.in_use() else {
            return;
        };
        let mut cursors = cursors.ids().to_vec();
        if Defect::DeliveryCursor.is_planted() {
            let hub = self.worker.hub();
            let layout = self.worker.shared.layout;
            cursors = layout.iter().map(|at| hub.position(at)).collect();
        }
        attached.leave();
        attached.release();
        attached.go_away();
        attached.write_detach(cursors);
    }
}

impl Attached {
    /// Marks the session as without a connection. As long as that is not written, it stays
    /// attached to this node: resumable all the same, but it would not expire.
    fn write_detach(self: &Arc<Self>, cursors: Vec<MessageId>) {
        let session = Arc::clone(self);
        self.worker.shared.tasks.run(async move {
            let shared = &session.worker.shared;
            let window_ms = millis(shared.settings.session.resume_window);
            let mut pause = Duration::from_millis(100);
            for _ in 0..ATTEMPTS {
                let detach = Detach {
                    session: session.session,
                    epoch: session.epoch(),
                    cursors: cursors.clone(),
                    window_ms,
                };
                let partition = session.session.partition();
                let written = shared.store.detach(partition, vec![detach]).await;
                let written = written.map_or_else(
                    |error| Err(WriteError::Store(error)),
                    |results| results.into_iter().next().unwrap_or(Ok(())),
                );
                match written {
                    // Somebody else's, or gone: nothing is left to be written.
                    Ok(()) | Err(WriteError::Fenced | WriteError::Gone) => return,
                    Err(WriteError::Store(error)) => {
                        tracing::debug!(session = %session.session, %error, "detach is repeated");
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        });
    }

    /// The connection ended while a claim or a restore was under way: the session is left
    /// resumable.
    pub(crate) fn give_back(self: &Arc<Self>) {
        self.write_detach(Vec::new());
    }
}
