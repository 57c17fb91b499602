//! What other nodes say to this one: ownership lost, connections to be closed.

use std::sync::Arc;
use std::time::Duration;

use sparkway_session::Input;
use sparkway_store::Control;
use sparkway_store::planted::Defect;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::drain::Phase;
use crate::shared::Shared;

/// After this time a claim that was answered before is in the registry.
const SETTLED: Duration = Duration::from_secs(5);

/// Listens for as long as the node lives. A message may be lost with the store's connection: the
/// same fact is then found when it is back, or by the next fenced write.
pub(crate) async fn listen(shared: Arc<Shared>, mut control: mpsc::Receiver<Control>) {
    let restored = Arc::new(Notify::new());
    // Beside, so that ownership is heard of meanwhile.
    let looking = look_again(Arc::clone(&shared), Arc::clone(&restored));
    shared.tasks.spawn(looking);
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
            Control::Restored => restored.notify_one(),
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

/// Looks at everything that may have been missed, whenever the store is back or is another one:
/// at once, and when what the former one answered last has arrived. However often it is asked for,
/// one look is under way at a time.
async fn look_again(shared: Arc<Shared>, restored: Arc<Notify>) {
    let mut phase = shared.phase.subscribe();
    let mut ending = std::pin::pin!(async move {
        // Whoever is left is sent away now.
        drop(phase.wait_for(|phase| *phase >= Phase::Closing).await);
    });
    let mut settles = None;
    loop {
        let settled = async {
            match settles {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut ending => return,
            () = restored.notified() => settles = Some(Instant::now() + SETTLED),
            () = settled => settles = None,
        }
        if let Err(error) = shared.read_revocations().await {
            tracing::debug!(%error, "revocations not read");
        }
        shared.check_ownership(None).await;
    }
}
