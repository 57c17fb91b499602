//! Listings, walked with the cursors of Redis, and the removal of sessions.
//!
//! Small indexes are read whole and sorted, so that a page ends at a key. Large ones are walked step
//! by step, and a page ends between two steps: only a single step that is larger than the page is
//! cut at a key.

use redis::{Cmd, Value, cmd};
use sparkway_protocol::{CloseReason, MessageId, NodeId, Partition, SessionId, TopicName};

use super::RedisStore;
use super::backend::Backend;
use super::link::Live;
use super::reply::{id_of, list_of, number_of, text_of};
use super::router::{Lane, Repeat};
use super::session::REMOVED_MS;
use super::walk::{CORRUPT, Place, Stand, Step, no_page, read_step, whole};
use super::{codec, fields, scripts};
use crate::directory::{Directory, Listed, SessionQuery, SessionsOf, TopicQuery, TopicSummary};
use crate::{BoxFuture, Control, SessionRecord, StoreError};

/// Steps of a walk per page, so that no page takes long: a sparse one ends early.
const STEPS: usize = 32;
/// Asked of each step. The same for every page: a cursor that was cut at a key is read again, and
/// what a larger step holds besides would be taken for seen.
const COUNT: usize = 500;
/// Largest index that is read whole: about a millisecond of the server.
const WHOLE: u64 = 5000;

impl Backend {
    async fn bulk(&self, partition: Partition, command: Cmd) -> Result<Value, StoreError> {
        self.ask(Lane::Bulk, partition, command).await
    }

    /// Runs commands that change nothing, in one go.
    async fn bulk_all(
        &self,
        partition: Partition,
        commands: Vec<Cmd>,
    ) -> Result<Vec<Value>, StoreError> {
        let build = |_: &Live| {
            let mut pipeline = redis::Pipeline::with_capacity(commands.len());
            for command in &commands {
                pipeline.add_command(command.clone());
            }
            pipeline
        };
        let slot = self.slot(partition);
        self.router
            .call(Lane::Bulk, slot, Repeat::Safe, build)
            .await
    }

    async fn hosts(&self, partition: Partition) -> Result<Vec<String>, StoreError> {
        let mut command = cmd("SMEMBERS");
        command.arg(self.keys.hosts(partition));
        let answer = list_of(self.bulk(partition, command).await?).ok_or(CORRUPT)?;
        let mut hosts: Vec<String> = answer
            .iter()
            .filter_map(|host| Some(text_of(host)?.to_owned()))
            .collect();
        hosts.sort_unstable();
        Ok(hosts)
    }

    async fn step_of(&self, partition: Partition, stand: &Stand) -> Result<Step, StoreError> {
        let (words, key, cursor, stride) = match stand {
            Stand::Host(host, place) => {
                let key = format!("{}{host}", self.keys.node_stem(partition));
                (["SCARD", "SMEMBERS", "SSCAN"], key, place.cursor, 1)
            }
            Stand::Detached(place) => {
                let key = self.keys.detached(partition);
                (["ZCARD", "ZRANGE", "ZSCAN"], key, place.cursor, 2)
            }
        };
        let [size, all, scan] = words;
        let mut command = cmd(size);
        command.arg(&key);
        let size = number_of(&self.bulk(partition, command).await?).ok_or(CORRUPT)?;
        if size <= WHOLE {
            let mut command = cmd(all);
            command.arg(&key);
            if all == "ZRANGE" {
                command.arg(0).arg(-1);
            }
            return whole(self.bulk(partition, command).await?);
        }
        let mut command = cmd(scan);
        command.arg(key).arg(cursor).arg("COUNT").arg(COUNT);
        read_step(self.bulk(partition, command).await?, stride)
    }

    async fn sessions(
        &self,
        partition: Partition,
        query: SessionQuery,
    ) -> Result<Listed<SessionRecord>, StoreError> {
        let (ids, next) = match &query.of {
            SessionsOf::User(user) => {
                let mut command = cmd("HKEYS");
                command.arg(self.keys.user(partition, user));
                let step = whole(self.bulk(partition, command).await?)?;
                let place = Place {
                    cursor: 0,
                    after: query.after.clone().unwrap_or_default(),
                };
                let mut found = Vec::new();
                let next = place.take(step, query.limit, &mut found);
                (found, next.map(|place| place.after))
            }
            SessionsOf::All | SessionsOf::Node(_) | SessionsOf::Detached => {
                self.walk(partition, &query).await?
            }
        };
        let items = self.records(partition, ids).await?;
        Ok(Listed { items, next })
    }

    /// Ids of sessions, and where the next page begins.
    async fn walk(
        &self,
        partition: Partition,
        query: &SessionQuery,
    ) -> Result<(Vec<String>, Option<String>), StoreError> {
        let hosts = match &query.of {
            SessionsOf::All => self.hosts(partition).await?,
            SessionsOf::Node(node) => vec![node.to_string()],
            SessionsOf::Detached | SessionsOf::User(_) => Vec::new(),
        };
        let ends_detached = !matches!(query.of, SessionsOf::Node(_));
        let host_after = |before: &str| {
            let host = hosts.iter().find(|host| host.as_str() > before);
            let detached = ends_detached.then(|| Stand::Detached(Place::default()));
            host.map_or(detached, |host| {
                Some(Stand::Host(host.clone(), Place::default()))
            })
        };
        let mut stand = match &query.after {
            None => host_after(""),
            Some(text) => Some(Stand::read(text).ok_or_else(no_page)?),
        };
        let mut found = Vec::new();
        for _ in 0..STEPS {
            let Some(at) = stand.take() else { break };
            let room = query.limit.saturating_sub(found.len());
            if room == 0 {
                stand = Some(at);
                break;
            }
            let step = self.step_of(partition, &at).await?;
            stand = match at {
                Stand::Host(host, place) => match place.take(step, room, &mut found) {
                    Some(place) => Some(Stand::Host(host, place)),
                    None => host_after(&host),
                },
                Stand::Detached(place) => place.take(step, room, &mut found).map(Stand::Detached),
            };
        }
        Ok((found, stand.map(|stand| stand.write())))
    }

    async fn records(
        &self,
        partition: Partition,
        mut ids: Vec<String>,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        ids.sort_unstable();
        ids.dedup();
        let ids: Vec<SessionId> = ids.iter().filter_map(|id| SessionId::parse(id)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let commands = ids.iter().map(|&id| {
            let mut command = cmd("HGETALL");
            command.arg(self.keys.session(id));
            command
        });
        let answers = self.bulk_all(partition, commands.collect()).await?;
        let mut records = Vec::with_capacity(ids.len());
        for (id, answer) in ids.into_iter().zip(answers) {
            let found = list_of(answer).ok_or(CORRUPT)?;
            // It may have ended since it was listed.
            if fields::is_session(&found) {
                records.push(fields::read(id, &found).ok_or(CORRUPT)?);
            }
        }
        Ok(records)
    }

    async fn topics(
        &self,
        partition: Partition,
        query: TopicQuery,
    ) -> Result<Listed<TopicSummary>, StoreError> {
        let mut place = match &query.after {
            None => Some(Place::default()),
            Some(text) => {
                let (cursor, after) = text.split_once(':').ok_or_else(no_page)?;
                Some(Place {
                    cursor: cursor.parse().map_err(|_| no_page())?,
                    after: after.to_owned(),
                })
            }
        };
        let stem = self.keys.tip_stem(partition);
        let pattern = format!("{}{}*", glob_escaped(&stem), glob_escaped(&query.prefix));
        let mut found = Vec::new();
        for _ in 0..STEPS {
            let Some(at) = place.take() else { break };
            let room = query.limit.saturating_sub(found.len());
            if room == 0 {
                place = Some(at);
                break;
            }
            let mut command = cmd("SCAN");
            command.arg(at.cursor).arg("MATCH").arg(&pattern);
            command.arg("COUNT").arg(COUNT);
            let found_now = read_step(self.bulk(partition, command).await?, 1)?;
            let before = at.clone();
            place = at.take(found_now, room, &mut found);
            if place.as_ref() == Some(&before) {
                break;
            }
        }
        let next = place.map(|place| format!("{}:{}", place.cursor, place.after));
        found.sort_unstable();
        found.dedup();
        let names = found
            .iter()
            .filter_map(|key| TopicName::parse(key.strip_prefix(&stem)?).ok());
        let items = self.summaries(partition, names.collect()).await?;
        Ok(Listed { items, next })
    }

    async fn summaries(
        &self,
        partition: Partition,
        names: Vec<TopicName>,
    ) -> Result<Vec<TopicSummary>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let commands = names.iter().flat_map(|name| {
            let (mut tip, mut length) = (cmd("GET"), cmd("XLEN"));
            tip.arg(self.keys.tip(partition, name));
            length.arg(self.keys.log(partition, name));
            [tip, length]
        });
        let answers = self.bulk_all(partition, commands.collect()).await?;
        let (answers, _) = answers.as_chunks::<2>();
        let summaries = names.into_iter().zip(answers);
        Ok(summaries
            .filter_map(|(topic, [tip, length])| {
                Some(TopicSummary {
                    topic,
                    tip: id_of(text_of(tip)?.as_bytes())?,
                    entries: number_of(length)?,
                })
            })
            .collect())
    }

    async fn remove(&self, session: SessionId, reason: CloseReason) -> Result<bool, StoreError> {
        let partition = session.partition();
        if !self.has(partition) {
            return Ok(false);
        }
        let mut command = scripts::REMOVE.call(&self.with_outbox(
            partition,
            [
                self.keys.session(session),
                self.keys.detached(partition),
                self.keys.node_stem(partition),
                self.keys.user_stem(partition),
            ],
        ));
        command
            .arg(session.to_string())
            .arg(rand::random::<u64>())
            .arg(self.keys.control_stem())
            .arg(codec::close_stem(reason))
            .arg(REMOVED_MS);
        let answer = self.ask(Lane::Quick, partition, command).await?;
        number_of(&answer).map(|found| found == 1).ok_or(CORRUPT)
    }
}

/// A text as part of a pattern that matches only itself.
fn glob_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in text.chars() {
        if matches!(symbol, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(symbol);
    }
    escaped
}

impl Directory for RedisStore {
    fn sessions(
        &self,
        partition: Partition,
        query: SessionQuery,
    ) -> BoxFuture<'_, Result<Listed<SessionRecord>, StoreError>> {
        Box::pin(self.within(self.backend.sessions(partition, query)))
    }

    fn topics(
        &self,
        partition: Partition,
        query: TopicQuery,
    ) -> BoxFuture<'_, Result<Listed<TopicSummary>, StoreError>> {
        Box::pin(self.within(self.backend.topics(partition, query)))
    }

    fn log_length(&self, topic: TopicName) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let partition = self.backend.layout.of(topic.as_str());
            let mut command = cmd("XLEN");
            command.arg(self.backend.keys.log(partition, &topic));
            let answer = self.backend.bulk(partition, command).await?;
            number_of(&answer).ok_or(CORRUPT)
        })
    }

    fn trim(&self, topic: TopicName, until: MessageId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let partition = self.backend.layout.of(topic.as_str());
            let mut command = cmd("XTRIM");
            command.arg(self.backend.keys.log(partition, &topic));
            // Stream ids are `ID-0`: what stays begins above every one of `until`.
            command.arg("MINID").arg(format!("{}-1", until.get()));
            let trimmed = self.backend.ask(Lane::Quick, partition, command).await?;
            number_of(&trimmed).map(drop).ok_or(CORRUPT)
        })
    }

    fn remove(
        &self,
        session: SessionId,
        reason: CloseReason,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.backend.remove(session, reason))
    }

    fn tell(&self, node: NodeId, control: Control) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut command = cmd("PUBLISH");
            command
                .arg(self.backend.keys.control(&node))
                .arg(codec::control_text(&control));
            let told = self.backend.ask(Lane::Quick, Partition::default(), command);
            told.await.map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_only_the_text() {
        assert_eq!(glob_escaped("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }
}
