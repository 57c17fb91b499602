//! Finds the master: a fixed address, or what the sentinels say now.

use std::sync::Arc;

use futures_util::future::select_ok;
use tokio::time::timeout;

use super::dial::Dialer;
use super::url::Address;
use super::wire::{Login, Wire};
use crate::StoreError;

/// Where a link's server is.
#[derive(Clone, Debug)]
pub(super) enum Locator {
    /// Always there.
    Fixed(Address),
    /// Wherever the sentinels say.
    Sentinel(Arc<Sentinels>),
}

/// Who to ask for which master.
#[derive(Debug)]
pub(super) struct Sentinels {
    /// Where to ask.
    pub(super) addresses: Vec<Address>,
    /// Under which name.
    pub(super) master: Box<str>,
}

impl Locator {
    /// Where the master is now.
    ///
    /// # Errors
    /// No sentinel answered or knows the master: try again later.
    pub(super) async fn find(&self, dialer: &Dialer) -> Result<Address, StoreError> {
        let sentinels = match self {
            Self::Fixed(address) => return Ok(address.clone()),
            Self::Sentinel(sentinels) => sentinels,
        };
        let asked = sentinels
            .addresses
            .iter()
            .map(|sentinel| Box::pin(ask(dialer, sentinel, &sentinels.master)));
        // All at once: one that hangs must not hold up the others.
        match select_ok(asked).await {
            Ok((address, _)) => Ok(address),
            Err(_) => Err(StoreError::Unavailable("no sentinel knows the master")),
        }
    }
}

async fn ask(dialer: &Dialer, sentinel: &Address, master: &str) -> Result<Address, StoreError> {
    let found = timeout(
        dialer.connect_deadline() * 2,
        question(dialer, sentinel, master),
    )
    .await
    .unwrap_or(Err(StoreError::Unavailable("no answer in time")));
    if let Err(error) = &found {
        tracing::warn!(%sentinel, %error, "sentinel does not tell the master");
    }
    found
}

async fn question(
    dialer: &Dialer,
    sentinel: &Address,
    master: &str,
) -> Result<Address, StoreError> {
    let mut wire = match Wire::connect(dialer, sentinel, Login::Anonymous).await {
        Err(_) if dialer.password.is_some() => {
            Wire::connect(dialer, sentinel, Login::NoDatabase).await?
        }
        connected => connected?,
    };
    let words: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
    let asked = wire.ask(&words, |answer| match answer.list() {
        Some([host, port]) => Some(Address {
            host: std::str::from_utf8(host.text()?).ok()?.into(),
            port: std::str::from_utf8(port.text()?).ok()?.parse().ok()?,
        }),
        _ => None,
    });
    asked
        .await?
        .ok_or(StoreError::Unavailable("sentinel does not know the master"))
}
