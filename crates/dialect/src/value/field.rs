//! Fields with a kind and a limit; a refusal names both. A field that is null counts as absent.

use std::borrow::Cow;

use sparkway_protocol::{Code, MessageId, Refused};

use super::{Scalar, Value};

/// The refusal of a field that breaks a rule.
pub(crate) fn invalid(field: &str, rule: impl std::fmt::Display) -> Refused {
    Refused::new(Code::Invalid, format!("{field}: {rule}"))
}

/// A field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T, Refused> {
    value.ok_or_else(|| invalid(field, "missing"))
}

/// A text, if the field is there.
pub(crate) fn text<'a, V: Value<'a>>(
    value: Option<V>,
    field: &str,
) -> Result<Option<Cow<'a, str>>, Refused> {
    match value.map(V::scalar) {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(text)),
        Some(Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other) => {
            Err(invalid(field, "not a string"))
        }
    }
}

/// A text of at most `limit` bytes, if the field is there.
pub(crate) fn text_at_most<'a, V: Value<'a>>(
    value: Option<V>,
    field: &str,
    limit: usize,
) -> Result<Option<Cow<'a, str>>, Refused> {
    match text(value, field)? {
        Some(text) if text.len() > limit => {
            Err(invalid(field, format_args!("longer than {limit} bytes")))
        }
        text => Ok(text),
    }
}

/// A switch; `default` where the field is not there.
pub(crate) fn boolean<'a, V: Value<'a>>(
    value: Option<V>,
    field: &str,
    default: bool,
) -> Result<bool, Refused> {
    match value.map(V::scalar) {
        None | Some(Scalar::Null) => Ok(default),
        Some(Scalar::Bool(value)) => Ok(value),
        Some(Scalar::Unsigned(_) | Scalar::Text(_) | Scalar::Other) => {
            Err(invalid(field, "not a boolean"))
        }
    }
}

/// A whole number from `least` to `most`, if the field is there.
pub(crate) fn integer<'a, V: Value<'a>>(
    value: Option<V>,
    field: &str,
    least: usize,
    most: usize,
) -> Result<Option<usize>, Refused> {
    let number = match value.map(V::scalar) {
        None | Some(Scalar::Null) => return Ok(None),
        Some(Scalar::Unsigned(number)) => usize::try_from(number).ok(),
        Some(Scalar::Bool(_) | Scalar::Text(_) | Scalar::Other) => None,
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
        Some(_) | None => Err(invalid(
            field,
            format_args!("not a whole number from {least} to {most}"),
        )),
    }
}

/// A message id, if the field is there.
pub(crate) fn message_id<'a, V: Value<'a>>(
    value: Option<V>,
    field: &str,
) -> Result<Option<MessageId>, Refused> {
    let id = match value.map(V::scalar) {
        None | Some(Scalar::Null) => return Ok(None),
        Some(Scalar::Text(text)) => MessageId::parse(&text),
        Some(Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other) => None,
    };
    let rule = "not a message id (a string of digits, below 2^53)";
    id.map(Some).ok_or_else(|| invalid(field, rule))
}

/// The longest prefix of whole characters within `limit` bytes.
pub(crate) fn at_most(text: &str, limit: usize) -> &str {
    let end = text.floor_char_boundary(limit);
    text.get(..end).unwrap_or_default()
}
