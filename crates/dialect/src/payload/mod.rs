//! What applications send: checked once on the way in, written in any format on the way out.

mod check;
mod from_json;
mod from_msgpack;
mod reader;

use std::borrow::Cow;

use sparkway_protocol::{Encoding, Payload, Refused};

use crate::value::{Json, Value as _, invalid};
use crate::writer::{JsonWriter, Writer as _};

pub use check::is_deeper;
pub(crate) use check::{check_json, check_msgpack};
pub(crate) use from_json::to_msgpack;
pub(crate) use from_msgpack::write as write_msgpack;
pub(crate) use reader::{Flaw, Head, Reader};

/// A payload of the JSON value `text`, for callers beside the dialects (HTTP). `field` is its
/// name in the refusal.
///
/// # Errors
/// `invalid` when the text is not one valid JSON value, is nested deeper than
/// [`sparkway_protocol::limits::PAYLOAD_DEPTH`], or holds a lone surrogate: refuse the request.
pub fn json_payload(field: &str, text: &str) -> Result<Payload, Refused> {
    let value = Json::parse(text)
        .map_err(|error| invalid(field, format_args!("not valid JSON: {error}")))?;
    value.payload().map_err(|rule| invalid(field, rule))
}

/// The payload as one JSON value; raw bytes become a base64 string, which the caller marks with
/// `"encoding":"base64"` where [`Payload::encoding`] is [`Encoding::Binary`].
#[must_use]
pub fn json_text(payload: &Payload) -> Cow<'_, str> {
    if payload.encoding == Encoding::Json {
        return String::from_utf8_lossy(&payload.bytes);
    }
    let mut writer = JsonWriter::new(Vec::with_capacity(payload.bytes.len() + 16));
    writer.payload(payload);
    let text = String::from_utf8_lossy(&writer.into_sink()).into_owned();
    Cow::Owned(text)
}
