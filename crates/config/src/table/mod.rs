//! Every key, once.

mod auth;
mod chat;
mod conversation;
mod hooks;
mod issuers;
mod limits;
mod rebalance;
mod room;
mod server;
mod topics;
mod tracing;
mod usage;

use std::time::Duration;

use crate::bounds::{write_bytes, write_duration};
use crate::key::Key;
use crate::raw::Raw;

/// A section of the reference: its name, what it is about, its keys.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

/// All sections in the order of the reference. Values are applied in this order, too: `topics`
/// comes before `namespaces`, which begin as its copies.
pub(crate) const SECTIONS: &[Section] = &[
    server::SERVER,
    server::INTERNAL,
    server::STORE,
    server::ROUTES,
    auth::AUTH,
    issuers::ISSUERS,
    hooks::HOOKS,
    hooks::OUTBOUND,
    topics::SESSION,
    topics::TOPICS,
    topics::NAMESPACES,
    topics::PRESENCE,
    room::ROOM,
    conversation::CONVERSATION,
    chat::CHAT,
    usage::LIMITS,
    limits::DRAIN,
    rebalance::REBALANCE,
    limits::API,
    limits::LOG,
    tracing::TRACING,
];

/// All keys in order.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

const NOTHING: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn time(duration: Duration) -> Raw {
    Raw::Text(write_duration(duration))
}

fn optional_time(duration: Option<Duration>) -> Raw {
    duration.map_or_else(Raw::none, time)
}

fn bytes(size: usize) -> Raw {
    Raw::Text(write_bytes(u64::try_from(size).unwrap_or(u64::MAX)))
}

fn count(number: impl ToString + Copy) -> Raw {
    Raw::Bare(number.to_string())
}

fn optional_count(number: Option<impl ToString + Copy>) -> Raw {
    number.map_or_else(Raw::none, count)
}

fn text(value: impl ToString + Copy) -> Raw {
    Raw::Text(value.to_string())
}

fn optional_text(value: Option<impl ToString + Copy>) -> Raw {
    value.map_or_else(Raw::none, text)
}

fn ratio(value: f64) -> Raw {
    Raw::Bare(value.to_string())
}

fn flag(value: bool) -> Raw {
    Raw::Bare(value.to_string())
}

fn list<T: ToString>(items: &[T]) -> Raw {
    Raw::List(items.iter().map(ToString::to_string).collect())
}

/// Numbers of a key are bounded by the table below what their field holds.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn word<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, wanted: &str) -> Option<T> {
    all.iter().copied().find(|item| as_str(*item) == wanted)
}

fn words<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().copied().map(as_str).collect()
}

#[cfg(test)]
mod tests;
