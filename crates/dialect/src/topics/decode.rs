//! Frames from the client.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use sparkway_protocol::limits::{FRAME_ID_BYTES, MESSAGE_BYTES, TOKEN_BYTES, TOPIC_NAME_BYTES};
use sparkway_protocol::{
    Code, Command, Durability, FrameId, MessageId, Payload, Refused, Since, Subscribe, TopicName,
};

use super::answer;
use crate::value::{Json, Scalar, Value as _, at_most, invalid, required, text, text_at_most};

/// What is kept of a topic name that will be refused for its length, in bytes.
const KEPT_NAME_BYTES: usize = 300;
const _: () = assert!(KEPT_NAME_BYTES > TOPIC_NAME_BYTES);
/// More topics than fit into the longest message: which of them are too many is told by name.
const TOPICS: usize = MESSAGE_BYTES;

const FIELDS: [&str; 7] = [
    "type",
    "topics",
    "since",
    "token",
    "topic",
    "data",
    "messageId",
];

/// What the client asks.
pub(crate) fn decode(frame: &str) -> Result<Command, Refused> {
    let fields = Json::new(frame).fields(&FIELDS);
    if let Some(problem) = fields.problem {
        return Err(Refused::new(Code::Malformed, format!("frame: {problem}")));
    }
    let [kind, topics, since, token, topic, data, message_id] = fields.slots;
    let Some(Scalar::Text(kind)) = kind.map(Json::scalar) else {
        return Err(Refused::new(
            Code::Malformed,
            "type: missing or not a string",
        ));
    };
    match kind.as_ref() {
        "auth" => auth(token),
        "subscribe" => subscribe(topics, since),
        "unsubscribe" => Ok(Command::Unsubscribe {
            id: answer::id(answer::UNSUBSCRIBE),
            topics: names(topics)?,
        }),
        "ping" => Ok(Command::Ping {
            id: answer::id(answer::PING),
        }),
        "publish" => {
            let id = frame_id(message_id)?;
            publish(id.clone(), topic, data).map_err(|refused| refused.answering(id))
        }
        _ => Err(Refused::new(
            Code::UnknownType,
            "type: not one of auth, subscribe, unsubscribe, ping, publish",
        )),
    }
}

fn auth(token: Option<Json<'_>>) -> Result<Command, Refused> {
    let token = text_at_most(token, "token", TOKEN_BYTES)?;
    Ok(Command::Connect {
        id: answer::id(answer::AUTH),
        token: Some(Box::from(required(token, "token")?)),
        claimed: None,
    })
}

fn subscribe(topics: Option<Json<'_>>, since: Option<Json<'_>>) -> Result<Command, Refused> {
    let since_each = since.map(since_of).transpose()?;
    let name = match since_each {
        Some(_) => answer::SUBSCRIBE_SINCE,
        None => answer::SUBSCRIBE,
    };
    let request = Subscribe {
        topics: names(topics)?,
        since: Since::Now,
        since_each: since_each.unwrap_or_default(),
        presence: false,
        echo: true,
    };
    Ok(Command::Subscribe {
        id: answer::id(name),
        request,
    })
}

fn since_of(since: Json<'_>) -> Result<Vec<(Box<str>, MessageId)>, Refused> {
    let rule = "since: not an object of topics and message ids";
    let refused = || Refused::new(Code::Invalid, rule);
    let map: BTreeMap<Cow<'_, str>, Cow<'_, str>> =
        serde_json::from_str(since.raw()).map_err(|_| refused())?;
    map.into_iter()
        .map(|(topic, id)| {
            let id = MessageId::parse(&id).ok_or_else(refused)?;
            Ok((Box::from(topic), id))
        })
        .collect()
}

fn names(topics: Option<Json<'_>>) -> Result<Vec<Box<str>>, Refused> {
    let refused = || invalid("topics", "not an array of strings");
    let items = required(topics, "topics")?
        .items(TOPICS)
        .ok_or_else(refused)?;
    items
        .into_iter()
        .map(|item| match item.scalar() {
            Scalar::Text(name) => Ok(Box::from(at_most(&name, KEPT_NAME_BYTES))),
            Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other => Err(refused()),
        })
        .collect()
}

fn frame_id(id: Option<Json<'_>>) -> Result<Option<FrameId>, Refused> {
    let id = text_at_most(id, "messageId", FRAME_ID_BYTES)?;
    id.map(|id| FrameId::parse(&id))
        .transpose()
        .map_err(|rule| invalid("messageId", rule))
}

fn publish(
    id: Option<FrameId>,
    topic: Option<Json<'_>>,
    data: Option<Json<'_>>,
) -> Result<Command, Refused> {
    let topic = required(text(topic, "topic")?, "topic")?;
    let topic = TopicName::parse(&topic).map_err(|rule| invalid("topic", rule))?;
    let payload = match data {
        Some(data) => data.payload().map_err(|rule| invalid("data", rule))?,
        None => Payload::json(Bytes::from_static(b"null")),
    };
    Ok(Command::Publish {
        id,
        topic,
        payload,
        ephemeral: false,
        durability: Durability::default(),
        exclude_self: false,
        trace: None,
    })
}
