//! Reads single values of the client library's answers.

use redis::Value;
use sparkway_protocol::MessageId;

use crate::StoreError;

/// The bytes of a string, in either of its forms.
pub(super) fn bytes_of(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

/// The text of a string.
pub(super) fn text_of(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes_of(value)?).ok()
}

/// A number, also when it is written as a string.
pub(super) fn number_of(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        value => text_of(value)?.parse().ok(),
    }
}

/// A message id in decimal digits.
pub(super) fn id_of(digits: &[u8]) -> Option<MessageId> {
    MessageId::parse(std::str::from_utf8(digits).ok()?)
}

/// The elements of an array.
pub(super) fn list_of(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(elements) | Value::Set(elements) => Some(elements),
        _ => None,
    }
}

/// The only answer of a pipeline with one command.
pub(super) fn only(mut answers: Vec<Value>) -> Result<Value, StoreError> {
    answers
        .pop()
        .ok_or(StoreError::Corrupt("no answer to a call"))
}
