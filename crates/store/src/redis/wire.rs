//! A connection of our own, for subscriptions and for questions to servers that come and go: it
//! never mistakes a push for an answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::dial::{Dialer, Duplex};
use super::resp::{self, Parsed, Value};
use super::url::Address;
use crate::StoreError;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The longest that a write may be stuck.
const WRITE_DEADLINE: Duration = Duration::from_secs(3);

/// A RESP3 connection, logged in.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    input: Vec<u8>,
    /// Bytes of `input` that were handed out already.
    taken: usize,
    /// Length of unread input at which the next value may be complete.
    wanted: usize,
    output: Vec<u8>,
}

/// The connection ended, or its peer does not speak RESP3.
const LOST: StoreError = StoreError::Unavailable("connection lost");

/// As whom a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// With the configured user, password and database.
    Full,
    /// With the configured user and password.
    NoDatabase,
    /// As nobody: sentinels seldom want the password of the servers they watch.
    Anonymous,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn connect(
        dialer: &Dialer,
        address: &Address,
        login: Login,
    ) -> Result<Self, StoreError> {
        let stream = dialer.dial(address).await?;
        let mut wire = Self {
            stream,
            input: Vec::with_capacity(READ_BYTES),
            taken: 0,
            wanted: 1,
            output: Vec::new(),
        };
        timeout(dialer.connect_deadline(), wire.log_in(dialer, login))
            .await
            .unwrap_or(Err(StoreError::Unavailable("no answer to the login")))?;
        Ok(wire)
    }

    async fn log_in(&mut self, dialer: &Dialer, login: Login) -> Result<(), StoreError> {
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let (Some(password), true) = (&dialer.password, login != Login::Anonymous) {
            let user = dialer.username.as_deref().unwrap_or("default");
            words.extend([&b"AUTH"[..], user.as_bytes(), password.expose().as_bytes()]);
        }
        self.ask(&words, |_| Some(()))
            .await?
            .ok_or(StoreError::Unavailable("login refused"))?;
        if dialer.database > 0 && login == Login::Full {
            let database = dialer.database.to_string();
            self.ask(&[b"SELECT", database.as_bytes()], |_| Some(()))
                .await?
                .ok_or(StoreError::Unavailable("database refused"))?;
        }
        Ok(())
    }

    /// Asks and takes what `take` makes of the answer. `None` also when the server refused. Pushes
    /// that come in between are dropped: only for connections without live subscriptions.
    pub(super) async fn ask<T>(
        &mut self,
        words: &[&[u8]],
        take: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        self.queue(words);
        self.flush().await?;
        self.answer(take).await
    }

    /// The answer to the oldest command that was written and not answered yet, as [`Wire::ask`].
    pub(super) async fn answer<T>(
        &mut self,
        mut take: impl FnMut(&Value<'_>) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        loop {
            let answer = self.next(|value| match value {
                Value::Push(_) => None,
                Value::Error(error) => {
                    let error = String::from_utf8_lossy(error);
                    tracing::debug!(%error, "store refused a question");
                    Some(None)
                }
                value => Some(take(value)),
            });
            if let Some(answer) = answer.await? {
                return Ok(answer);
            }
        }
    }

    /// Adds a command to what the next flush writes.
    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        resp::write_command(&mut self.output, words);
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        let written = timeout(WRITE_DEADLINE, self.stream.write_all(&self.output)).await;
        self.output.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            _ => Err(LOST),
        }
    }

    /// Waits until a whole value is there. Nothing is lost when dropped before it is ready.
    ///
    /// # Cancel safety
    /// Bytes that were read stay in the buffer.
    pub(super) async fn ready(&mut self) -> Result<(), StoreError> {
        loop {
            if self.input.len() - self.taken >= self.wanted {
                match self.peek()? {
                    Parsed::Value(..) => return Ok(()),
                    Parsed::Incomplete { at_least } => self.wanted = at_least,
                }
            }
            self.make_room();
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Err(LOST),
                Ok(_) => {}
            }
        }
    }

    /// Hands the value that is ready to `take`; `None` when none is complete.
    pub(super) fn take<T>(
        &mut self,
        take: impl FnOnce(&Value<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        if self.input.len() - self.taken < self.wanted {
            return Ok(None);
        }
        let (taken, length) = match self.peek()? {
            Parsed::Value(value, length) => (take(&value), length),
            Parsed::Incomplete { at_least } => {
                self.wanted = at_least;
                return Ok(None);
            }
        };
        self.taken += length;
        self.wanted = 1;
        Ok(Some(taken))
    }

    /// Waits for the next value and hands it to `take`.
    pub(super) async fn next<T>(
        &mut self,
        take: impl FnOnce(&Value<'_>) -> T,
    ) -> Result<T, StoreError> {
        self.ready().await?;
        self.take(take)?.ok_or(LOST)
    }

    fn peek(&self) -> Result<Parsed<'_>, StoreError> {
        let input = self.input.get(self.taken..).unwrap_or_default();
        resp::parse(input).map_err(|why| {
            tracing::warn!(%why, "store sent something that is not RESP3");
            LOST
        })
    }

    /// Moves what is unread to the front, and lets go of a buffer that one big value made.
    fn make_room(&mut self) {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        if self.input.is_empty() && self.input.capacity() > 4 * READ_BYTES {
            self.input = Vec::with_capacity(READ_BYTES);
        }
        self.input.reserve(
            self.wanted
                .saturating_sub(self.input.len())
                .clamp(READ_BYTES / 4, 16 * READ_BYTES),
        );
    }
}
