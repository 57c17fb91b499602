//! A client that minds its own business while others misbehave.

use std::time::Duration;

use serde_json::json;
use sparkway_client::Encoding;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::peer::Peer;

/// Longest time that a healthy client may wait for its own message while others misbehave. The
/// machine may be busy, so this tells a stall and not a delay.
const STALL: Duration = Duration::from_secs(5);

/// A healthy connection that publishes and receives all the time.
pub(crate) struct Bystander {
    stop: oneshot::Sender<()>,
    work: JoinHandle<u64>,
}

impl Bystander {
    /// Connects to the node and begins.
    pub(crate) async fn at(url: &str) -> Self {
        let mut peer = Peer::connect(url, Encoding::Json).await;
        let topic = format!("bystander:{}", peer.ticket.session);
        peer.subscribe(&[&topic]).await;
        let (stop, mut stopped) = oneshot::channel();
        let work = tokio::spawn(async move {
            let mut rounds = 0;
            while stopped.try_recv().is_err() {
                let began = Instant::now();
                let id = peer.publish(&topic, json!(rounds)).await;
                let message = peer.message().await;
                assert_eq!(
                    (&message["id"], &message["data"]),
                    (&json!(id), &json!(rounds))
                );
                assert!(
                    began.elapsed() < STALL,
                    "a round took {:?}",
                    began.elapsed()
                );
                rounds += 1;
                super::time_passes(Duration::from_millis(5)).await;
            }
            // Nothing else ever came.
            peer.hears_nothing().await;
            rounds
        });
        Self { stop, work }
    }

    /// Asserts that it never noticed anything.
    pub(crate) async fn noticed_nothing(self) {
        self.stop.send(()).expect("the bystander noticed something");
        let rounds = self.work.await.expect("the bystander noticed something");
        assert!(rounds > 0, "the bystander did nothing");
    }
}
