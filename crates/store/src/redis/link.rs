//! One supervised connection to one server, for commands.
//!
//! The client library neither notices a stalled server nor reconnects where it matters, so the
//! supervisor does: connect, check the role, learn the server's run id on that very connection,
//! load the scripts, watch it with PING, and begin again with jittered backoff when it breaks. A
//! connection and the run id learned on it stay together for life: a reconnect under an old run id
//! would hide a rewind of the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, Value};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dial::Dialer;
use super::fault::{self, Fault};
use super::locate::Locator;
use super::meter::LinkGauge;
use super::reply::number_of;
use super::scripts;
use super::url::Address;
use crate::StoreError;

/// Between two PINGs.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// After so long without an answer to a PING a connection counts as dead.
const WATCH_DEADLINE: Duration = Duration::from_secs(3);
/// How much later than its deadline the answer to WAIT may come.
const WAIT_GRACE: Duration = Duration::from_millis(200);
/// Backoff between tries to connect.
const BACKOFF_MS: (u64, u64) = (20, 1000);
/// Commands that may wait for the socket.
const QUEUED_COMMANDS: usize = 1024;

/// A connection that works, and what was learned on it.
pub(super) struct Live {
    connection: MultiplexedConnection,
    /// Names the server process behind this connection.
    pub(super) run_id: Box<str>,
    /// When it was made.
    pub(super) since: Instant,
    driver: JoinHandle<()>,
    broken: Arc<Notify>,
    /// How many WAITs have begun.
    waits: AtomicU64,
    /// The last WAIT that ended: its number, and how many replicas it found.
    waited: Mutex<(u64, u64)>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Live")
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Live {
    /// Runs commands one after the other and answers all their replies, or the first refusal.
    pub(super) async fn run(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Fault> {
        let mut connection = self.connection.clone();
        let sent = connection.send_packed_commands(commands, 0, commands.len());
        // A late answer does not condemn the connection: the watch over it decides.
        let answers = timeout_at(deadline, sent)
            .await
            .map_err(|_| Fault::Lost("no answer in time"))?;
        let checked = match answers {
            Ok(answers) => fault::checked(answers),
            Err(error) => Err(fault::of_error(&error)),
        };
        if let Err(Fault::Lost(_) | Fault::NotMaster(_)) = &checked {
            self.broken.notify_one();
        }
        checked
    }

    /// How many replicas have everything that this connection wrote before the call. Callers at
    /// the same time share one WAIT: it holds up everything behind it on the connection.
    pub(super) async fn replicas(
        &self,
        confirmations: u32,
        deadline: Instant,
    ) -> Result<u64, Fault> {
        // Only a WAIT that begins from now on covers what the caller wrote.
        let needed = self.waits.load(Ordering::SeqCst) + 1;
        let mut waited = timeout_at(deadline, self.waited.lock())
            .await
            .map_err(|_| Fault::Lost("no answer in time"))?;
        if waited.0 >= needed {
            return Ok(waited.1);
        }
        let number = self.waits.fetch_add(1, Ordering::SeqCst) + 1;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut wait = redis::pipe();
        wait.cmd("WAIT")
            .arg(confirmations)
            .arg(left.as_millis().max(1).to_string());
        // The server answers at the deadline: give the answer time to come.
        let found = self.run(&wait, deadline + WAIT_GRACE).await?;
        let replicas = found.first().and_then(number_of).unwrap_or(0);
        *waited = (number, replicas);
        Ok(replicas)
    }

    /// The link is to look for its server again.
    pub(super) fn give_up(&self) {
        self.broken.notify_one();
    }

    async fn load_scripts(&self, deadline: Instant) -> Result<(), Fault> {
        self.run(&scripts::load_all(), deadline).await.map(drop)
    }

    /// As [`Live::run`], with the scripts loaded again when the server forgot them.
    pub(super) async fn run_scripts(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Fault> {
        match self.run(commands, deadline).await {
            Err(Fault::NoScript) => {
                self.load_scripts(deadline).await?;
                self.run(commands, deadline).await
            }
            done => done,
        }
    }
}

/// Notices when the commands of one link go to another process than before. That of another link
/// tells nothing: what this one asks may be answered by the former process for longer.
#[derive(Debug)]
struct Switches {
    count: watch::Sender<u64>,
    last: Option<Box<str>>,
}

impl Switches {
    fn connected(&mut self, run_id: &str) {
        let before = self.last.replace(run_id.into());
        if before.is_some_and(|before| *before != *run_id) {
            self.count.send_modify(|count| *count += 1);
        }
    }
}

/// A connection that is made again whenever it breaks, for as long as the link lives.
#[derive(Debug)]
pub(super) struct Link {
    live: watch::Receiver<Option<Arc<Live>>>,
    supervisor: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    /// Starts the supervisor. `count` is raised whenever commands begin to go to another process
    /// than before.
    pub(super) fn start(
        dialer: Arc<Dialer>,
        locator: Locator,
        gauge: LinkGauge,
        count: watch::Sender<u64>,
    ) -> Arc<Self> {
        let (sender, live) = watch::channel(None);
        let switches = Switches { count, last: None };
        let supervisor = tokio::spawn(supervise(dialer, locator, (sender, switches), gauge));
        Arc::new(Self { live, supervisor })
    }

    /// The connection, as soon as there is one.
    pub(super) async fn live(&self, deadline: Instant) -> Result<Arc<Live>, Fault> {
        let mut live = self.live.clone();
        let waited = timeout_at(deadline, live.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(found)) => found.clone().ok_or(Fault::Lost("no connection")),
            _ => Err(Fault::Lost("no connection")),
        }
    }
}

async fn supervise(
    dialer: Arc<Dialer>,
    locator: Locator,
    (state, mut switches): (watch::Sender<Option<Arc<Live>>>, Switches),
    gauge: LinkGauge,
) {
    let mut failures = 0_u32;
    while !state.is_closed() {
        match connect(&dialer, &locator).await {
            Ok((address, live)) => {
                failures = 0;
                tracing::debug!(%address, run_id = %live.run_id, "connected to the store");
                switches.connected(&live.run_id);
                let live = Arc::new(live);
                let weak = Arc::downgrade(&live);
                state.send_replace(Some(live));
                gauge.set(true);
                let why = tokio::select! {
                    why = watch_over(&weak) => why,
                    // What a former master still answers would come undone.
                    () = locator.left(&dialer, &address) => "another server is the master",
                };
                gauge.set(false);
                state.send_replace(None);
                tracing::warn!(%address, why, "connection to the store is gone");
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if failures.is_power_of_two() {
                    tracing::warn!(%error, failures, "store is not reachable");
                }
            }
        }
        sleep(backoff(failures)).await;
    }
}

/// Full jitter over a bound that doubles: nodes that lost the same server come back spread out.
pub(super) fn backoff(failures: u32) -> Duration {
    let (least, most) = BACKOFF_MS;
    let bound = least.saturating_mul(1 << failures.min(10)).min(most);
    Duration::from_millis(rand::random_range(least / 2..=bound))
}

async fn connect(dialer: &Arc<Dialer>, locator: &Locator) -> Result<(Address, Live), StoreError> {
    let address = locator.find(dialer).await?;
    let deadline = dialer.connect_deadline();
    let live = timeout(deadline * 2, open(dialer, &address))
        .await
        .unwrap_or(Err(StoreError::Unavailable("no answer in time")))?;
    Ok((address, live))
}

async fn open(dialer: &Dialer, address: &Address) -> Result<Live, StoreError> {
    let stream = dialer.dial(address).await?;
    let mut login = RedisConnectionInfo::default()
        .set_skip_set_lib_name()
        .set_db(i64::from(dialer.database));
    if let Some(username) = &dialer.username {
        login = login.set_username(username);
    }
    if let Some(password) = &dialer.password {
        login = login.set_password(password.expose());
    }
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUED_COMMANDS);
    let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config)
        .await
        .map_err(|error| StoreError::from(fault::of_error(&error)))?;
    let broken = Arc::new(Notify::new());
    let ended = Arc::clone(&broken);
    let driver = tokio::spawn(async move {
        driver.await;
        ended.notify_one();
    });
    let mut live = Live {
        connection,
        run_id: Box::default(),
        since: Instant::now(),
        driver,
        broken,
        waits: AtomicU64::new(0),
        waited: Mutex::default(),
    };
    live.run_id = introduce(&live, dialer.connect_deadline()).await?;
    Ok(live)
}

/// Checks that this is a master, learns its run id and loads the scripts.
async fn introduce(live: &Live, within: Duration) -> Result<Box<str>, StoreError> {
    let deadline = Instant::now() + within;
    let mut questions = redis::pipe();
    questions.cmd("ROLE").cmd("INFO").arg("server");
    let answers = live.run(&questions, deadline).await?;
    let [Value::Array(role), server] = answers.as_slice() else {
        return Err(StoreError::Corrupt("ROLE"));
    };
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => {}
        _ => return Err(StoreError::Unavailable("server is not a master")),
    }
    let run_id = match server {
        Value::BulkString(text) => run_id_of(text),
        _ => None,
    };
    live.load_scripts(deadline).await?;
    run_id.ok_or(StoreError::Corrupt("INFO without run_id"))
}

/// The run id in the text of `INFO server`.
pub(super) fn run_id_of(text: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("run_id:").map(Into::into))
}

/// Ends when the connection is not to be used any more, and says why.
async fn watch_over(live: &Weak<Live>) -> &'static str {
    let mut ping = redis::pipe();
    ping.cmd("PING");
    let Some(broken) = live.upgrade().map(|live| Arc::clone(&live.broken)) else {
        return "dropped";
    };
    loop {
        tokio::select! {
            () = broken.notified() => return "it broke or was given up",
            () = sleep(WATCH_INTERVAL) => {}
        }
        let Some(live) = live.upgrade() else {
            return "dropped";
        };
        let answered = live.run(&ping, Instant::now() + WATCH_DEADLINE).await;
        match answered {
            Ok(_) | Err(Fault::Busy(_)) => {}
            Err(_) => return "it did not answer a PING",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_notices_when_it_comes_to_another_process() {
        let count = watch::Sender::new(0_u64);
        let switches = || Switches {
            count: count.clone(),
            last: None,
        };
        let (mut quick, mut bulk) = (switches(), switches());
        quick.connected("a");
        bulk.connected("a");
        assert_eq!(*count.borrow(), 0, "the first one is no switch");
        bulk.connected("b");
        bulk.connected("b");
        assert_eq!(*count.borrow(), 1);
        quick.connected("b");
        assert_eq!(*count.borrow(), 2, "it was with the former one until now");
    }
}
