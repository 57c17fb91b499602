//! Finds the master: a fixed address, or what the sentinels say now.
//!
//! Sentinels do not learn of a failover at the same moment, and one that is cut off never does.
//! Each numbers what it says by its epoch, so one that says something newer is believed at once,
//! and something older only where most of them say so: they were set up anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::dial::Dialer;
use super::url::Address;
use super::wire::{Login, Wire};
use crate::StoreError;

/// Between two looks at who the master is. A former one may answer for as long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where a link's server is.
#[derive(Clone, Debug)]
pub(super) enum Locator {
    /// Always there.
    Fixed(Address),
    /// Wherever the sentinels say.
    Sentinel(Arc<Sentinels>),
}

/// Who to ask for which master, and what they said.
#[derive(Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    master: Box<str>,
    known: Mutex<Option<Named>>,
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// What a sentinel says: where the master is, since which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    epoch: u64,
    address: Address,
}

impl Locator {
    /// Where the master is now.
    ///
    /// # Errors
    /// No sentinel answered or knows the master: try again later.
    pub(super) async fn find(&self, dialer: &Dialer) -> Result<Address, StoreError> {
        match self {
            Self::Fixed(address) => Ok(address.clone()),
            Self::Sentinel(sentinels) => sentinels.find(dialer).await,
        }
    }

    /// Ends when another server than this one is the master: a replaced one may go on answering.
    pub(super) async fn left(&self, dialer: &Dialer, mine: &Address) {
        let Self::Sentinel(sentinels) = self else {
            return std::future::pending().await;
        };
        loop {
            sleep(LOOK_INTERVAL).await;
            sentinels.look(dialer).await;
            let known = sentinels.known();
            if known.is_some_and(|known| known.address != *mine) {
                return;
            }
        }
    }
}

impl Sentinels {
    /// Those that watch the master of this name.
    pub(super) fn new(addresses: Vec<Address>, master: Box<str>) -> Self {
        Self {
            addresses,
            master,
            known: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> Option<Named> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// Asks all at once, until what they said suffices: one that hangs must not hold up the others.
    async fn find(&self, dialer: &Dialer) -> Result<Address, StoreError> {
        let asked = self.addresses.iter().map(async |sentinel| {
            let answer = ask(dialer, sentinel, &self.master).await;
            if let Err(error) = &answer {
                tracing::warn!(%sentinel, %error, "sentinel does not tell the master");
            }
            answer.ok()
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut heard = Vec::new();
        while let Some(answer) = asked.next().await {
            heard.extend(answer);
            if let Some(address) = self.believe(&heard, asked.is_empty()) {
                return Ok(address);
            }
        }
        Err(StoreError::Unavailable("no sentinel knows the master"))
    }

    /// Asks all of them again, unless that was done a moment ago.
    async fn look(&self, dialer: &Dialer) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_INTERVAL / 2) {
            return;
        }
        let asked = self.addresses.iter();
        let asked = asked.map(|sentinel| ask(dialer, sentinel, &self.master));
        let heard: Vec<Named> = join_all(asked).await.into_iter().flatten().collect();
        self.believe(&heard, true);
        *looked = Some(Instant::now());
    }

    /// Where the master is by what was heard; `None` where that does not suffice.
    fn believe(&self, heard: &[Named], is_all: bool) -> Option<Address> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let most = heard.len() * 2 > self.addresses.len();
        let believed = judge(known.as_ref(), heard, most, is_all)?.clone();
        let address = believed.address.clone();
        *known = Some(believed);
        Some(address)
    }
}

/// Which of what is known and what was heard counts. `most`: of most sentinels; `is_all`: nobody
/// else will answer.
fn judge<'a>(
    known: Option<&'a Named>,
    heard: &'a [Named],
    most: bool,
    is_all: bool,
) -> Option<&'a Named> {
    let newest = heard.iter().max_by_key(|named| named.epoch)?;
    let Some(known) = known else {
        return Some(newest);
    };
    if newest.epoch > known.epoch {
        return Some(newest);
    }
    if heard.contains(known) {
        return Some(known);
    }
    match (is_all, most) {
        (false, _) => None,
        (true, false) => Some(known),
        (true, true) => Some(newest),
    }
}

async fn ask(dialer: &Dialer, sentinel: &Address, master: &str) -> Result<Named, StoreError> {
    timeout(
        dialer.connect_deadline() * 2,
        question(dialer, sentinel, master),
    )
    .await
    .unwrap_or(Err(StoreError::Unavailable("no answer in time")))
}

async fn question(dialer: &Dialer, sentinel: &Address, master: &str) -> Result<Named, StoreError> {
    let mut wire = match Wire::connect(dialer, sentinel, Login::Anonymous).await {
        Err(_) if dialer.password.is_some() => {
            Wire::connect(dialer, sentinel, Login::NoDatabase).await?
        }
        connected => connected?,
    };
    // While a failover goes on, only the address names the new master already. Its epoch is read
    // first: that of the address is not older.
    let words: [&[u8]; 3] = [b"SENTINEL", b"MASTER", master.as_bytes()];
    let asked = wire.ask(&words, |answer| {
        let fields = answer.list()?;
        let at = fields
            .iter()
            .position(|field| field.text() == Some(b"config-epoch"))?;
        let epoch = fields.get(at + 1)?.text()?;
        std::str::from_utf8(epoch).ok()?.parse().ok()
    });
    // Where it may not be asked, most sentinels decide.
    let epoch = asked.await?.unwrap_or(0);
    let words: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
    let asked = wire.ask(&words, |answer| match answer.list() {
        Some([host, port]) => Some(Address {
            host: std::str::from_utf8(host.text()?).ok()?.into(),
            port: std::str::from_utf8(port.text()?).ok()?.parse().ok()?,
        }),
        _ => None,
    });
    let address = asked
        .await?
        .ok_or(StoreError::Unavailable("sentinel does not know the master"))?;
    Ok(Named { epoch, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(epoch: u64, port: u16) -> Named {
        let host = "redis".into();
        let address = Address { host, port };
        Named { epoch, address }
    }

    fn port(known: Option<&Named>, heard: &[Named], most: bool, is_all: bool) -> Option<u16> {
        judge(known, heard, most, is_all).map(|named| named.address.port)
    }

    #[test]
    fn one_that_knows_of_a_later_failover_is_believed_at_once() {
        let heard = [named(4, 1), named(5, 2)];
        assert_eq!(port(Some(&named(4, 1)), &heard, false, false), Some(2));
        assert_eq!(port(None, &heard[..1], false, false), Some(1));
        assert_eq!(port(None, &[], false, true), None);
    }

    #[test]
    fn one_that_has_not_heard_of_a_failover_leads_nobody_back() {
        let known = named(5, 2);
        let stale = [named(4, 1)];
        assert_eq!(port(Some(&known), &stale, false, false), None, "others may");
        assert_eq!(port(Some(&known), &stale, false, true), Some(2));
        let both = [named(4, 1), named(5, 2)];
        assert_eq!(port(Some(&known), &both, true, true), Some(2));
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_when_most_of_them_agree() {
        let known = named(5, 2);
        let anew = [named(0, 3), named(0, 3)];
        assert_eq!(port(Some(&known), &anew, true, false), None);
        assert_eq!(port(Some(&known), &anew, true, true), Some(3));
        // Two names of one master do not make links change sides.
        let names = [named(5, 7), named(5, 2)];
        assert_eq!(port(Some(&known), &names, true, true), Some(2));
    }
}
