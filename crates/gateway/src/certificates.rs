//! The certificate of the public listener: loaded at the start, replaced when its files change.

use std::sync::Arc;
use std::time::Duration;

use sparkway_metrics::{Counters, ReloadResult};
use sparkway_socket::{Tls, TlsError, TlsFiles};
use tokio::sync::Notify;

use crate::settings::TlsSettings;

/// How often the files are looked at. They are small, and a certificate is replaced days before
/// the former one ends.
const LOOK: Duration = Duration::from_secs(10);

/// The listener's certificate, and the wish to look at its files now.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) tls: Arc<Tls>,
    look: Arc<Notify>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be used: the node does not start.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let files = TlsFiles {
            certificate: settings.cert.clone(),
            key: settings.key.clone(),
            oldest: settings.oldest,
        };
        let loading = tokio::task::spawn_blocking(move || Tls::load(files));
        let tls = loading.await.map_err(|_| TlsError::Interrupted)??;
        Ok(Self {
            tls: Arc::new(tls),
            look: Arc::default(),
        })
    }

    /// The files are looked at now instead of at the next turn.
    pub(crate) fn look_now(&self) {
        self.look.notify_one();
    }

    /// Keeps the certificate up to date for as long as the node lives. What cannot be used is
    /// reported, and the former certificate stays.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn watch(self, reloads: Counters<ReloadResult>) {
        loop {
            // Late or told: it is looked at either way.
            drop(tokio::time::timeout(LOOK, self.look.notified()).await);
            let tls = Arc::clone(&self.tls);
            let Ok(refreshed) = tokio::task::spawn_blocking(move || tls.refresh()).await else {
                return;
            };
            match refreshed {
                Ok(false) => {}
                Ok(true) => {
                    reloads.at(ReloadResult::Ok).inc();
                    tracing::info!("certificate replaced");
                }
                Err(error) => {
                    reloads.at(ReloadResult::Failed).inc();
                    tracing::error!(%error, "certificate not replaced, the former one stays");
                }
            }
        }
    }
}
