//! The connection of one feed, or of one control channel: the only place where pushes are read.
//!
//! Commands and pushes share one order on it: whatever was announced before the server ran a
//! command stands before the answer, whatever came later stands behind it. The barrier of a
//! subscription rests on that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sparkway_protocol::Partition;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::backend::Backend;
use super::link::run_id_of;
use super::meter::LinkGauge;
use super::resp::Value;
use super::wire::{Login, Wire};
use crate::StoreError;

/// Between two PINGs.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After so many PINGs without a word the connection counts as dead. Not after a time: a process that
/// was frozen has not listened for so long, and what waits in its socket is told only once.
const UNANSWERED_MAX: u32 = 3;

/// The PINGs since the server said something.
#[derive(Debug, Default)]
struct Silence {
    unanswered: u32,
}

impl Silence {
    /// Another PING is due.
    ///
    /// # Errors
    /// Too many are unanswered: the connection is to be made anew.
    const fn ping(&mut self) -> Result<(), StoreError> {
        if self.unanswered >= UNANSWERED_MAX {
            return Err(StoreError::Unavailable("no answer to a PING"));
        }
        self.unanswered += 1;
        Ok(())
    }
}

const NOT_MASTER: StoreError = StoreError::Unavailable("server is not the master");

/// What an answer is for, in the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Is anybody there?
    Ping,
    /// Is it still a master?
    Role,
    /// The tips of topics; so many subscriptions must have been confirmed by then.
    Tips {
        /// Counted from the start of the connection.
        confirmed: u64,
    },
    /// The clock and the holes.
    Generation,
}

/// What the server said.
#[derive(Debug)]
pub(super) enum Said<T> {
    /// An announcement, as the caller decoded it; `None` when it made nothing of it.
    Announced(Option<T>),
    /// A subscription holds.
    Confirmed,
    /// A subscription ended, asked for or not.
    Left(Vec<u8>),
    /// The answer to something that was asked: strings, with `None` for anything else.
    Answered(Vec<Option<Vec<u8>>>),
    /// A refusal.
    Refused(String),
}

/// A connection to a partition's master that may subscribe.
pub(super) struct Subscriber {
    wire: Wire,
    sharded: bool,
    /// Names the server process.
    pub(super) run_id: Box<str>,
    asked: VecDeque<Asked>,
    /// Subscriptions asked for and confirmed since the connection began.
    sent: u64,
    confirmed: u64,
    silence: Silence,
    /// Told when another server is the master.
    pub(super) moved: Arc<Notify>,
    sentry: JoinHandle<()>,
    gauge: Arc<LinkGauge>,
}

/// A connection is of no use any more.
pub(super) const MOVED: StoreError = StoreError::Unavailable("another server is the master");

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.sentry.abort();
        self.gauge.set(false);
    }
}

impl Subscriber {
    /// Connects to the master of a partition, and makes sure that it is one.
    pub(super) async fn connect(
        backend: &Arc<Backend>,
        partition: Partition,
        sharded: bool,
        gauge: &Arc<LinkGauge>,
    ) -> Result<Self, StoreError> {
        let slot = backend.slot(partition);
        let dialer = backend.router.dialer();
        let address = backend.router.master(slot).await?;
        let mut wire = Wire::connect(dialer, &address, Login::Full).await?;
        let introduction = async {
            let role = wire.ask(&[b"ROLE"], |role| is_master(role).then_some(()));
            role.await?.ok_or(NOT_MASTER)?;
            let run_id = wire.ask(&[b"INFO", b"server"], |info| run_id_of(info.text()?));
            run_id.await?.ok_or(StoreError::Corrupt("INFO"))
        };
        let run_id = timeout(dialer.connect_deadline(), introduction)
            .await
            .unwrap_or(Err(StoreError::Unavailable("no answer in time")))?;
        tracing::debug!(%address, partition = partition.get(), "feed connected");
        let moved = Arc::new(Notify::new());
        let (watching, is_moved) = (Arc::clone(backend), Arc::clone(&moved));
        let sentry = tokio::spawn(async move {
            let doubted = async {
                match watching.router.departed(slot) {
                    Some(departed) => departed.is_doubted().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = watching.router.left(slot, &address) => {
                    tracing::warn!(former = %address, "the master of a partition moved");
                }
                () = doubted => {
                    tracing::warn!(%address, "commands go to another server than the feed");
                }
            }
            is_moved.notify_one();
        });
        gauge.set(true);
        Ok(Self {
            gauge: Arc::clone(gauge),
            wire,
            sharded,
            run_id,
            asked: VecDeque::new(),
            sent: 0,
            confirmed: 0,
            silence: Silence::default(),
            moved,
            sentry,
        })
    }

    /// Subscribes; each channel is confirmed by itself.
    pub(super) fn subscribe(&mut self, channels: &[String]) {
        let word: &[u8] = if self.sharded {
            b"SSUBSCRIBE"
        } else {
            b"SUBSCRIBE"
        };
        self.sent += channels.len() as u64;
        self.queue_with(word, channels);
    }

    /// Unsubscribes; each channel is answered by [`Said::Left`].
    pub(super) fn unsubscribe(&mut self, channels: &[String]) {
        let word: &[u8] = if self.sharded {
            b"SUNSUBSCRIBE"
        } else {
            b"UNSUBSCRIBE"
        };
        self.queue_with(word, channels);
    }

    fn queue_with(&mut self, word: &[u8], names: &[String]) {
        let mut words = Vec::with_capacity(names.len() + 1);
        words.push(word);
        words.extend(names.iter().map(String::as_bytes));
        self.wire.queue(&words);
    }

    /// Asks for tips. Their answer tells that all subscriptions sent before hold.
    pub(super) fn ask_tips(&mut self, tips: &[String]) {
        let confirmed = self.sent;
        self.asked.push_back(Asked::Tips { confirmed });
        self.queue_with(b"MGET", tips);
    }

    /// Asks something else.
    pub(super) fn ask(&mut self, what: Asked, words: &[&[u8]]) {
        self.asked.push_back(what);
        self.wire.queue(words);
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        self.wire.flush().await
    }

    /// Waits until the server said something, or has been replaced.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn ready(&mut self) -> Result<(), StoreError> {
        tokio::select! {
            ready = self.wire.ready() => ready,
            () = self.moved.notified() => Err(MOVED),
        }
    }

    /// Takes what the server said, if it is complete. `decode` is given channel and payload.
    pub(super) fn take<T>(
        &mut self,
        decode: impl FnOnce(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Option<Said<T>>, StoreError> {
        let said = self.wire.take(|value| read(value, decode))?;
        if let Some(Said::Confirmed) = &said {
            self.confirmed += 1;
        }
        Ok(said)
    }

    /// What the answer that just came was for.
    pub(super) fn answered(&mut self) -> Result<Asked, StoreError> {
        let asked = self.asked.pop_front();
        match asked.ok_or(StoreError::Unavailable("an answer nobody asked for"))? {
            Asked::Tips { confirmed } if confirmed > self.confirmed => {
                Err(StoreError::Unavailable("a subscription was not confirmed"))
            }
            asked => Ok(asked),
        }
    }

    /// Whether every subscription holds.
    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmed == self.sent
    }

    /// Notes that the server has said something: no PING is unanswered.
    pub(super) fn heard(&mut self) {
        self.silence = Silence::default();
    }

    /// Sends a PING, unless the server has been silent for too long.
    pub(super) async fn ping(&mut self, ask_role: bool) -> Result<(), StoreError> {
        self.silence.ping()?;
        self.ask(Asked::Ping, &[b"PING"]);
        if ask_role {
            self.ask(Asked::Role, &[b"ROLE"]);
        }
        self.flush().await
    }
}

fn read<T>(value: &Value<'_>, decode: impl FnOnce(&[u8], &[u8]) -> Option<T>) -> Said<T> {
    match value {
        Value::Push(parts) => read_push(parts, decode),
        Value::Error(error) => Said::Refused(String::from_utf8_lossy(error).into_owned()),
        Value::List(parts) => {
            let owned = |part: &Value<'_>| part.text().map(<[u8]>::to_vec);
            Said::Answered(parts.iter().map(owned).collect())
        }
        Value::Text(text) => Said::Answered(vec![Some(text.to_vec())]),
        Value::Null | Value::Integer(_) => Said::Answered(vec![None]),
    }
}

fn read_push<T>(parts: &[Value<'_>], decode: impl FnOnce(&[u8], &[u8]) -> Option<T>) -> Said<T> {
    let text = |at: usize| parts.get(at).and_then(Value::text);
    match (text(0), text(1), text(2)) {
        (Some(b"message" | b"smessage"), Some(channel), Some(payload)) => {
            Said::Announced(decode(channel, payload))
        }
        (Some(b"subscribe" | b"ssubscribe"), Some(_), _) => Said::Confirmed,
        (Some(b"unsubscribe" | b"sunsubscribe"), Some(channel), _) => Said::Left(channel.to_vec()),
        // Other pushes (invalidation, monitors) were never asked for.
        _ => Said::Announced(None),
    }
}

/// Whether the answer to ROLE is a master's.
pub(super) fn is_master(role: &Value<'_>) -> bool {
    let first = role.list().and_then(|parts| parts.first());
    first.and_then(Value::text) == Some(b"master")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_is_dead_after_three_pings_without_a_word() {
        let mut silence = Silence::default();
        for _ in 0..UNANSWERED_MAX {
            assert_eq!(silence.ping(), Ok(()));
        }
        let dead = Err(StoreError::Unavailable("no answer to a PING"));
        assert_eq!(silence.ping(), dead);
        assert_eq!(silence.ping(), dead);
    }
}
