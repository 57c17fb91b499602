//! What other nodes say to this one: ownership lost, connections to be closed.

use std::sync::Arc;

use sparkway_session::Input;
use sparkway_store::Control;
use sparkway_store::planted::Defect;
use tokio::sync::mpsc;

use crate::shared::Shared;

/// Listens for as long as the node lives. A message may be lost with the store's connection: the
/// same fact is then found when it is back, or by the next fenced write.
pub(crate) async fn listen(shared: Arc<Shared>, mut control: mpsc::Receiver<Control>) {
    while let Some(message) = control.recv().await {
        match message {
            Control::Superseded { .. } if Defect::NoFence.is_planted() => {}
            Control::Superseded { session, epoch } => {
                shared.registry.hear(session, epoch);
                if let Some(former) = shared.registry.older_than(session, epoch) {
                    former.handle.post(Input::Superseded { epoch });
                }
            }
            Control::Revoked(revocation) => shared.hear_revoked(&revocation),
            Control::Restored => {
                // Beside, so that ownership is heard of meanwhile.
                let shared = Arc::clone(&shared);
                shared.tasks.clone().spawn(async move {
                    if let Err(error) = shared.read_revocations().await {
                        tracing::debug!(%error, "revocations not read");
                    }
                    shared.check_ownership(None).await;
                });
            }
            Control::Enlist { session, topics } => shared.enlist(session, topics),
            Control::Delist { session, topics } => {
                if let Some(found) = shared.registry.get(session) {
                    found.handle.post(Input::Delist(topics));
                }
            }
            Control::Trimmed { topic, until } => shared.forget_until(&topic, until),
            Control::Drain { go } => {
                shared.drain_wanted.send_replace(go);
            }
            Control::Mark { what, seconds } => shared.mark(what, seconds),
            Control::Close { session, reason } => {
                if let Some(found) = shared.registry.get(session) {
                    found.handle.post(Input::Disconnect(reason));
                }
            }
        }
    }
}
