//! The control channel of one node: what other nodes tell it.

use std::sync::Arc;

use sparkway_protocol::{NodeId, Partition};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::backend::Backend;
use super::codec;
use super::link::backoff;
use super::meter::LinkGauge;
use super::subscriber::{PING_INTERVAL, Said, Subscriber};
use crate::{Control, StoreError};

/// Messages that wait for the reader.
const CONTROLS: usize = 1024;

/// Listens for as long as the receiver lives.
pub(super) fn listen(backend: Arc<Backend>, node: &NodeId) -> mpsc::Receiver<Control> {
    let (sender, receiver) = mpsc::channel(CONTROLS);
    let channels = [backend.keys.control(node), backend.keys.revocations()];
    let gauge = LinkGauge::of_feed(&backend);
    tokio::spawn(async move {
        let mut failures = 0;
        while !sender.is_closed() {
            tokio::select! {
                () = sender.closed() => return,
                () = sleep(backoff(failures)), if failures > 0 => {}
                () = std::future::ready(()), if failures == 0 => {}
            }
            let served = tokio::select! {
                () = sender.closed() => return,
                served = serve((&backend, &gauge), &channels, &sender, &mut failures) => served,
            };
            if let Err(error) = served {
                failures += 1;
                if u32::is_power_of_two(failures) {
                    tracing::warn!(%error, failures, "control channel has no connection");
                }
            }
        }
    });
    receiver
}

async fn serve(
    (backend, gauge): (&Arc<Backend>, &Arc<LinkGauge>),
    channels: &[String],
    sender: &mpsc::Sender<Control>,
    failures: &mut u32,
) -> Result<(), StoreError> {
    // On a cluster a plain channel is heard on every node: any master will do.
    let mut subscriber = Subscriber::connect(backend, Partition::default(), false, gauge).await?;
    subscriber.subscribe(channels);
    subscriber.flush().await?;
    let mut unconfirmed = channels.len();
    let mut switches = backend.router.switches();
    let mut ticks = interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ready = subscriber.ready() => ready?,
            _ = ticks.tick() => subscriber.ping(false).await?,
            // Commands may have gone to the former server for longer than this channel has: what
            // that answered last, a claim for one, nobody here was told of.
            Ok(()) = switches.changed() => {
                if sender.send(Control::Restored).await.is_err() {
                    return Ok(());
                }
            }
        }
        while let Some(said) = subscriber.take(|_, payload| codec::control(payload))? {
            match said {
                Said::Announced(Some(control)) => {
                    if sender.send(control).await.is_err() {
                        return Ok(());
                    }
                }
                Said::Announced(None) => tracing::warn!("control message is not understood"),
                Said::Confirmed => {
                    *failures = 0;
                    unconfirmed = unconfirmed.saturating_sub(1);
                    if unconfirmed == 0 && sender.send(Control::Restored).await.is_err() {
                        return Ok(());
                    }
                }
                Said::Left(_) => return Err(StoreError::Unavailable("unsubscribed by the server")),
                Said::Refused(error) => {
                    tracing::warn!(error, "control channel was refused");
                    return Err(StoreError::Unavailable("control channel was refused"));
                }
                Said::Answered(_) => drop(subscriber.answered()?),
            }
            subscriber.heard();
        }
    }
}
