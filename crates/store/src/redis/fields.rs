//! A session record as fields of a hash: short ones, so that Redis keeps it packed.
//!
//! `u` user, `g` grants, `x` expiry, `gn` generation, `gc` confirmed, `ep` epoch, `n` owner, `st`
//! state (`a` attached, `d` detached, `l` its node's lease ran out, `x` removed), `f` format, `cN`
//! cursor of partition N, `t:TOPIC` subscription (`START FLAGS`); `no`, `fo` and `ro` belong to the
//! scripts.

use std::collections::HashMap;

use redis::Value;
use sparkway_protocol::{
    Epoch, Format, MessageId, NodeId, Partition, SessionId, TopicName, UserId,
};

use super::reply::{bytes_of, text_of};
use crate::{Remember, SessionRecord, Subscription};

const ECHO: u8 = 1;
const PRESENCE: u8 = 2;
const BY_BACKEND: u8 = 4;

/// Field, value, field, value.
pub(super) type Pairs = Vec<Vec<u8>>;

fn pair(pairs: &mut Pairs, field: &str, value: impl AsRef<[u8]>) {
    pairs.push(field.as_bytes().to_vec());
    pairs.push(value.as_ref().to_vec());
}

/// The name of a format in a record: stable over versions, unlike its index.
const fn format_name(format: Format) -> &'static str {
    match format {
        Format::SparkJson => "spark-json",
        Format::SparkMsgPack => "spark-msgpack",
        Format::Topics => "topics",
        Format::Conversation => "conversation",
        Format::Room => "room",
        Format::Chat => "chat",
    }
}

/// The fields of moved cursors.
pub(super) fn of_cursors(cursors: &[MessageId]) -> Pairs {
    let mut pairs = Pairs::with_capacity(cursors.len() * 2);
    for id in cursors {
        let field = format!("c{}", id.partition().get());
        pair(&mut pairs, &field, id.to_string());
    }
    pairs
}

fn add_subscriptions(pairs: &mut Pairs, subscriptions: &[Subscription]) {
    for held in subscriptions {
        let mut flags = 0;
        if held.echo {
            flags |= ECHO;
        }
        if held.presence {
            flags |= PRESENCE;
        }
        if held.by_backend {
            flags |= BY_BACKEND;
        }
        let value = format!("{} {flags}", held.start);
        pair(pairs, &topic_field(&held.topic), value);
    }
}

/// The field of a subscription.
pub(super) fn topic_field(topic: &TopicName) -> String {
    format!("t:{topic}")
}

/// The fields of a record but for epoch, state and owner, which the scripts write.
pub(super) fn of_record(record: &SessionRecord) -> Pairs {
    let mut pairs = of_cursors(&record.cursors);
    if let Some(user) = &record.user {
        pair(&mut pairs, "u", user.as_str());
    }
    if let Some(expiry) = record.expires_at_ms {
        pair(&mut pairs, "x", expiry.to_string());
    }
    pair(&mut pairs, "g", &*record.grants);
    pair(&mut pairs, "gn", record.generation.to_string());
    pair(&mut pairs, "gc", record.confirmed.to_string());
    pair(&mut pairs, "f", format_name(record.format));
    add_subscriptions(&mut pairs, &record.subscriptions);
    pairs
}

/// Generations as arguments: no text where they stay as they are.
pub(super) fn of_generations(generations: Option<(u32, u32)>) -> [String; 2] {
    generations.map_or_else(Default::default, |(generation, confirmed)| {
        [generation.to_string(), confirmed.to_string()]
    })
}

/// The fields that a change sets, and the names of those that it removes; generations are not among
/// them.
pub(super) fn of_change(change: &Remember) -> (Pairs, Vec<String>) {
    let mut removed: Vec<String> = change.unsubscribed.iter().map(topic_field).collect();
    let mut pairs = of_cursors(&change.cursors);
    if let Some((grants, expiry)) = &change.grants {
        pair(&mut pairs, "g", &**grants);
        match expiry {
            Some(expiry) => pair(&mut pairs, "x", expiry.to_string()),
            None => removed.push("x".to_owned()),
        }
    }
    add_subscriptions(&mut pairs, &change.subscribed);
    (pairs, removed)
}

/// A record from the answer to HGETALL. `None` when it is not understood; a missing or removed
/// record is for the caller to tell.
pub(super) fn read(session: SessionId, fields: &[Value]) -> Option<SessionRecord> {
    let (pairs, _) = fields.as_chunks::<2>();
    let mut found = HashMap::with_capacity(pairs.len());
    let mut subscriptions = Vec::new();
    for [field, value] in pairs {
        let field = text_of(field)?;
        match field.strip_prefix("t:") {
            Some(topic) => subscriptions.push(subscription(topic, text_of(value)?)?),
            None => drop(found.insert(field, value)),
        }
    }
    let text = |field: &str| found.get(field).and_then(|value| text_of(value));
    let number = |field: &str| text(field)?.parse::<u64>().ok();
    let user = match text("u") {
        Some(user) => Some(UserId::parse(user).ok()?),
        None => None,
    };
    let cursors = (0..Partition::MAX_COUNT).filter_map(|number| {
        let field = format!("c{number}");
        MessageId::parse(text(&field)?)
    });
    Some(SessionRecord {
        session,
        user,
        grants: text("g")?.into(),
        expires_at_ms: number("x"),
        generation: u32::try_from(number("gn")?).ok()?,
        confirmed: u32::try_from(number("gc")?).ok()?,
        epoch: Epoch(number("ep")?),
        owner: NodeId::parse(text("n")?).ok()?,
        attached: text("st")? == "a",
        format: Format::ALL
            .into_iter()
            .find(|&format| text("f") == Some(format_name(format)))?,
        cursors: cursors.collect(),
        subscriptions,
    })
}

/// Whether the answer to HGETALL holds a session: not nothing, and not the mark of a removed one.
pub(super) fn is_session(fields: &[Value]) -> bool {
    let (pairs, _) = fields.as_chunks::<2>();
    let removed =
        |pair: &[Value; 2]| bytes_of(&pair[0]) == Some(b"st") && bytes_of(&pair[1]) == Some(b"x");
    !pairs.is_empty() && !pairs.iter().any(removed)
}

fn subscription(topic: &str, value: &str) -> Option<Subscription> {
    let (start, flags) = value.split_once(' ')?;
    let flags: u8 = flags.parse().ok()?;
    Some(Subscription {
        topic: TopicName::parse(topic).ok()?,
        start: MessageId::parse(start)?,
        echo: flags & ECHO != 0,
        presence: flags & PRESENCE != 0,
        by_backend: flags & BY_BACKEND != 0,
    })
}
