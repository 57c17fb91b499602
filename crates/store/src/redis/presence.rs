//! Members of topics: moved and swept by one script each, in the topic's partition.

use redis::{Value, cmd};
use sparkway_protocol::{Partition, PresenceChange, TopicName, UserId};

use super::backend::Backend;
use super::keys;
use super::reply::{bytes_of, list_of, number_of, text_of};
use super::router::Lane;
use super::scripts::{self, Script};
use super::walk::{Place, no_page, read_step};
use crate::StoreError;
use crate::presence::{Members, Move, Standing, Step, Swept};

const CORRUPT: StoreError = StoreError::Corrupt("presence");
/// Most members that one sweep handles.
const SWEEP_MAX: usize = 1000;
/// Steps of one page at the most: a hash that shrinks may have empty ones.
const STEPS: usize = 100;

impl Backend {
    fn presence_call(&self, script: &Script, partition: Partition) -> redis::Cmd {
        let mut command = script.call(&[
            self.keys.members_stem(partition),
            self.keys.online_stem(partition),
            self.keys.seen_stem(partition),
            self.keys.member_node_stem(partition),
            self.keys.member_hosts(partition),
            self.keys.leaving(partition),
            self.keys.channel_stem(partition),
            self.keys.outbox(partition),
        ]);
        command.arg(self.publish_word()).arg(self.keeping.word());
        command
    }

    /// See [`crate::Presence::move_members`].
    pub(super) async fn move_members(
        &self,
        partition: Partition,
        moves: Vec<Move>,
    ) -> Result<Vec<PresenceChange>, StoreError> {
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = self.presence_call(&scripts::PRESENCE, partition);
        for step in &moves {
            let (node, kind, grace_ms) = match &step.step {
                Step::Join(node) => (node.as_str(), "j", 0),
                Step::Away { grace_ms } => ("", "a", *grace_ms),
                Step::Leave => ("", "l", 0),
            };
            command
                .arg(step.topic.as_str())
                .arg(step.session.to_string())
                .arg(step.epoch.0)
                .arg(step.user.as_str())
                .arg(node)
                .arg(kind)
                .arg(grace_ms);
        }
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let answer = list_of(answer).ok_or(CORRUPT)?;
        let (changes, _) = answer.as_chunks::<3>();
        changes
            .iter()
            .map(|[present, topic, user]| change(topic, user, bytes_of(present)? == b"1"))
            .collect::<Option<_>>()
            .ok_or(CORRUPT)
    }

    /// See [`crate::Presence::members`].
    pub(super) async fn members(
        &self,
        topic: TopicName,
        after: Option<String>,
        limit: usize,
    ) -> Result<Members, StoreError> {
        let partition = self.layout.of(topic.as_str());
        let key = self.keys.online(partition, &topic);
        let mut place = match after {
            None => Place::default(),
            Some(text) => read_place(&text).ok_or_else(no_page)?,
        };
        let mut command = cmd("HLEN");
        command.arg(&key);
        let count = self.ask(Lane::Quick, partition, command).await?;
        let count = number_of(&count).ok_or(CORRUPT)?;
        let mut found = Vec::new();
        let mut next = None;
        for _ in 0..STEPS {
            let mut command = cmd("HSCAN");
            command
                .arg(&key)
                .arg(place.cursor)
                .arg("COUNT")
                .arg(limit.div_ceil(2).max(1));
            let answer = self.ask(Lane::Quick, partition, command).await?;
            let room = limit.saturating_sub(found.len());
            next = place.clone().take(read_step(answer, 2)?, room, &mut found);
            match &next {
                Some(going) if found.len() < limit && *going != place => place = going.clone(),
                Some(_) | None => break,
            }
        }
        Ok(Members {
            users: found
                .iter()
                .filter_map(|user| UserId::parse(user).ok())
                .collect(),
            count,
            next: next.map(|place| format!("{}:{}", place.cursor, place.after)),
        })
    }

    /// See [`crate::Presence::standings`].
    pub(super) async fn standings(
        &self,
        topic: TopicName,
        users: Vec<UserId>,
    ) -> Result<Vec<Standing>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let partition = self.layout.of(topic.as_str());
        let users = users.iter().map(UserId::as_str);
        let users: Vec<&str> = users.collect();
        let ask = async |key: String| {
            let mut command = cmd("HMGET");
            command.arg(key).arg(&users[..]);
            let answer = self.ask(Lane::Quick, partition, command).await?;
            list_of(answer).ok_or(CORRUPT)
        };
        let online = ask(self.keys.online(partition, &topic)).await?;
        let seen = ask(self.keys.seen(partition, &topic)).await?;
        Ok(online
            .iter()
            .zip(&seen)
            .map(|(online, seen)| Standing {
                present: number_of(online).is_some(),
                last_seen_ms: number_of(seen),
            })
            .collect())
    }

    /// See [`crate::Presence::sweep_members`].
    pub(super) async fn sweep_members(
        &self,
        partition: Partition,
        grace_ms: u64,
        limit: usize,
    ) -> Result<Swept, StoreError> {
        // First who has members here, then who lives: a node renews its lease before it has any.
        let mut command = cmd("SMEMBERS");
        command.arg(self.keys.member_hosts(partition));
        let hosts = self.ask(Lane::Quick, partition, command).await?;
        let living = self.nodes().await?;
        let is_living = |node: &str| living.iter().any(|lease| lease.node.as_str() == node);
        let hosts = list_of(hosts).unwrap_or_default();
        let hosts = hosts.iter().filter_map(text_of);
        let dead: Vec<&str> = hosts.filter(|node| !is_living(node)).collect();
        let renewals = self.last_renewals(&dead).await?;
        let limit = limit.clamp(1, SWEEP_MAX);
        let mut command = self.presence_call(&scripts::ABSENT, partition);
        command.arg(limit).arg(grace_ms).arg(dead.len());
        for (node, renewed_ms) in dead.iter().zip(renewals) {
            command
                .arg(*node)
                .arg(renewed_ms.map_or_else(String::new, |ms| ms.to_string()));
        }
        for lease in &living {
            command.arg(lease.node.as_str());
        }
        let answer = self.ask(Lane::Quick, partition, command).await?;
        let answer = list_of(answer).ok_or(CORRUPT)?;
        let (handled, changes) = answer.split_first().ok_or(CORRUPT)?;
        let handled = number_of(handled).ok_or(CORRUPT)?;
        let (changes, _) = changes.as_chunks::<2>();
        let changes = changes
            .iter()
            .map(|[topic, user]| change(topic, user, false));
        Ok(Swept {
            changes: changes.collect::<Option<_>>().ok_or(CORRUPT)?,
            is_full: handled >= limit as u64,
        })
    }

    /// When each node renewed its lease last, in Unix milliseconds; it is not known for ever.
    async fn last_renewals(&self, nodes: &[&str]) -> Result<Vec<Option<u64>>, StoreError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.keys.nodes();
        let slot = keys::slot(&key);
        let mut command = cmd("HMGET");
        command.arg(key).arg(nodes);
        let answer = self.ask_slot(Lane::Quick, slot, command).await?;
        let answer = list_of(answer).ok_or(CORRUPT)?;
        Ok(answer.iter().map(renewed_ms).collect())
    }
}

/// From the lease `ENDS CONNECTIONS SPARE DRAINING LENGTH`.
fn renewed_ms(lease: &Value) -> Option<u64> {
    let mut words = text_of(lease)?.split(' ');
    let ends_ms: u64 = words.next()?.parse().ok()?;
    let lease_ms: u64 = words.nth(3)?.parse().ok()?;
    ends_ms.checked_sub(lease_ms)
}

fn change(topic: &Value, user: &Value, present: bool) -> Option<PresenceChange> {
    Some(PresenceChange {
        topic: TopicName::parse(text_of(topic)?).ok()?,
        user: UserId::parse(text_of(user)?).ok()?,
        present,
    })
}

fn read_place(text: &str) -> Option<Place> {
    let (cursor, after) = text.split_once(':')?;
    Some(Place {
        cursor: cursor.parse().ok()?,
        after: after.to_owned(),
    })
}
