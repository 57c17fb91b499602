//! Which sessions are in use on this node, for what other nodes and operators say to them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sparkway_protocol::{Epoch, SessionId};

use tokio::sync::OwnedSemaphorePermit;

use crate::attached::Attached;
use crate::handle::Handle;
use crate::shared::Shared;

/// The sessions in use on this node, and those that are about to be.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<SessionId, Arc<Attached>>>,
    claims: Mutex<HashMap<SessionId, Claims>>,
}

/// Claims of one session that are under way on this node, and the newest epoch that somebody else
/// was heard to have reached meanwhile.
#[derive(Debug, Default)]
struct Claims {
    count: u32,
    heard: Epoch,
}

/// A claim under way, from before the store is asked until the session is entered: the word that
/// somebody else has claimed it since may come at any time in between.
#[derive(Debug)]
pub(crate) struct Claiming {
    shared: Arc<Shared>,
    session: SessionId,
    /// Its turn among the resumes of this node; `None` only when the node ends.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Claiming {
    /// Waits for its turn, first come first served: the store and the sessions in use are not
    /// drowned by a storm.
    ///
    /// # Cancel safety
    /// Safe; the turn is lost.
    pub(crate) async fn begin(shared: &Arc<Shared>, session: SessionId) -> Self {
        let turn = Arc::clone(&shared.resumes).acquire_owned().await.ok();
        shared.registry.claims().entry(session).or_default().count += 1;
        Self {
            shared: Arc::clone(shared),
            session,
            _turn: turn,
        }
    }

    /// The newest epoch of the session that was heard of since.
    pub(crate) fn heard(&self) -> Epoch {
        let claims = self.shared.registry.claims();
        claims
            .get(&self.session)
            .map_or(Epoch(0), |claims| claims.heard)
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let mut claims = self.shared.registry.claims();
        if let Entry::Occupied(mut entry) = claims.entry(self.session) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
    }
}

impl Registry {
    fn claims(&self) -> MutexGuard<'_, HashMap<SessionId, Claims>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody claimed the session under this epoch: whoever is claiming it here learns of it
    /// when the claim is through.
    pub(crate) fn hear(&self, session: SessionId, epoch: Epoch) {
        if let Some(claims) = self.claims().get_mut(&session) {
            claims.heard = claims.heard.max(epoch);
        }
    }

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
