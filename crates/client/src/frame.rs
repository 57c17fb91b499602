//! A frame of the gateway, as it came: parsed once, its payload only when somebody asks.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio_tungstenite::tungstenite::Message as RawMessage;

macro_rules! frame_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The `type` of a frame of the gateway.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum FrameType {
            $($(#[$doc])* $name,)*
            /// A type this client does not know: ignored, as the protocol asks.
            Other(Box<str>),
        }

        impl FrameType {
            /// Reads the word on the wire.
            #[must_use]
            pub fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    other => Self::Other(other.into()),
                }
            }

            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }
    };
}

frame_types! {
    /// A kept message, or an ephemeral one (without an id).
    Message = "topic:message";
    /// A request was carried out.
    Ack = "ws:ack";
    /// A request was refused.
    Error = "ws:error";
    /// Heartbeat seen.
    HeartbeatAck = "ws:heartbeat_ack";
    /// The session begins.
    ConnectAck = "ws:connect_ack";
    /// The session goes on.
    ResumeAck = "ws:resume_ack";
    /// Everything missed has been sent.
    ReplayDone = "ws:replay_done";
    /// The session cannot go on.
    ResumeFailed = "ws:resume_failed";
    /// The gateway asks for a sign of life.
    Ping = "ws:ping";
    /// The node is going away.
    Drain = "ws:drain";
    /// Last words before a close.
    Close = "ws:close";
    /// Live delivery lost something for good.
    Gap = "topic:gap";
    /// Somebody came.
    Join = "topic:join";
    /// Somebody went.
    Leave = "topic:leave";
}

impl fmt::Display for FrameType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// What `data` holds: JSON text kept as it came, or a value already built from `MessagePack`.
#[derive(Clone, Debug, Default)]
pub(crate) enum Body {
    #[default]
    Absent,
    Json(Bytes),
    Value(Value),
}

impl Body {
    /// The payload as a value; `Null` where there is none.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Absent => Value::Null,
            Self::Json(text) => serde_json::from_slice(text).unwrap_or_default(),
            Self::Value(value) => value.clone(),
        }
    }

    /// The payload as a type.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Self::Absent => serde_json::from_value(Value::Null),
            Self::Json(text) => serde_json::from_slice(text),
            Self::Value(value) => T::deserialize(value),
        }
    }

    /// The payload as JSON text.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Absent => Cow::Borrowed("null"),
            Self::Json(text) => String::from_utf8_lossy(text),
            Self::Value(value) => Cow::Owned(value.to_string()),
        }
    }
}

/// One frame of the gateway. Fields that it did not carry are `None`.
#[derive(Clone, Debug)]
pub struct ServerFrame {
    /// Its type.
    pub kind: FrameType,
    /// A message id on a topic message, else a control id (`c…`) that wants a `ws:ack`.
    pub id: Option<Box<str>>,
    /// The topic it is about.
    pub topic: Option<Box<str>>,
    /// The user who published it.
    pub from: Option<Box<str>>,
    /// When it was published, in Unix milliseconds.
    pub ts: Option<u64>,
    /// Whether the payload is binary and stands here as base64 text, in either encoding.
    pub is_base64: bool,
    /// The WebSocket message it came in.
    pub raw: RawMessage,
    pub(crate) body: Body,
}

#[derive(Deserialize)]
struct JsonFrame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: Option<Box<str>>,
    topic: Option<Box<str>>,
    from: Option<Box<str>>,
    ts: Option<u64>,
    #[serde(borrow, default)]
    encoding: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MsgPackFrame {
    #[serde(rename = "type")]
    kind: Box<str>,
    #[serde(default)]
    id: Option<Box<str>>,
    #[serde(default)]
    topic: Option<Box<str>>,
    #[serde(default)]
    from: Option<Box<str>>,
    #[serde(default)]
    ts: Option<u64>,
    #[serde(default)]
    encoding: Option<Box<str>>,
    #[serde(default)]
    data: Option<AnyValue>,
}

impl ServerFrame {
    /// Reads a WebSocket message: JSON from text, `MessagePack` from binary. `None` when it is no
    /// frame of Spark.
    #[must_use]
    pub fn parse(raw: &RawMessage) -> Option<Self> {
        match raw {
            RawMessage::Text(text) => {
                let bytes = Bytes::from(text.clone());
                let frame: JsonFrame<'_> = serde_json::from_slice(&bytes).ok()?;
                let body = frame.data.map_or(Body::Absent, |data| {
                    Body::Json(bytes.slice_ref(data.get().as_bytes()))
                });
                Some(Self {
                    kind: FrameType::parse(&frame.kind),
                    id: frame.id,
                    topic: frame.topic,
                    from: frame.from,
                    ts: frame.ts,
                    is_base64: frame.encoding.as_deref() == Some("base64"),
                    raw: raw.clone(),
                    body,
                })
            }
            RawMessage::Binary(bytes) => {
                let frame: MsgPackFrame = rmp_serde::from_slice(bytes).ok()?;
                let is_binary = frame.data.as_ref().is_some_and(|data| data.is_binary);
                Some(Self {
                    kind: FrameType::parse(&frame.kind),
                    id: frame.id,
                    topic: frame.topic,
                    from: frame.from,
                    ts: frame.ts,
                    is_base64: is_binary || frame.encoding.as_deref() == Some("base64"),
                    raw: raw.clone(),
                    body: frame
                        .data
                        .map_or(Body::Absent, |data| Body::Value(data.value)),
                })
            }
            RawMessage::Ping(_)
            | RawMessage::Pong(_)
            | RawMessage::Close(_)
            | RawMessage::Frame(_) => None,
        }
    }

    /// `data` as a value; `Null` where there is none. Parsed at each call.
    #[must_use]
    pub fn data(&self) -> Value {
        self.body.value()
    }

    /// `data` as JSON text, verbatim where the frame was JSON.
    #[must_use]
    pub fn data_text(&self) -> Cow<'_, str> {
        self.body.text()
    }

    /// One field of `data`; `Null` where it is absent.
    #[must_use]
    pub fn field(&self, name: &str) -> Value {
        self.data()
            .as_object_mut()
            .and_then(|fields| fields.remove(name))
            .unwrap_or_default()
    }

    /// The frame that this one answers (`data.ackId`).
    #[must_use]
    pub fn ack_id(&self) -> Option<String> {
        self.field("ackId").as_str().map(str::to_owned)
    }
}

/// Any `MessagePack` value as JSON: `bin` becomes base64 text, map keys become text.
#[derive(Default)]
struct AnyValue {
    value: Value,
    is_binary: bool,
}

impl AnyValue {
    fn plain(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            is_binary: false,
        }
    }
}

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = AnyValue;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any MessagePack value")
    }

    fn visit_unit<E>(self) -> Result<AnyValue, E> {
        Ok(AnyValue::default())
    }

    fn visit_none<E>(self) -> Result<AnyValue, E> {
        Ok(AnyValue::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<AnyValue, D::Error> {
        AnyValue::deserialize(source)
    }

    fn visit_bool<E>(self, value: bool) -> Result<AnyValue, E> {
        Ok(AnyValue::plain(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<AnyValue, E> {
        Ok(AnyValue::plain(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<AnyValue, E> {
        Ok(AnyValue::plain(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<AnyValue, E> {
        Ok(AnyValue::plain(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<AnyValue, E> {
        Ok(AnyValue::plain(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<AnyValue, E> {
        Ok(AnyValue {
            value: base64::engine::general_purpose::STANDARD
                .encode(value)
                .into(),
            is_binary: true,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<AnyValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<AnyValue>()? {
            list.push(item.value);
        }
        Ok(AnyValue::plain(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<AnyValue, A::Error> {
        let mut map = Map::new();
        while let Some((key, item)) = fields.next_entry::<AnyValue, AnyValue>()? {
            let name = match key.value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            map.insert(name, item.value);
        }
        Ok(AnyValue::plain(map))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, source: D) -> Result<AnyValue, D::Error> {
        let (tag, bytes) = <(i8, AnyValue)>::deserialize(source)?;
        Ok(AnyValue::plain(vec![Value::from(tag), bytes.value]))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Encoding;

    #[test]
    fn a_frame_reads_the_same_in_both_encodings() {
        let frame = json!({"type": "topic:message", "id": "16", "topic": "room:1",
            "data": {"n": [1, -2, 2.5, null, true, "x"]}, "from": "ada", "ts": 7});
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let raw = encoding.encode(&frame).unwrap();
            let read = ServerFrame::parse(&raw).unwrap();
            assert_eq!(read.kind, FrameType::Message);
            assert_eq!(read.id.as_deref(), Some("16"));
            assert_eq!(read.topic.as_deref(), Some("room:1"));
            assert_eq!(read.from.as_deref(), Some("ada"));
            assert_eq!(read.ts, Some(7));
            assert_eq!(read.data(), frame["data"]);
            assert!(!read.is_base64);
        }
    }

    #[test]
    fn json_payload_is_kept_verbatim() {
        let raw = RawMessage::text(r#"{"type":"topic:message","data":{"b" : 1,"a":2e0}}"#);
        let read = ServerFrame::parse(&raw).unwrap();
        assert_eq!(read.data_text(), r#"{"b" : 1,"a":2e0}"#);
    }

    #[test]
    fn binary_payload_reads_as_base64_in_both_encodings() {
        let mut packed = vec![0x82, 0xa4];
        packed.extend_from_slice(b"type\xadtopic:message\xa4data\xc4\x03\x00\xff\x01");
        let from_bin = ServerFrame::parse(&RawMessage::binary(packed)).unwrap();
        let from_text = ServerFrame::parse(&RawMessage::text(
            r#"{"type":"topic:message","data":"AP8B","encoding":"base64"}"#,
        ))
        .unwrap();
        for read in [from_bin, from_text] {
            assert!(read.is_base64);
            assert_eq!(read.data(), json!("AP8B"));
        }
    }

    #[test]
    fn what_is_no_frame_is_not_made_one() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"type\":1}",
            "{\"type\":\"x\"",
            "nonsense",
        ] {
            assert!(
                ServerFrame::parse(&RawMessage::text(text)).is_none(),
                "{text}"
            );
        }
        assert!(ServerFrame::parse(&RawMessage::binary(vec![0xc1])).is_none());
    }
}
