//! Finds the master: a fixed address, or what the sentinels say now.
//!
//! Sentinels do not learn of a failover at the same moment, and one that is cut off never does.
//! Each numbers what it says by its epoch, so one that says something newer is believed at once.
//! One alone that repeats what is known is not: the others are heard, too. Something older counts
//! only when nobody has said what is known for a while: they were set up anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::dial::Dialer;
use super::url::Address;
use super::wire::{Login, Wire};
use crate::StoreError;

/// Between two looks at who the master is. A former one may answer for as long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After so many rounds of questions in which nobody said what is known, older news count.
const DOUBTS: u32 = 5;
/// The same where most sentinels do not answer: those that do may be the ones that are cut off.
const DOUBTS_OF_FEW: u32 = 30;

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
    known: Mutex<Known>,
    looked: tokio::sync::Mutex<Option<Instant>>,
}

/// What is believed.
#[derive(Debug, Default)]
struct Known {
    named: Option<Named>,
    /// Rounds of questions in a row in which nobody said so.
    doubts: u32,
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
            let named = known.named.as_ref();
            if named.is_some_and(|named| named.address != *mine) {
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

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks all at once, until what they said suffices: one that hangs must not hold up the others.
    async fn find(&self, dialer: &Dialer) -> Result<Address, StoreError> {
        let asked = self.addresses.iter().map(async |sentinel| {
            let answer = ask(dialer, sentinel, &self.master).await;
            if let Err(error) = &answer {
                tracing::debug!(%sentinel, %error, "sentinel does not tell the master");
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
        tracing::warn!(master = %self.master, "no sentinel knows the master");
        Err(StoreError::Unavailable("no sentinel knows the master"))
    }

    /// Asks again, unless that was done a moment ago.
    async fn look(&self, dialer: &Dialer) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) {
            return;
        }
        // Where nobody answers, what is known stays.
        drop(self.find(dialer).await);
        *looked = Some(Instant::now());
    }

    /// Where the master is by what was heard; `None` where that does not suffice.
    fn believe(&self, heard: &[Named], is_all: bool) -> Option<Address> {
        let mut known = self.known();
        let of = self.addresses.len();
        let (believed, doubts) = match judge(known.named.as_ref(), heard, of, is_all) {
            Verdict::Wait => return None,
            Verdict::Believe(named) => (named.clone(), 0),
            Verdict::Doubt(instead) => {
                let most = if is_most(heard.len(), of) {
                    DOUBTS
                } else {
                    DOUBTS_OF_FEW
                };
                match &known.named {
                    Some(named) if known.doubts + 1 < most => (named.clone(), known.doubts + 1),
                    _ => (instead.clone(), 0),
                }
            }
        };
        let address = believed.address.clone();
        *known = Known {
            named: Some(believed),
            doubts,
        };
        Some(address)
    }
}

/// What follows from what was heard so far.
#[derive(Debug, PartialEq, Eq)]
enum Verdict<'a> {
    /// Others have to be heard.
    Wait,
    /// This is where the master is.
    Believe(&'a Named),
    /// Nobody said what is known, and this instead.
    Doubt(&'a Named),
}

const fn is_most(count: usize, of: usize) -> bool {
    count * 2 > of
}

/// Which of what is known and what was heard counts, of so many sentinels. `is_all`: nobody else
/// will answer.
fn judge<'a>(known: Option<&'a Named>, heard: &'a [Named], of: usize, is_all: bool) -> Verdict<'a> {
    let suffices = is_all || is_most(heard.len(), of);
    let Some(newest) = heard.iter().max_by_key(|named| named.epoch) else {
        return Verdict::Wait;
    };
    let Some(known) = known else {
        return if suffices {
            Verdict::Believe(newest)
        } else {
            Verdict::Wait
        };
    };
    if newest.epoch > known.epoch {
        return Verdict::Believe(newest);
    }
    if !suffices {
        return Verdict::Wait;
    }
    let same = heard.iter().filter(|named| named.epoch == known.epoch);
    let (for_it, against): (Vec<_>, Vec<_>) = same.partition(|named| *named == known);
    let is_undisputed = !for_it.is_empty() && against.is_empty();
    let wins = is_all && !for_it.is_empty() && for_it.len() >= against.len();
    if is_undisputed || wins || is_most(for_it.len(), of) {
        return Verdict::Believe(known);
    }
    match against.first() {
        // Of one age, or of none that may be asked for: the number decides.
        Some(other) if is_most(against.len(), of) => Verdict::Believe(other),
        _ if is_all => Verdict::Doubt(newest),
        _ => Verdict::Wait,
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
    // Where it may not be asked, the number of sentinels decides.
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

    fn sentinels(count: u16) -> Sentinels {
        let addresses = (0..count).map(|port| named(0, port).address);
        Sentinels::new(addresses.collect(), "mymaster".into())
    }

    /// What is believed after a round in which these answered, one after the other.
    fn round(sentinels: &Sentinels, heard: &[Named]) -> u16 {
        let mut rounds = (1..=heard.len()).map(|count| {
            let is_all = count == heard.len();
            sentinels.believe(heard.get(..count).unwrap(), is_all)
        });
        rounds.find_map(|found| found).unwrap().port
    }

    #[test]
    fn one_that_knows_of_a_later_failover_is_believed_at_once() {
        let three = sentinels(3);
        assert_eq!(round(&three, &[named(4, 1), named(4, 1)]), 1);
        assert_eq!(three.believe(&[named(5, 2)], false).unwrap().port, 2);
    }

    #[test]
    fn one_that_has_not_heard_of_a_failover_holds_nobody_back_and_leads_nobody_back() {
        let three = sentinels(3);
        // At the start, and when all connections are down: the others are heard, too.
        assert_eq!(three.believe(&[named(4, 1)], false), None);
        assert_eq!(round(&three, &[named(4, 1), named(4, 1)]), 1);
        assert_eq!(three.believe(&[named(4, 1)], false), None);
        assert_eq!(round(&three, &[named(4, 1), named(5, 2)]), 2);
        for _ in 0..10 {
            assert_eq!(round(&three, &[named(4, 1), named(5, 2)]), 2);
        }
        // Alone it is believed at last: the others may never come again.
        let last = (0..DOUBTS_OF_FEW).map(|_| round(&three, &[named(4, 1)]));
        let last: Vec<u16> = last.collect();
        assert!(last.iter().rev().skip(1).all(|&port| port == 2), "{last:?}");
        assert_eq!(last.last(), Some(&1));
    }

    #[test]
    fn sentinels_behind_one_address_that_differ_do_not_make_nodes_change_sides() {
        let one = sentinels(1);
        assert_eq!(round(&one, &[named(5, 2)]), 2);
        for _ in 0..20 {
            assert_eq!(round(&one, &[named(4, 1)]), 2);
            assert_eq!(round(&one, &[named(5, 2)]), 2);
        }
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_after_a_while() {
        let three = sentinels(3);
        assert_eq!(round(&three, &[named(5, 2), named(5, 2)]), 2);
        let anew = [named(0, 3), named(0, 3), named(0, 3)];
        let all: Vec<u16> = (0..DOUBTS).map(|_| round(&three, &anew)).collect();
        assert_eq!(all, [2, 2, 2, 2, 3]);
    }

    #[test]
    fn of_sentinels_that_tell_no_epoch_the_greater_number_counts() {
        let three = sentinels(3);
        assert_eq!(round(&three, &[named(0, 1), named(0, 1)]), 1);
        assert_eq!(round(&three, &[named(0, 2), named(0, 1), named(0, 2)]), 2);
        // Two names of one master do not make links change sides.
        assert_eq!(round(&three, &[named(0, 7), named(0, 2)]), 2);
    }
}
