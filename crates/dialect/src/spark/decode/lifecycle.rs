//! Frames about the session itself.

use std::borrow::Cow;

use sparkway_protocol::limits::{FRAME_ID_BYTES, TOKEN_BYTES};
use sparkway_protocol::{AckId, Command, LastSeen, MessageId, Partition, Refused, SessionId};

use super::Frame;
use crate::value::{Scalar, Value, boolean, invalid, required, text_at_most};

pub(super) fn connect<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [token, headers] = frame.data(&["token", "headers"])?;
    let token = text_at_most(token, "data.token", TOKEN_BYTES)?.map(boxed);
    let claimed = headers.map(V::payload).transpose();
    Ok(Command::Connect {
        id: frame.id,
        token,
        claimed: claimed.map_err(|rule| invalid("data.headers", rule))?,
    })
}

pub(super) fn resume<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [session, token, last] =
        frame.data(&["session_id", "heartbeat_token", "last_message_id"])?;
    let session = match session.map(V::scalar) {
        Some(Scalar::Text(text)) => SessionId::parse(&text),
        Some(Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other) | None => None,
    };
    Ok(Command::Resume {
        id: frame.id,
        session,
        heartbeat_token: heartbeat_token(token)?,
        last: last_seen(last),
    })
}

pub(super) fn heartbeat<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [token] = frame.data(&["heartbeat_token"])?;
    Ok(Command::Heartbeat {
        id: frame.id,
        heartbeat_token: heartbeat_token(token)?,
    })
}

pub(super) fn ack<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [ack] = frame.data(&["ackId"])?;
    let ack = match ack.map(V::scalar) {
        Some(Scalar::Text(text)) => ack_id(text),
        Some(Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other) | None => {
            AckId::Unknown
        }
    };
    Ok(Command::Ack { id: frame.id, ack })
}

pub(super) fn refresh<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [token] = frame.data(&["token"])?;
    let token = text_at_most(token, "data.token", TOKEN_BYTES)?;
    Ok(Command::Refresh {
        id: frame.id,
        token: boxed(required(token, "data.token")?),
    })
}

pub(super) fn close<'a, V: Value<'a>>(frame: Frame<V>) -> Result<Command, Refused> {
    let [resume] = frame.data(&["resume"])?;
    let resume = boolean(resume, "data.resume", false)?;
    Ok(Command::Close {
        id: frame.id,
        resume,
    })
}

fn heartbeat_token<'a, V: Value<'a>>(token: Option<V>) -> Result<Box<str>, Refused> {
    let field = "data.heartbeat_token";
    required(text_at_most(token, field, TOKEN_BYTES)?, field).map(boxed)
}

/// Nothing here is refused: an answer of its own (`bad_message_id`) says that it is no position.
fn last_seen<'a, V: Value<'a>>(last: Option<V>) -> LastSeen {
    let Some(last) = last else {
        return LastSeen::Unknown;
    };
    match last.scalar() {
        Scalar::Null => LastSeen::Unknown,
        Scalar::Text(text) => MessageId::parse(&text).map_or(LastSeen::Invalid, LastSeen::One),
        Scalar::Bool(_) | Scalar::Unsigned(_) => LastSeen::Invalid,
        Scalar::Other => many_seen(last).map_or(LastSeen::Invalid, LastSeen::Many),
    }
}

fn many_seen<'a, V: Value<'a>>(last: V) -> Option<Vec<MessageId>> {
    let items = last.items(Partition::MAX_COUNT)?;
    if items.len() > Partition::MAX_COUNT {
        return None;
    }
    let id = |item: V| match item.scalar() {
        Scalar::Text(text) => MessageId::parse(&text),
        Scalar::Null | Scalar::Bool(_) | Scalar::Unsigned(_) | Scalar::Other => None,
    };
    items.into_iter().map(id).collect()
}

fn ack_id(text: Cow<'_, str>) -> AckId {
    if let Some(id) = MessageId::parse(&text) {
        AckId::Message(id)
    } else if text.starts_with('c') && text.len() <= FRAME_ID_BYTES {
        AckId::Control(boxed(text))
    } else {
        AckId::Unknown
    }
}

fn boxed(text: Cow<'_, str>) -> Box<str> {
    Box::from(text)
}
