//! A value inside a JSON text. Syntax is `serde_json`'s; depth and lone surrogates, which it lets
//! pass in raw values, are checked when a value becomes a payload.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sparkway_protocol::Payload;

use super::{Fields, Scalar, Value};
use crate::payload;

/// The text of one JSON value. Inside a frame it is known to be valid; the frame itself is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// A whole message, not yet checked: only [`Value::fields`] may be asked.
    pub(crate) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The text of the value, for a map whose keys nobody can list.
    pub(crate) const fn raw(self) -> &'a str {
        self.0
    }

    /// Exactly one JSON value, or what is wrong with the text.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(raw.get()))
    }
}

impl<'a> Value<'a> for Json<'a> {
    fn scalar(self) -> Scalar<'a> {
        match self.0.as_bytes().first() {
            Some(b'n') => Scalar::Null,
            Some(b't') => Scalar::Bool(true),
            Some(b'f') => Scalar::Bool(false),
            Some(b'"') => string(self.0).map_or(Scalar::Other, Scalar::Text),
            _ => self.0.parse().map_or(Scalar::Other, Scalar::Unsigned),
        }
    }

    fn items(self, most: usize) -> Option<Vec<Self>> {
        if !self.0.starts_with('[') {
            return None;
        }
        let mut items = Vec::new();
        let visitor = Items {
            items: &mut items,
            most,
        };
        // An array that is cut short on purpose ends in an error, which says nothing new.
        let _ended = serde_json::Deserializer::from_str(self.0).deserialize_seq(visitor);
        Some(items)
    }

    fn fields<const N: usize>(self, names: &[&'static str; N]) -> Fields<Self, N> {
        let mut fields = Fields {
            slots: [None; N],
            problem: None,
        };
        let start = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        if !start.starts_with('{') {
            fields.problem = Some(Cow::Borrowed("not a JSON object"));
            return fields;
        }
        let mut source = serde_json::Deserializer::from_str(self.0);
        let visitor = Entries {
            names,
            fields: &mut fields,
        };
        let read = source.deserialize_map(visitor).and_then(|()| source.end());
        if let Err(error) = read {
            fields.problem = Some(Cow::Owned(format!("not valid JSON: {error}")));
        }
        fields
    }

    fn payload(self) -> Result<Payload, &'static str> {
        payload::check_json(self.0)?;
        Ok(Payload::json(Bytes::copy_from_slice(self.0.as_bytes())))
    }
}

/// The text of a JSON string; `None` when it is no Unicode text (a lone surrogate).
pub(crate) fn string(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(literal).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

struct Items<'v, 'a> {
    items: &'v mut Vec<Json<'a>>,
    most: usize,
}

impl<'a> Visitor<'a> for Items<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        while self.items.len() <= self.most {
            match array.next_element::<&RawValue>()? {
                Some(raw) => self.items.push(Json(raw.get())),
                None => break,
            }
        }
        Ok(())
    }
}

struct Entries<'v, 'a, const N: usize> {
    names: &'v [&'static str; N],
    fields: &'v mut Fields<Json<'a>, N>,
}

impl<'a, const N: usize> Visitor<'a> for Entries<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(place) = object.next_key_seed(Key(self.names))? {
            let slot = place.and_then(|place| self.fields.slots.get_mut(place));
            match slot {
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
                Some(slot) => {
                    let raw = object.next_value::<&RawValue>()?;
                    if slot.is_none() {
                        *slot = Some(Json(raw.get()));
                    } else if let Some(name) = place.and_then(|place| self.names.get(place)) {
                        // Read on: the id of the frame may still follow.
                        self.fields.problem = Some(Cow::Owned(format!("{name} stands twice")));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Which of the names a key is.
struct Key<'v, const N: usize>(&'v [&'static str; N]);

impl<'a, const N: usize> DeserializeSeed<'a> for Key<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'a>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_identifier(self)
    }
}

impl<const N: usize> Visitor<'_> for Key<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}
