//! What other nodes say to this one: ownership lost, connections to be closed.

use std::sync::Arc;

use sparkway_session::Input;
use sparkway_store::Control;
use tokio::sync::mpsc;

use crate::shared::Shared;

/// Listens for as long as the node lives. A message may be lost with the store's connection: the
/// same fact is then found by the next fenced write.
pub(crate) async fn listen(shared: Arc<Shared>, mut control: mpsc::Receiver<Control>) {
    while let Some(message) = control.recv().await {
        match message {
            Control::Superseded { session, epoch } => {
                shared.registry.hear(session, epoch);
                if let Some(former) = shared.registry.older_than(session, epoch) {
                    former.handle.post(Input::Superseded { epoch });
                }
            }
            Control::Close { session, reason } => {
                if let Some(found) = shared.registry.get(session) {
                    found.handle.post(Input::Disconnect(reason));
                }
            }
        }
    }
}
