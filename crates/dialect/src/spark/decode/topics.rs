//! Frames about topics, and calls to the application.

use bytes::Bytes;
use sparkway_protocol::limits::{
    HISTORY_PAGE, REWIND_ENTRIES, TOPIC_NAME_BYTES, TOPICS_PER_REQUEST,
};
use sparkway_protocol::{
    Code, Command, Durability, Payload, Refused, Since, Subscribe, TopicName, TraceContext,
};

use super::Frame;
use crate::value::{
    Scalar, Value, at_most, boolean, integer, invalid, message_id, required, text, text_at_most,
};

/// Entries of a history page for which no `limit` was given.
const HISTORY_DEFAULT: usize = 100;
/// Longest method name of a call, in bytes.
const METHOD_BYTES: usize = 255;
/// What is kept of a topic name that will be refused for its length, in bytes.
const KEPT_NAME_BYTES: usize = 300;
const _: () = assert!(KEPT_NAME_BYTES > TOPIC_NAME_BYTES);

pub(super) fn subscribe<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [topics, since, rewind, presence, echo] =
        frame.data(&["topics", "since", "rewind", "presence", "echo"])?;
    let since = message_id(since, "data.since")?;
    let rewind = integer(rewind, "data.rewind", 0, REWIND_ENTRIES)?;
    let since = match (since, rewind) {
        (None, None) => Since::Now,
        (Some(id), None) => Since::Id(id),
        (None, Some(count)) => Since::Rewind(count),
        (Some(_), Some(_)) => return Err(invalid("data.rewind", "stands beside data.since")),
    };
    let request = Subscribe {
        topics: topic_names(topics)?,
        since,
        since_each: Vec::new(),
        presence: boolean(presence, "data.presence", false)?,
        echo: boolean(echo, "data.echo", true)?,
    };
    Ok(Command::Subscribe {
        id: frame.id,
        request,
    })
}

pub(super) fn unsubscribe<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [topics] = frame.data(&["topics"])?;
    Ok(Command::Unsubscribe {
        topics: topic_names(topics)?,
        id: frame.id,
    })
}

pub(super) fn publish<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    Ok(Command::Publish {
        topic: topic_name(frame.topic, "topic")?,
        ephemeral: boolean(frame.ephemeral, "ephemeral", false)?,
        durability: durability(frame.durability)?,
        exclude_self: boolean(frame.exclude_self, "exclude_self", false)?,
        payload: payload(frame.data, "data")?,
        trace: trace(frame.tp),
        id: frame.id,
    })
}

pub(super) fn history<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [topic, after, before, limit, reverse] =
        frame.data(&["topic", "after", "before", "limit", "reverse"])?;
    Ok(Command::History {
        topic: topic_name(topic, "data.topic")?,
        after: message_id(after, "data.after")?,
        before: message_id(before, "data.before")?,
        limit: integer(limit, "data.limit", 1, HISTORY_PAGE)?.unwrap_or(HISTORY_DEFAULT),
        reverse: boolean(reverse, "data.reverse", false)?,
        id: frame.id,
    })
}

pub(super) fn presence<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [topic] = frame.data(&["topic"])?;
    Ok(Command::Presence {
        topic: topic_name(topic, "data.topic")?,
        id: frame.id,
    })
}

pub(super) fn call<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [method, params] = frame.data(&["method", "params"])?;
    let field = "data.method";
    let method = required(text_at_most(method, field, METHOD_BYTES)?, field)?;
    if method.is_empty() {
        return Err(invalid(field, "is empty"));
    }
    Ok(Command::Call {
        method: Box::from(method),
        params: payload(params, "data.params")?,
        id: frame.id,
    })
}

/// 1 to 100 names as they were written: each is judged by itself later.
fn topic_names<'a, V: Value<'a>>(topics: Option<V>) -> Result<Vec<Box<str>>, Refused> {
    let field = "data.topics";
    let Some(items) = required(topics, field)?.items(TOPICS_PER_REQUEST) else {
        return Err(invalid(field, "not an array of strings"));
    };
    if items.len() > TOPICS_PER_REQUEST {
        let message = format!("{field}: more than {TOPICS_PER_REQUEST} names");
        return Err(Refused::new(Code::LimitExceeded, message));
    }
    if items.is_empty() {
        return Err(invalid(field, "no names (1 to 100)"));
    }
    let name = |item: V| match item.scalar() {
        Scalar::Text(name) => Ok(Box::from(at_most(&name, KEPT_NAME_BYTES))),
        Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other => {
            Err(invalid(field, "not an array of strings"))
        }
    };
    items.into_iter().map(name).collect()
}

fn topic_name<'a, V: Value<'a>>(topic: Option<V>, field: &str) -> Result<TopicName, Refused> {
    let name = required(text(topic, field)?, field)?;
    TopicName::parse(&name).map_err(|rule| invalid(field, rule))
}

fn durability<'a, V: Value<'a>>(value: Option<V>) -> Result<Durability, Refused> {
    let field = "durability";
    match text(value, field)?.as_deref() {
        None | Some("stored") => Ok(Durability::Stored),
        Some("replicated") => Ok(Durability::Replicated),
        Some(_) => Err(invalid(field, "neither \"stored\" nor \"replicated\"")),
    }
}

/// What is no `traceparent` is as good as none: tracing must never refuse a message.
fn trace<'a, V: Value<'a>>(tp: Option<V>) -> Option<TraceContext> {
    match tp?.scalar() {
        Scalar::Text(text) => TraceContext::parse(&text),
        Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other => None,
    }
}

/// A payload that was left out is null.
fn payload<'a, V: Value<'a>>(value: Option<V>, field: &str) -> Result<Payload, Refused> {
    match value {
        None => Ok(Payload::json(Bytes::from_static(b"null"))),
        Some(value) => value.payload().map_err(|rule| invalid(field, rule)),
    }
}
