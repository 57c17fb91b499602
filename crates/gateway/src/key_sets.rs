//! The keys that issuers publish: fetched again and again, and at once when a token names one that
//! is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use sparkway_auth::{Admission, AuthError, KeySet, Mode};
use sparkway_metrics::FetchResult;
use sparkway_outbound::{Call, Client, Target};
use tokio::sync::Semaphore;

use crate::shared::Shared;

/// Between two fetches for tokens with unknown keys: anybody can make such a token.
const UNKNOWN_MS: u64 = 60_000;
/// Before a failed fetch is repeated, at first; twice as long each time, up to a minute.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the keys of each issuer come from.
#[derive(Debug, Default)]
pub(crate) struct KeySets {
    client: Option<Client>,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    target: Target,
    /// One fetch at a time.
    turn: Semaphore,
    /// Successful fetches.
    version: AtomicU64,
    /// When it was fetched for an unknown key, in monotonic milliseconds and one more; 0: never.
    asked_ms: AtomicU64,
}

impl KeySets {
    pub(crate) fn new(client: Option<Client>, targets: &[Target]) -> Self {
        let slot = |target: &Target| Slot {
            target: target.clone(),
            turn: Semaphore::new(1),
            version: AtomicU64::new(0),
            asked_ms: AtomicU64::new(0),
        };
        Self {
            client,
            slots: targets.iter().map(slot).collect(),
        }
    }
}

impl Shared {
    /// As [`Shared::admit`]; a key that is not known is looked for at its issuer.
    ///
    /// # Errors
    /// Why not.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn admit_learning(
        &self,
        token: Option<&str>,
        mode: Mode,
    ) -> Result<Admission, AuthError> {
        let first = self.admit(token, mode);
        let Err(AuthError::KeyUnknown(issuer) | AuthError::KeysUnknown(issuer)) = first else {
            return first;
        };
        if !self.learn_keys(issuer).await {
            return first;
        }
        self.admit(token, mode)
    }

    /// Whether the keys of an issuer may be others than a moment ago.
    async fn learn_keys(&self, issuer: usize) -> bool {
        let Some(slot) = self.key_sets.slots.get(issuer) else {
            return false;
        };
        let known = slot.version.load(Ordering::Relaxed);
        let Ok(_turn) = slot.turn.acquire().await else {
            return false;
        };
        if slot.version.load(Ordering::Relaxed) != known {
            // Somebody fetched them meanwhile.
            return true;
        }
        let now_ms = self.clock.mono_ms();
        let asked_ms = slot.asked_ms.load(Ordering::Relaxed);
        if asked_ms != 0 && now_ms < asked_ms.saturating_add(UNKNOWN_MS) {
            return false;
        }
        slot.asked_ms.store(now_ms + 1, Ordering::Relaxed);
        self.fetch_keys(issuer).await
    }

    /// Fetches a set. A failure changes nothing: what was known counts on.
    async fn fetch_keys(&self, issuer: usize) -> bool {
        let fetched = Box::pin(self.fetch(issuer)).await;
        let result = match &fetched {
            Ok(_) => FetchResult::Ok,
            Err(_) => FetchResult::Failed,
        };
        self.metrics.backend.key_set_fetches.at(result).inc();
        match fetched {
            Ok(set) => {
                tracing::debug!(issuer, keys = set.count(), "keys fetched");
                let set = Arc::new(set);
                self.verifier
                    .rcu(|verifier| verifier.with_key_set(issuer, Arc::clone(&set)));
                if let Some(slot) = self.key_sets.slots.get(issuer) {
                    slot.version.fetch_add(1, Ordering::Relaxed);
                }
                true
            }
            Err(error) => {
                tracing::warn!(issuer, error, "keys not fetched, those known before count");
                false
            }
        }
    }

    async fn fetch(&self, issuer: usize) -> Result<KeySet, String> {
        let slot = self.key_sets.slots.get(issuer);
        let (Some(client), Some(slot)) = (&self.key_sets.client, slot) else {
            return Err("no such issuer".to_owned());
        };
        let call = Call {
            method: Method::GET,
            target: &slot.target,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = client.send(call, self.settings.key_sets.timeout).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("status {}", answer.status.as_u16()));
        }
        KeySet::parse(&answer.body).map_err(|error| format!("what came {error}"))
    }

    /// Fetches every set once, before clients come. A set that is not there yet is fetched later:
    /// its tokens are answered with "try again" until then.
    pub(crate) async fn fetch_all_keys(&self) {
        for issuer in 0..self.key_sets.slots.len() {
            self.fetch_keys(issuer).await;
        }
    }
}

/// How many issuers publish keys.
pub(crate) fn count(shared: &Shared) -> usize {
    shared.key_sets.slots.len()
}

/// Fetches the keys of an issuer again and again, for as long as the node lives.
pub(crate) async fn follow(shared: Arc<Shared>, issuer: usize) {
    let refresh = shared.settings.key_sets.refresh;
    let is_known = |shared: &Shared| {
        let slot = shared.key_sets.slots.get(issuer);
        slot.is_some_and(|slot| slot.version.load(Ordering::Relaxed) > 0)
    };
    let mut pause = if is_known(&shared) { refresh } else { AGAIN };
    let mut again = AGAIN;
    loop {
        tokio::time::sleep(pause).await;
        let fetched = match shared.key_sets.slots.get(issuer) {
            None => return,
            Some(slot) => {
                let Ok(_turn) = slot.turn.acquire().await else {
                    return;
                };
                shared.fetch_keys(issuer).await
            }
        };
        if fetched {
            (pause, again) = (refresh, AGAIN);
        } else {
            pause = again.min(refresh);
            again = again.saturating_mul(2).min(Duration::from_mins(1));
        }
    }
}
