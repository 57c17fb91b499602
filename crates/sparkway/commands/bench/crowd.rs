//! Many sessions at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sparkway_client::{Client, Counts, Error, Status, Subscription};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Load;
use super::histogram::Histogram;
use crate::exit::{Exit, Failure};

/// Sessions being opened at once.
const OPENING: usize = 256;

/// Sessions that are open, and how long each took.
pub(super) struct Crowd {
    pub(super) clients: Vec<Client>,
    pub(super) opened: Histogram,
    /// From the first to the last.
    pub(super) took: Duration,
    /// How many could not be opened.
    pub(super) failed: u64,
    /// Why the first of those could not.
    pub(super) why: Option<Failure>,
}

impl Crowd {
    /// Opens as many sessions as the load asks for; client i begins at URL i of the list.
    ///
    /// # Errors
    /// Not a single one could be opened.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(super) async fn open(load: &Load) -> Result<Self, Failure> {
        let options = load.target.options()?;
        let opening = Arc::new(Semaphore::new(OPENING));
        let began = Instant::now();
        let opened = Arc::new(Histogram::new());
        let mut tasks = JoinSet::new();
        for at in 0..load.clients {
            let mut options = options.clone();
            options.spread_nodes = false;
            let urls = rotated(&load.target.urls, at);
            let due = load
                .open_rate
                .map(|rate| began + Duration::from_secs_f64(f64::from(at) / rate));
            let (opening, opened) = (Arc::clone(&opening), Arc::clone(&opened));
            tasks.spawn(async move {
                if let Some(due) = due {
                    sleep_until(due).await;
                }
                let permit = opening.acquire().await;
                let asked = Instant::now();
                let client = Client::connect(urls, options).await?;
                opened.record(asked.elapsed());
                drop(permit);
                Ok::<_, Error>(client)
            });
        }
        let mut crowd = Self {
            clients: Vec::new(),
            opened: Histogram::new(),
            took: Duration::ZERO,
            failed: 0,
            why: None,
        };
        while let Some(result) = tasks.join_next().await {
            match result.map_err(Failure::failed)? {
                Ok(client) => crowd.clients.push(client),
                Err(error) => {
                    crowd.failed += 1;
                    crowd.why.get_or_insert(Failure::from(error));
                }
            }
        }
        crowd.took = began.elapsed();
        crowd.opened = Arc::into_inner(opened).unwrap_or_else(Histogram::new);
        if crowd.clients.is_empty() {
            let nobody = || Failure::new(Exit::Unreachable, "no session could be opened");
            return Err(crowd.why.unwrap_or_else(nobody));
        }
        Ok(crowd)
    }

    /// The sum over all sessions.
    pub(super) fn counts(&self) -> Counts {
        self.clients
            .iter()
            .fold(Counts::default(), |mut sum, client| {
                sum += client.counts();
                sum
            })
    }

    /// How many sessions are live now.
    pub(super) fn online(&self) -> u64 {
        self.clients
            .iter()
            .map(|client| u64::from(matches!(&*client.status().borrow(), Status::Online { .. })))
            .sum()
    }

    /// Ends all sessions.
    pub(super) async fn close(self) {
        let mut tasks = JoinSet::new();
        for client in self.clients {
            tasks.spawn(async move { client.close().await });
        }
        while tasks.join_next().await.is_some() {}
    }
}

fn rotated(urls: &[String], at: u32) -> Vec<String> {
    let mut urls = urls.to_vec();
    let by = at as usize % urls.len().max(1);
    urls.rotate_left(by);
    urls
}

/// What a measured message carries.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Microseconds since the load began, at the moment it was published.
    pub(super) at_us: u64,
    /// Fills it up to its size.
    pub(super) pad: String,
}

impl Stamp {
    /// A stamp of now, about `size` bytes long as JSON.
    pub(super) fn now(began: Instant, size: usize) -> Self {
        Self {
            at_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
            pad: "x".repeat(size.saturating_sub(32)),
        }
    }

    /// How long ago it was made.
    pub(super) fn age(&self, began: Instant) -> Duration {
        began
            .elapsed()
            .saturating_sub(Duration::from_micros(self.at_us))
    }
}

/// Counts what subscriptions bring, until they are told to stop.
#[derive(Debug)]
pub(super) struct Ears {
    pub(super) latency: Histogram,
    pub(super) heard: AtomicU64,
    began: Instant,
}

impl Ears {
    pub(super) fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            latency: Histogram::new(),
            heard: AtomicU64::new(0),
            began,
        })
    }

    /// Listens in a task of its own, for as long as the subscription lasts.
    pub(super) fn listen(self: &Arc<Self>, mut subscription: Subscription) {
        let ears = Arc::clone(self);
        drop(tokio::spawn(async move {
            while let Some(message) = subscription.message().await {
                ears.heard.fetch_add(1, Ordering::Relaxed);
                if let Ok(stamp) = message.parse::<Stamp>()
                    && !message.replayed
                {
                    ears.latency.record(stamp.age(ears.began));
                }
            }
        }));
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Waits until `wanted` messages were heard, or until nothing new came for `patience`.
    pub(super) async fn wait(&self, wanted: u64, patience: Duration) {
        let mut last = (self.heard(), Instant::now());
        while last.0 < wanted && last.1.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let heard = self.heard();
            if heard != last.0 {
                last = (heard, Instant::now());
            }
        }
    }
}
