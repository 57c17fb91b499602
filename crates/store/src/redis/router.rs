//! Brings a call to the master of its slot, and repeats it there while that is safe and in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, Value};
use sparkway_metrics::{RedisMetrics, RedisRole};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::cluster::{self, SlotMap};
use super::departed::Departed;
use super::dial::Dialer;
use super::fault::Fault;
use super::handover::{Sightings, Verdict, judge};
use super::keys;
use super::link::{Link, Live};
use super::locate::{Locator, Sentinels};
use super::meter::{Attempt, LinkGauge};
use super::settings::RedisSettings;
use super::url::{Address, Servers};
use crate::StoreError;

/// How long a call waits for one master of a cluster before it looks for another one.
const MASTER_PATIENCE: Duration = Duration::from_millis(250);
/// The slots are not asked for more often than this.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks at who the masters of a cluster are.
const MASTER_INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to find out whether a slot was moved: publishes wait for it.
const JUDGED_WITHIN: Duration = Duration::from_secs(1);
/// When a feed left a process so long ago, and the cluster still says that it serves the slot, it may
/// be the feed that is wrong.
const DOUBT_AFTER: Duration = Duration::from_secs(2);
/// Pause before a call is repeated, in milliseconds.
const PAUSE_MS: (u64, u64) = (5, 50);

/// Which of a master's connections carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Short calls.
    Quick,
    /// Reads of logs: a big replay must not delay a publish.
    Bulk,
    /// Publishes followed by WAIT, which holds up everything behind it.
    Replicated,
}

/// Whether a call may be repeated when nobody knows whether it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing more the second time.
    Safe,
    /// It would happen twice.
    Never,
}

/// See [`Departed`].
const LEFT: Fault = Fault::Lost("a server that its feed has left");

#[derive(Debug)]
enum Route {
    /// All slots on one master.
    One(Locator),
    /// Slots spread over masters.
    Slots {
        seeds: Vec<Address>,
        map: Mutex<Arc<SlotMap>>,
        sightings: Sightings,
        refreshed: tokio::sync::Mutex<Option<Instant>>,
    },
}

/// One link per lane and master; no address where there is only one master.
type Links = HashMap<(Lane, Option<Address>), Arc<Link>>;

/// All connections for commands.
#[derive(Debug)]
pub(super) struct Router {
    dialer: Arc<Dialer>,
    command_deadline: Duration,
    route: Route,
    links: Mutex<Links>,
    /// Counts how often commands went to another process than before.
    count: watch::Sender<u64>,
    /// What the feeds have left, by slot.
    departed: HashMap<u16, Departed>,
    metrics: RedisMetrics,
}

impl Router {
    pub(super) fn new(settings: &RedisSettings, dialer: Arc<Dialer>) -> Self {
        let route = match settings.url.servers.clone() {
            Servers::One(address) => Route::One(Locator::Fixed(address)),
            Servers::Sentinel { sentinels, master } => Route::One(Locator::Sentinel(Arc::new(
                Sentinels::new(sentinels, master),
            ))),
            Servers::Cluster(seeds) => Route::Slots {
                seeds,
                map: Mutex::default(),
                sightings: Sightings::default(),
                refreshed: tokio::sync::Mutex::new(None),
            },
        };
        let count = watch::Sender::new(0);
        Self {
            dialer,
            command_deadline: settings.command_deadline,
            route,
            links: Mutex::default(),
            departed: keys::slots().map(|slot| (slot, Departed::default())).into(),
            count,
            metrics: RedisMetrics::new(),
        }
    }

    /// What is counted of its calls.
    pub(super) const fn metrics(&self) -> &RedisMetrics {
        &self.metrics
    }

    /// Whether slots are spread over masters.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.route, Route::Slots { .. })
    }

    /// How connections are made.
    pub(super) const fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// Changes whenever commands begin to go to another process than before: what the former one
    /// answered last, this one may not know.
    pub(super) fn switches(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// What the feed of a slot's partition has left.
    pub(super) fn departed(&self, slot: u16) -> Option<&Departed> {
        self.departed.get(&slot)
    }

    /// When a call that begins now has to end.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.command_deadline
    }

    /// Runs commands on the master of a slot; `build` makes them for the connection that is used.
    ///
    /// # Errors
    /// [`StoreError`]: not answered in time, or refused for good.
    pub(super) async fn call(
        &self,
        lane: Lane,
        slot: u16,
        repeat: Repeat,
        build: impl FnMut(&Live) -> Pipeline + Send,
    ) -> Result<Vec<Value>, StoreError> {
        let called = self.call_over(lane, slot, repeat, build).await;
        called.map(|(_, answers)| answers)
    }

    /// As [`Router::call`]; also answers the connection that was used in the end.
    pub(super) async fn call_over(
        &self,
        lane: Lane,
        slot: u16,
        repeat: Repeat,
        mut build: impl FnMut(&Live) -> Pipeline + Send,
    ) -> Result<(Arc<Live>, Vec<Value>), StoreError> {
        let deadline = self.deadline();
        loop {
            let attempt = Attempt::begin(&self.metrics);
            let answer = match self.live(lane, slot, deadline).await {
                Ok(live) if self.is_left(slot, &live) => Err((LEFT, false)),
                Ok(live) => {
                    let answers = live.run_scripts(&build(&live), deadline).await;
                    match answers {
                        // While it answered: what it knows or has done may not count any more.
                        Ok(_) if self.is_left(slot, &live) => Err((LEFT, true)),
                        Ok(answers) => Ok((live, answers)),
                        Err(fault) => Err((fault, true)),
                    }
                }
                Err(fault) => Err((fault, false)),
            };
            let (fault, was_sent) = match answer {
                Ok(answers) => {
                    attempt.end(&Ok(()));
                    return Ok(answers);
                }
                Err((fault, was_sent)) => (fault, was_sent),
            };
            attempt.end::<()>(&Err(fault.clone()));
            if let Fault::Lost(why) = fault
                && was_sent
                && repeat == Repeat::Never
            {
                return Err(StoreError::Unavailable(why));
            }
            if let Fault::Refused(error) = fault {
                return Err(error);
            }
            let pause = rand::random_range(PAUSE_MS.0..=PAUSE_MS.1);
            let again = Instant::now() + Duration::from_millis(pause);
            if again >= deadline {
                return Err(fault.into());
            }
            sleep_until(again).await;
            drop(timeout_at(deadline, self.refresh(REFRESH_INTERVAL)).await);
        }
    }

    /// Whether a connection leads to a process that the feed of the slot's partition has left. Then
    /// one of both is to look for its server again.
    fn is_left(&self, slot: u16, live: &Live) -> bool {
        let departed = self.departed(slot);
        let left = departed.and_then(|departed| Some((departed, departed.left_at(&live.run_id)?)));
        let Some((departed, left_at)) = left else {
            return false;
        };
        let is_new = match &self.route {
            Route::One(_) => {
                live.give_up();
                live.since > left_at
            }
            // It serves others; the slots are asked for again before the next try.
            Route::Slots { .. } => left_at.elapsed() > DOUBT_AFTER,
        };
        if is_new {
            departed.doubt();
        }
        true
    }

    /// A working connection to the master of a slot.
    async fn live(&self, lane: Lane, slot: u16, deadline: Instant) -> Result<Arc<Live>, Fault> {
        let (key, locator, patience) = match &self.route {
            Route::One(locator) => ((lane, None), locator.clone(), deadline),
            Route::Slots { .. } => {
                let address = self.master(slot).await.map_err(Fault::Refused);
                let address = address.map_err(|_| Fault::Busy("slot has no master"))?;
                let patience = deadline.min(Instant::now() + MASTER_PATIENCE);
                let locator = Locator::Fixed(address.clone());
                ((lane, Some(address)), locator, patience)
            }
        };
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            let start = || {
                let gauge = LinkGauge::new(&self.metrics, RedisRole::Command);
                Link::start(Arc::clone(&self.dialer), locator, gauge, self.count.clone())
            };
            Arc::clone(links.entry(key).or_insert_with(start))
        };
        link.live(patience).await
    }

    /// Where the master of a slot is, as far as is known.
    ///
    /// # Errors
    /// [`StoreError`]: nobody could be asked, or nobody serves the slot; try again.
    pub(super) async fn master(&self, slot: u16) -> Result<Address, StoreError> {
        let map = match &self.route {
            Route::One(locator) => return locator.find(&self.dialer).await,
            Route::Slots { map, .. } => map,
        };
        if let Some(address) = current(map).master(slot) {
            return Ok(address.clone());
        }
        self.refresh(REFRESH_INTERVAL).await;
        let found = current(map).master(slot).cloned();
        found.ok_or(StoreError::Unavailable("slot has no master"))
    }

    /// Ends when another server than this one is the master of a slot: a replaced one may go on
    /// answering, or stay connected and silent.
    pub(super) async fn left(&self, slot: u16, mine: &Address) {
        if let Route::One(locator) = &self.route {
            return locator.left(&self.dialer, mine).await;
        }
        loop {
            sleep(MASTER_INTERVAL).await;
            self.refresh(MASTER_INTERVAL).await;
            if self.master(slot).await.is_ok_and(|master| master != *mine) {
                return;
            }
        }
    }

    /// Asks a cluster again who serves which slot, unless that was done less than `age` ago.
    pub(super) async fn refresh(&self, age: Duration) {
        let Route::Slots {
            seeds,
            map,
            sightings,
            refreshed,
        } = &self.route
        else {
            return;
        };
        let mut refreshed = refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < age) {
            return;
        }
        let known = current(map);
        let others = seeds.iter().filter(|seed| !known.has(seed));
        let asked: Vec<&Address> = known.masters().into_iter().chain(others).collect();
        let views = cluster::ask_all(&self.dialer, &asked).await;
        sightings.note(&views, &keys::slots());
        if let Some(found) = cluster::newest(&views) {
            self.drop_links(&found);
            let found = Arc::new(found);
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *map, Arc::clone(&found));
            drop(map);
            // To none as well as from none: between the two another one may have been chosen.
            let was_moved = |slot: u16| before.master(slot) != found.master(slot);
            if keys::slots().into_iter().any(was_moved) {
                self.count.send_modify(|count| *count += 1);
            }
        }
        *refreshed = Some(Instant::now());
    }

    /// Whether the process `heir`, which serves a slot now, got it whole from the process `former`:
    /// false also where that cannot be known.
    pub(super) async fn was_moved(&self, slot: u16, former: &str, heir: &str) -> bool {
        let Route::Slots { map, sightings, .. } = &self.route else {
            return false;
        };
        let judging = async {
            loop {
                self.refresh(REFRESH_INTERVAL).await;
                let Some(address) = sightings.address_of(former) else {
                    return false;
                };
                // One that is slow to answer may answer yet; another process will not.
                if let Some(view) = cluster::ask(&self.dialer, &address).await {
                    if *view.run_id != *former {
                        return false;
                    }
                    match judge(sightings, &current(map), (slot, heir), &view) {
                        Verdict::Moved => return true,
                        Verdict::Unknown => return false,
                        Verdict::NotYet => {}
                    }
                }
                sleep_until(Instant::now() + REFRESH_INTERVAL).await;
            }
        };
        timeout(JUDGED_WITHIN, judging).await.unwrap_or(false)
    }

    /// Lets go of connections to servers that serve nothing any more.
    fn drop_links(&self, map: &SlotMap) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, address), _| address.as_ref().is_none_or(|address| map.has(address)));
    }
}

fn current(map: &Mutex<Arc<SlotMap>>) -> Arc<SlotMap> {
    Arc::clone(&map.lock().unwrap_or_else(PoisonError::into_inner))
}
