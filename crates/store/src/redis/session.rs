//! Session records: every change is one script in the session's partition.

use redis::{Value, cmd};
use sparkway_protocol::{CloseReason, Epoch, NodeId, Partition, SessionId};

use super::backend::Backend;
use super::link::Live;
use super::reply::{bytes_of, list_of, number_of, text_of};
use super::router::{Lane, Repeat};
use super::{codec, fields, scripts};
use crate::{
    Claim, ClaimError, Claimed, Detach, OnlyOne, Open, Opened, Remember, SessionRecord, StoreError,
    WriteError,
};

/// How long a record lives that nobody writes, in milliseconds: 48 h. A living session renews it
/// with every change, at the latest when its heartbeat token rotates.
pub(super) const EXPIRY_MS: u64 = 172_800_000;
/// How long a record outlives its deadline when no node sweeps, in milliseconds: 24 h.
pub(super) const KEEP_MS: u64 = 86_400_000;
/// How long a removed session stays fenced, in milliseconds: 1 h.
pub(super) const REMOVED_MS: u64 = 3_600_000;
/// Sessions in one pipeline.
const PIPELINE: usize = 256;

const CORRUPT: StoreError = StoreError::Corrupt("session record");

impl Backend {
    fn node_key(&self, partition: Partition, node: &NodeId) -> String {
        format!("{}{node}", self.keys.node_stem(partition))
    }

    fn user_key(&self, record: &SessionRecord) -> String {
        let partition = record.session.partition();
        match &record.user {
            Some(user) => self.keys.user(partition, user),
            None => self.keys.user_stem(partition),
        }
    }

    /// See [`crate::Store::open`].
    pub(super) async fn open(&self, open: Open) -> Result<Opened, StoreError> {
        let record = &open.record;
        let (session, partition) = (record.session, record.session.partition());
        let mut command = scripts::OPEN.call(&self.with_outbox(
            partition,
            [
                self.keys.session(session),
                self.user_key(record),
                self.node_key(partition, &record.owner),
                self.keys.hosts(partition),
                self.keys.detached(partition),
                self.keys.session_stem(partition),
                self.keys.node_stem(partition),
            ],
        ));
        command
            .arg(session.to_string())
            .arg(record.owner.as_str())
            .arg(EXPIRY_MS)
            .arg(match open.only_one {
                OnlyOne::No => 0,
                OnlyOne::OfUser => 1,
                OnlyOne::OfDialect => 2,
            })
            .arg(u8::from(record.user.is_some()))
            .arg(self.keys.control_stem())
            .arg(codec::close_stem(CloseReason::Superseded))
            .arg(REMOVED_MS)
            .arg(fields::of_record(record));
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let answer = list_of(answer).ok_or(CORRUPT)?;
        let (epoch, removed) = answer.split_first().ok_or(CORRUPT)?;
        Ok(Opened {
            epoch: Epoch(number_of(epoch).ok_or(CORRUPT)?),
            removed: removed
                .iter()
                .filter_map(|other| SessionId::parse(text_of(other)?))
                .collect(),
        })
    }

    /// See [`crate::Store::load`].
    pub(super) async fn load(
        &self,
        session: SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        if !self.has(session.partition()) {
            return Ok(None);
        }
        let mut command = cmd("HGETALL");
        command.arg(self.keys.session(session));
        let answer = self.ask(Lane::Quick, session.partition(), command).await?;
        let found = list_of(answer).ok_or(CORRUPT)?;
        if !fields::is_session(&found) {
            return Ok(None);
        }
        let record = fields::read(session, &found);
        record.map(Some).ok_or(CORRUPT)
    }

    /// See [`crate::Store::claim`].
    pub(super) async fn claim(&self, claim: Claim) -> Result<Claimed, ClaimError> {
        let (session, partition) = (claim.session, claim.session.partition());
        if !self.has(partition) {
            return Err(ClaimError::Unknown);
        }
        let mut command = scripts::CLAIM.call(&[
            self.keys.session(session),
            self.keys.hosts(partition),
            self.keys.detached(partition),
            self.keys.node_stem(partition),
            self.keys.user_stem(partition),
        ]);
        command
            .arg(session.to_string())
            .arg(claim.node.as_str())
            .arg(claim.generation)
            .arg(claim.nonce)
            .arg(EXPIRY_MS)
            .arg(self.keys.control_stem());
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let answer = list_of(answer).ok_or(CORRUPT)?;
        match answer.as_slice() {
            [word] if bytes_of(word) == Some(b"unknown") => Err(ClaimError::Unknown),
            [word] if bytes_of(word) == Some(b"generation") => Err(ClaimError::BadGeneration),
            [_, former, found @ ..] => {
                let former = text_of(former).filter(|former| !former.is_empty());
                Ok(Claimed {
                    record: fields::read(session, found).ok_or(CORRUPT)?,
                    former_owner: former.and_then(|former| NodeId::parse(former).ok()),
                })
            }
            _ => Err(CORRUPT.into()),
        }
    }

    /// See [`crate::Store::remember`].
    pub(super) async fn remember(&self, change: Remember) -> Result<(), WriteError> {
        let (session, partition) = (change.session, change.session.partition());
        if !self.has(partition) {
            return Err(WriteError::Gone);
        }
        let (set, removed) = fields::of_change(&change);
        let [newest, oldest] = fields::of_generations(change.generations);
        let mut command = scripts::REMEMBER.call(&[
            self.keys.session(session),
            self.keys.hosts(partition),
            self.keys.detached(partition),
            self.keys.node_stem(partition),
            self.keys.user_stem(partition),
        ]);
        command
            .arg(session.to_string())
            .arg(change.epoch.0)
            .arg(EXPIRY_MS)
            .arg(newest)
            .arg(oldest)
            .arg(removed.len())
            .arg(removed)
            .arg(set);
        written(&self.ask(Lane::Quick, partition, command).await?)
    }

    /// See [`crate::Store::restore`].
    pub(super) async fn restore(&self, record: SessionRecord) -> Result<Epoch, WriteError> {
        let (session, partition) = (record.session, record.session.partition());
        if !self.has(partition) {
            return Err(WriteError::Gone);
        }
        let mut command = scripts::RESTORE.call(&[
            self.keys.session(session),
            self.user_key(&record),
            self.node_key(partition, &record.owner),
            self.keys.hosts(partition),
            self.keys.detached(partition),
        ]);
        command
            .arg(session.to_string())
            .arg(record.owner.as_str())
            .arg(record.epoch.0)
            .arg(EXPIRY_MS)
            .arg(u8::from(record.user.is_some()))
            .arg(self.keys.control_stem())
            .arg(fields::of_record(&record));
        let answer = self.ask(Lane::Quick, partition, command).await?;
        match number_of(&answer) {
            Some(epoch) => Ok(Epoch(epoch)),
            None if bytes_of(&answer) == Some(b"fenced") => Err(WriteError::Fenced),
            None => Err(CORRUPT.into()),
        }
    }

    /// See [`crate::Store::detach`].
    pub(super) async fn detach(
        &self,
        partition: Partition,
        sessions: Vec<Detach>,
    ) -> Result<Vec<Result<(), WriteError>>, StoreError> {
        let mut results = Vec::with_capacity(sessions.len());
        for chunk in sessions.chunks(PIPELINE) {
            let build = |_: &Live| {
                let mut pipeline = redis::Pipeline::with_capacity(chunk.len());
                for detach in chunk {
                    pipeline.add_command(self.detach_one(partition, detach));
                }
                pipeline
            };
            let slot = self.slot(partition);
            let answers = self
                .router
                .call(Lane::Quick, slot, Repeat::Safe, build)
                .await?;
            results.extend(answers.iter().map(written));
        }
        Ok(results)
    }

    fn detach_one(&self, partition: Partition, detach: &Detach) -> redis::Cmd {
        let mut command = scripts::DETACH.call(&[
            self.keys.session(detach.session),
            self.keys.detached(partition),
            self.keys.node_stem(partition),
            self.keys.user_stem(partition),
        ]);
        command
            .arg(detach.session.to_string())
            .arg(detach.epoch.0)
            .arg(detach.window_ms)
            .arg(KEEP_MS)
            .arg(fields::of_cursors(&detach.cursors));
        command
    }

    /// See [`crate::Store::end`].
    pub(super) async fn end(&self, session: SessionId, epoch: Epoch) -> Result<(), WriteError> {
        let partition = session.partition();
        if !self.has(partition) {
            return Ok(());
        }
        let mut command = scripts::END.call(&self.with_outbox(
            partition,
            [
                self.keys.session(session),
                self.keys.detached(partition),
                self.keys.node_stem(partition),
                self.keys.user_stem(partition),
            ],
        ));
        command.arg(session.to_string()).arg(epoch.0);
        written(&self.ask(Lane::Quick, partition, command).await?)
    }
}

fn written(answer: &Value) -> Result<(), WriteError> {
    match bytes_of(answer) {
        Some(b"ok" | b"OK") => Ok(()),
        Some(b"fenced") => Err(WriteError::Fenced),
        Some(b"gone") => Err(WriteError::Gone),
        _ => Err(CORRUPT.into()),
    }
}
