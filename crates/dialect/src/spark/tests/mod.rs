//! Tests of the whole dialect, through [`crate::decode`] and [`crate::encode`] only.

pub(crate) mod events;
mod input;
mod output;
mod payloads;
mod properties;
mod transcripts;

use serde_json::Value;
use sparkway_frame::Opcode;
use sparkway_protocol::{Code, Command, Event, Format, FrameId, Payload, Refused};

use crate::{Wire, decode, encode};

fn json(text: &str) -> Result<Command, Refused> {
    decode(Format::SparkJson, Wire::Text(text))
}

fn msgpack(bytes: &[u8]) -> Result<Command, Refused> {
    decode(Format::SparkMsgPack, Wire::Binary(bytes))
}

/// The frame in both encodings; the two answers must agree but for the payload's encoding.
fn both(text: &str) -> Result<Command, Refused> {
    let frame: Value = serde_json::from_str(text).unwrap();
    let packed = rmp_serde::to_vec_named(&frame).unwrap();
    let answer = json(text);
    match (&answer, msgpack(&packed)) {
        (Ok(Command::Publish { .. } | Command::Call { .. }), Ok(other)) => {
            assert_eq!(answer.as_ref().unwrap().id(), other.id());
        }
        (_, other) => assert_eq!(answer, other, "{text}"),
    }
    answer
}

fn code_of(answer: Result<Command, Refused>) -> Code {
    answer.unwrap_err().code
}

fn payload_of(format: Format, event: &Event) -> Vec<u8> {
    let framed = encode(format, event).unwrap();
    let (opcode, payload) = framed.frames().next().unwrap();
    let expected = match format {
        Format::SparkMsgPack => Opcode::Binary,
        _ => Opcode::Text,
    };
    assert_eq!(opcode, expected);
    assert_eq!(framed.frames().count(), 1);
    payload.to_vec()
}

fn as_json(event: &Event) -> Value {
    serde_json::from_slice(&payload_of(Format::SparkJson, event)).unwrap()
}

/// `MessagePack` read by an independent reader, which has no bytes.
fn as_msgpack(event: &Event) -> Value {
    rmp_serde::from_slice(&payload_of(Format::SparkMsgPack, event)).unwrap()
}

fn published(answer: Result<Command, Refused>) -> Payload {
    match answer {
        Ok(Command::Publish { payload, .. }) => payload,
        other => panic!("{other:?}"),
    }
}

fn publish(data: &str) -> Result<Command, Refused> {
    json(&format!(
        r#"{{"type":"topic:publish","id":"f-7","topic":"t","data":{data}}}"#
    ))
}

/// A publish in `MessagePack` whose `data` is `bytes`.
fn publish_packed(bytes: &[u8]) -> Result<Command, Refused> {
    let head = b"\x84\xa4type\xadtopic:publish\xa5topic\xa1t\xa4data".as_slice();
    msgpack(&[head, bytes, b"\xa2id\xa3f-7"].concat())
}

fn id_of(answer: &Result<Command, Refused>) -> Option<&str> {
    answer
        .as_ref()
        .unwrap_err()
        .id
        .as_ref()
        .map(FrameId::as_str)
}
