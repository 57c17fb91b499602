//! Where a node listens, and who answers there.

use std::net::TcpListener;
use std::sync::Arc;

use sparkway_socket::{AcceptSettings, Acceptor};
use tokio_util::sync::CancellationToken;

use crate::admin::InternalRoutes;
use crate::certificates::Certificates;
use crate::pace::Runtime;
use crate::routes::{PublicRoutes, SpawnOn};
use crate::shared::Shared;
use crate::tasks::Tasks;
use crate::worker::Worker;

/// Accepts clients on a worker's runtime until told to stop, with TLS where there is a certificate.
pub(crate) fn accept(
    worker: &Arc<Worker>,
    runtime: &Runtime,
    (listener, certificates): (TcpListener, Option<&Certificates>),
    accepting: &CancellationToken,
) {
    let routes = Arc::new(PublicRoutes {
        worker: Arc::clone(worker),
    });
    let spawn = SpawnOn(worker.shared.tasks.clone());
    let settings = AcceptSettings {
        handshake_deadline: worker.shared.settings.limits.handshake_timeout,
        handshakes: worker.shared.guests.handshakes_max,
        ..AcceptSettings::default()
    };
    let mut acceptor = Acceptor::new(settings, routes, spawn);
    if let Some(certificates) = certificates {
        acceptor = acceptor.with_tls(Arc::clone(&certificates.tls));
    }
    let accepting = accepting.clone();
    runtime.spawn(async move {
        if let Err(error) = acceptor.run(listener, accepting).await {
            tracing::error!(%error, "public listener ended");
        }
    });
}

/// Answers operators on a thread of its own for as long as the node lives.
pub(crate) fn serve_internal(
    shared: &Arc<Shared>,
    runtime: &Runtime,
    listener: TcpListener,
    running: &CancellationToken,
) {
    let routes = Arc::new(InternalRoutes {
        shared: Arc::clone(shared),
    });
    let spawn = SpawnOn(Tasks::default());
    let settings = AcceptSettings {
        handshakes: shared.guests.handshakes_max,
        ..AcceptSettings::default()
    };
    let acceptor = Acceptor::new(settings, routes, spawn);
    let running = running.clone();
    runtime.spawn(async move {
        if let Err(error) = acceptor.run(listener, running).await {
            tracing::error!(%error, "internal listener ended");
        }
    });
}
