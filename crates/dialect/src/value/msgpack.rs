//! A value inside a `MessagePack` message.

use std::borrow::Cow;

use bytes::Bytes;
use sparkway_protocol::{Encoding, Payload};

use super::{Fields, Scalar, Value};
use crate::payload::{self, Flaw, Head, Reader};

/// The bytes of one value. Inside a frame it is known to be whole; the frame itself is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MsgPack<'a>(&'a [u8]);

impl<'a> MsgPack<'a> {
    /// A whole message, not yet checked.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Value<'a> for MsgPack<'a> {
    fn scalar(self) -> Scalar<'a> {
        match Reader::new(self.0).head() {
            Ok(Head::Nil) => Scalar::Null,
            Ok(Head::Bool(value)) => Scalar::Bool(value),
            Ok(Head::Unsigned(value)) => Scalar::Unsigned(value),
            Ok(Head::Text(text)) => {
                str::from_utf8(text).map_or(Scalar::Other, |text| Scalar::Text(Cow::Borrowed(text)))
            }
            Ok(
                Head::Negative(_)
                | Head::Float(_)
                | Head::Bytes(_)
                | Head::Array(_)
                | Head::Map(_)
                | Head::Extension,
            )
            | Err(_) => Scalar::Other,
        }
    }

    fn items(self, most: usize) -> Option<Vec<Self>> {
        let mut reader = Reader::new(self.0);
        let Ok(Head::Array(count)) = reader.head() else {
            return None;
        };
        let mut items = Vec::new();
        for _ in 0..count {
            let Ok(item) = reader.skip() else { break };
            items.push(Self(item));
            if items.len() > most {
                break;
            }
        }
        Some(items)
    }

    fn fields<const N: usize>(self, names: &[&'static str; N]) -> Fields<Self, N> {
        let mut fields = Fields {
            slots: [None; N],
            problem: None,
        };
        if let Err(flaw) = read_fields(self.0, names, &mut fields) {
            fields.problem = Some(Cow::Borrowed(flaw.text()));
        }
        fields
    }

    fn payload(self) -> Result<Payload, &'static str> {
        let mut reader = Reader::new(self.0);
        if let Ok(Head::Bytes(bytes)) = reader.head() {
            return Ok(Payload {
                encoding: Encoding::Binary,
                bytes: Bytes::copy_from_slice(bytes),
            });
        }
        payload::check_msgpack(self.0).map_err(Flaw::text)?;
        Ok(Payload {
            encoding: Encoding::MsgPack,
            bytes: Bytes::copy_from_slice(self.0),
        })
    }
}

fn read_fields<'a, const N: usize>(
    bytes: &'a [u8],
    names: &[&'static str; N],
    fields: &mut Fields<MsgPack<'a>, N>,
) -> Result<(), Flaw> {
    let mut reader = Reader::new(bytes);
    let Head::Map(count) = reader.head()? else {
        return Err(Flaw::NotMap);
    };
    let mut wrong_key = Ok(());
    for _ in 0..count {
        let key = reader.skip()?;
        let value = MsgPack(reader.skip()?);
        let Scalar::Text(key) = MsgPack(key).scalar() else {
            // Read on: the id of the frame may still follow.
            wrong_key = Err(Flaw::Key);
            continue;
        };
        let place = names.iter().position(|name| *name == key);
        let Some(slot) = place.and_then(|place| fields.slots.get_mut(place)) else {
            continue;
        };
        if slot.is_none() {
            *slot = Some(value);
        } else {
            fields.problem = Some(Cow::Owned(format!("{key} stands twice")));
        }
    }
    wrong_key?;
    reader.end()
}
