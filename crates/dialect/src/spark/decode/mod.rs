//! Spark frames from the client.

mod lifecycle;
mod topics;

use std::borrow::Cow;

use sparkway_protocol::{Code, Command, FrameId, Refused};

use crate::value::{Fields, Scalar, Value, invalid, required};

/// Fields of a frame outside `data`.
const ENVELOPE: [&str; 8] = [
    "type",
    "id",
    "topic",
    "data",
    "ephemeral",
    "durability",
    "exclude_self",
    "tp",
];

/// A frame whose envelope was read.
struct Frame<V> {
    id: Option<FrameId>,
    topic: Option<V>,
    data: Option<V>,
    ephemeral: Option<V>,
    durability: Option<V>,
    exclude_self: Option<V>,
    tp: Option<V>,
}

impl<'a, V: Value<'a>> Frame<V> {
    /// The fields of `data` by name; all absent when there is no `data`.
    fn data<const N: usize>(&self, names: &[&'static str; N]) -> Result<[Option<V>; N], Refused> {
        let Some(data) = self.data.filter(|data| data.scalar() != Scalar::Null) else {
            return Ok([None; N]);
        };
        let fields = data.fields(names);
        match fields.problem {
            None => Ok(fields.slots),
            Some(problem) => Err(invalid("data", problem)),
        }
    }
}

/// The command in a frame, or a refusal that carries the frame's id if one could be read.
pub(crate) fn decode<'a, V: Value<'a>>(wire: V) -> Result<Command, Refused> {
    let Fields { slots, problem } = wire.fields(&ENVELOPE);
    let [
        kind,
        id,
        topic,
        data,
        ephemeral,
        durability,
        exclude_self,
        tp,
    ] = slots;
    let id = frame_id(id);
    if let Some(problem) = problem {
        return Err(malformed("frame", &problem).answering(id.ok().flatten()));
    }
    let id = id?;
    let frame = Frame {
        id: id.clone(),
        topic,
        data,
        ephemeral,
        durability,
        exclude_self,
        tp,
    };
    command(kind, frame).map_err(|refused| refused.answering(id))
}

fn command<'a, V: Value<'a>>(kind: Option<V>, frame: Frame<V>) -> Result<Command, Refused> {
    let Scalar::Text(kind) = required(kind, "type")
        .map_err(|_| malformed("type", "missing"))?
        .scalar()
    else {
        return Err(malformed("type", "not a string"));
    };
    match kind.as_ref() {
        "ws:connect" => lifecycle::connect(frame),
        "ws:resume" => lifecycle::resume(frame),
        "ws:heartbeat" => lifecycle::heartbeat(frame),
        "ws:ping" => Ok(Command::Ping { id: frame.id }),
        "ws:ack" => lifecycle::ack(frame),
        "ws:refresh" => lifecycle::refresh(frame),
        "ws:close" => lifecycle::close(frame),
        "topic:subscribe" => topics::subscribe(frame),
        "topic:unsubscribe" => topics::unsubscribe(frame),
        "topic:publish" => topics::publish(frame),
        "topic:history" => topics::history(frame),
        "topic:presence" => topics::presence(frame),
        "rpc:call" => topics::call(frame),
        _ => Err(Refused::new(
            Code::UnknownType,
            "type: no frame that a client may send in Spark v1",
        )),
    }
}

fn frame_id<'a, V: Value<'a>>(id: Option<V>) -> Result<Option<FrameId>, Refused> {
    match id.map(V::scalar) {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(text)) => FrameId::parse(&text)
            .map(Some)
            .map_err(|rule| invalid("id", format_args!("{rule} (1 to 64 bytes)"))),
        Some(Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other) => {
            Err(invalid("id", "not a string of 1 to 64 bytes"))
        }
    }
}

fn malformed(field: &str, rule: &str) -> Refused {
    Refused::new(Code::Malformed, Cow::Owned(format!("{field}: {rule}")))
}
