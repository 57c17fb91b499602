//! What is known about one key.

use std::time::Duration;

use crate::bounds::{read_bytes, read_duration, write_bytes, write_duration};
use crate::draft::Draft;
use crate::raw::Raw;

/// Sets a value of a kind; the second argument is what the `*` of the key's name stands for.
pub(crate) type Set<V> = fn(&mut Draft, &str, V);
/// Sets a value that has a rule of its own; answers which rule it breaks.
pub(crate) type TrySet<V> = fn(&mut Draft, &str, V) -> Result<(), String>;

/// What values a key takes, and how one is set.
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag(Set<bool>),
    /// A whole number.
    Count { min: u64, max: u64, set: Set<u64> },
    /// A whole number, or nothing.
    OptionalCount {
        min: u64,
        max: u64,
        set: Set<Option<u64>>,
    },
    /// A size.
    Bytes { min: u64, max: u64, set: Set<usize> },
    /// A duration.
    Time {
        min: Duration,
        max: Duration,
        set: Set<Duration>,
    },
    /// A duration, or nothing.
    OptionalTime {
        min: Duration,
        max: Duration,
        set: Set<Option<Duration>>,
    },
    /// A part of a whole, from 0 to 1.
    Ratio(Set<f64>),
    /// One of some words; an empty one is among them where the key is optional.
    Choice {
        words: fn() -> Vec<&'static str>,
        set: fn(&mut Draft, &str, &str),
    },
    /// A text with a rule of its own.
    Text {
        allowed: &'static str,
        set: TrySet<String>,
    },
    /// A list of texts.
    List {
        allowed: &'static str,
        set: TrySet<Vec<String>>,
    },
}

/// A key of the configuration.
pub(crate) struct Key {
    /// Its name; one part may be `*`, which stands for a name that the operator chooses.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) doc: &'static str,
    /// Whether its value is never shown.
    pub(crate) secret: bool,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Reads it back, as it would be written.
    pub(crate) get: fn(&Draft, &str) -> Raw,
}

impl Kind {
    /// What is allowed, for errors and the reference.
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Flag(_) => "`true` or `false`".to_owned(),
            Self::Count { min, max, .. } => format!("{min} to {max}"),
            Self::OptionalCount { min, max, .. } if min == max => format!("{min}, or empty"),
            Self::OptionalCount { min, max, .. } => format!("{min} to {max}, or empty"),
            Self::Bytes { min, max, .. } => {
                format!("{} to {}", write_bytes(*min), write_bytes(*max))
            }
            Self::Time { min, max, .. } => time_range(*min, *max),
            Self::OptionalTime { min, max, .. } => {
                format!("{}, or empty", time_range(*min, *max))
            }
            Self::Ratio(_) => "0 to 1".to_owned(),
            Self::Choice { words, .. } => choices(&words()),
            Self::Text { allowed, .. } | Self::List { allowed, .. } => (*allowed).to_owned(),
        }
    }

    /// Reads a value and sets it.
    ///
    /// # Errors
    /// What is wrong with the value; nothing was set.
    pub(crate) fn apply(&self, draft: &mut Draft, name: &str, raw: &Raw) -> Result<(), String> {
        match self {
            Self::Flag(set) => {
                let text = single(raw)?;
                let flag = text.parse().map_err(|_| "is neither true nor false")?;
                set(draft, name, flag);
            }
            Self::Count { min, max, set } => set(draft, name, count(single(raw)?, *min, *max)?),
            Self::OptionalCount { min, max, set } => {
                let text = single(raw)?;
                let wanted = (!text.is_empty()).then(|| count(text, *min, *max));
                set(draft, name, wanted.transpose()?);
            }
            Self::Bytes { min, max, set } => {
                let bytes = within(read_bytes(single(raw)?)?, *min, *max)?;
                set(draft, name, usize::try_from(bytes).unwrap_or(usize::MAX));
            }
            Self::Time { min, max, set } => {
                set(
                    draft,
                    name,
                    within(read_duration(single(raw)?)?, *min, *max)?,
                );
            }
            Self::OptionalTime { min, max, set } => {
                let text = single(raw)?;
                let read = || within(read_duration(text)?, *min, *max);
                let wanted = (!text.is_empty()).then(read);
                set(draft, name, wanted.transpose()?);
            }
            Self::Ratio(set) => {
                let ratio = single(raw)?.parse::<f64>().ok();
                let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
                set(draft, name, ratio.ok_or("is no number from 0 to 1")?);
            }
            Self::Choice { words, set } => {
                let text = single(raw)?;
                if !words().contains(&text) {
                    return Err("is none of them".to_owned());
                }
                set(draft, name, text);
            }
            Self::Text { set, .. } => match raw {
                Raw::Text(text) => set(draft, name, text.clone())?,
                Raw::Bare(_) => return Err("must stand in double quotes".to_owned()),
                Raw::List(_) => return Err("is a list; one text is wanted".to_owned()),
            },
            Self::List { set, .. } => set(draft, name, list(raw)?)?,
        }
        Ok(())
    }
}

/// Items as a file lists them; from a variable or option: separated by commas or lines, or a list
/// in brackets.
fn list(raw: &Raw) -> Result<Vec<String>, String> {
    match raw {
        Raw::List(items) => Ok(items.clone()),
        Raw::Bare(_) => Err("must be a list of texts".to_owned()),
        Raw::Text(text) if text.trim_start().starts_with('[') => {
            let document = format!("list = {text}");
            let table: toml::Table = document
                .parse()
                .map_err(|_| "begins with [ but is no list such as [\"a\", \"b\"]")?;
            let items = table.get("list").and_then(toml::Value::as_array);
            items
                .into_iter()
                .flatten()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| "must be a list of texts".to_owned())
        }
        Raw::Text(text) => Ok(text
            .split([',', '\n'])
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()),
    }
}

fn single(raw: &Raw) -> Result<&str, &'static str> {
    match raw {
        Raw::Text(text) | Raw::Bare(text) => Ok(text),
        Raw::List(_) => Err("is a list; one value is wanted"),
    }
}

fn count(text: &str, min: u64, max: u64) -> Result<u64, &'static str> {
    let number = text.parse().map_err(|_| "is no whole number")?;
    within(number, min, max)
}

fn within<T: PartialOrd + Copy>(value: T, min: T, max: T) -> Result<T, &'static str> {
    if value < min {
        Err("is too small")
    } else if value > max {
        Err("is too large")
    } else {
        Ok(value)
    }
}

fn time_range(min: Duration, max: Duration) -> String {
    format!("{} to {}", write_duration(min), write_duration(max))
}

fn choices(words: &[&str]) -> String {
    let shown: Vec<String> = words
        .iter()
        .map(|word| match *word {
            "" => "empty".to_owned(),
            word => format!("`{word}`"),
        })
        .collect();
    shown.join(", ")
}
