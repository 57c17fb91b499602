//! Which sessions are in use on this node, for what other nodes and operators say to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sparkway_protocol::{Epoch, SessionId};

use crate::attached::Attached;
use crate::handle::Handle;

/// The sessions in use on this node, and all connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<SessionId, Arc<Attached>>>,
}

impl Registry {
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Attached>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a session. A connection of the same session that is still there is returned: it has
    /// an older epoch and is to be told.
    pub(crate) fn enter(&self, attached: &Arc<Attached>) -> Option<Arc<Attached>> {
        let mut sessions = self.sessions();
        let former = sessions.insert(attached.session, Arc::clone(attached));
        match former {
            Some(newer) if newer.epoch() > attached.epoch() => {
                // Two claims on this node raced; the later one stays.
                sessions.insert(attached.session, Arc::clone(&newer));
                Some(Arc::clone(attached))
            }
            other => other,
        }
    }

    /// Removes a session, if this connection is still the one that serves it.
    pub(crate) fn remove(&self, session: SessionId, handle: &Arc<Handle>) {
        let mut sessions = self.sessions();
        if sessions
            .get(&session)
            .is_some_and(|known| Arc::ptr_eq(&known.handle, handle))
        {
            sessions.remove(&session);
        }
        if sessions.capacity() > 4 * sessions.len().max(256) {
            let room = 2 * sessions.len();
            sessions.shrink_to(room);
        }
    }

    /// The connection of a session, if it is older than `epoch`.
    pub(crate) fn older_than(&self, session: SessionId, epoch: Epoch) -> Option<Arc<Attached>> {
        self.sessions()
            .get(&session)
            .filter(|known| known.epoch() < epoch)
            .cloned()
    }

    /// The connection of a session.
    pub(crate) fn get(&self, session: SessionId) -> Option<Arc<Attached>> {
        self.sessions().get(&session).cloned()
    }

    /// All sessions in use now.
    pub(crate) fn all(&self) -> Vec<Arc<Attached>> {
        self.sessions().values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions().len()
    }
}
