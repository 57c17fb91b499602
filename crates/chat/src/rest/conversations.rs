//! Messages: listed, newest first, and sent as over a connection.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use sparkway_dialect::chat::Asked;
use sparkway_gateway::site::{Response, decode_segment};
use sparkway_protocol::{MessageId, Payload, UserId, iso8601};

use super::accounts::value;
use super::{Refusal, answer, refuse};
use crate::Chat;
use crate::calls::{Draft, NotSent};
use crate::messages::Message;
use crate::users::User;

/// Messages of one page.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

impl Chat {
    pub(super) async fn list_messages(
        &self,
        asker: &User,
        other: &str,
        query: Option<&str>,
    ) -> Result<Response, Refusal> {
        let bad = |message| refuse(StatusCode::BAD_REQUEST, message);
        let limit = match value(query, "limit").map(|text| text.parse::<usize>()) {
            None => PAGE,
            Some(Ok(limit @ 1..=PAGE_MAX)) => limit,
            Some(_) => return Err(bad("limit: 1 to 200")),
        };
        let before = match value(query, "before") {
            None => None,
            Some(id) => Some(MessageId::parse(&id).ok_or_else(|| bad("before: no message id"))?),
        };
        let other = decode_segment(other);
        let parse = |id: &str| UserId::parse(id).map_err(|_| bad("user: not understood"));
        let (me, other) = (parse(&asker.id)?, parse(&other)?);
        let messages = self.messages.history(me, other, before, limit).await?;
        let messages: Vec<Value> = messages.iter().map(shown).collect();
        Ok(answer(StatusCode::OK, &json!({ "messages": messages })))
    }

    pub(super) async fn post_message(
        self: &Arc<Self>,
        asker: &User,
        body: &Bytes,
    ) -> Result<Response, Refusal> {
        let missing = || {
            let text = "Missing required fields: receiverId and content";
            refuse(StatusCode::BAD_REQUEST, text)
        };
        let wanted = Asked::of("chat_message", &Payload::json(body.clone()));
        let Ok(Asked::Message {
            receiver,
            content,
            kind,
            client_id,
        }) = wanted
        else {
            return Err(missing());
        };
        let draft = Draft {
            receiver,
            content,
            kind,
            client_id,
        };
        let sender = UserId::parse(&asker.id).map_err(|_| missing())?;
        let saved = self.save(&sender, draft, None).await;
        let message = saved.map_err(|not_sent| {
            let status = match not_sent {
                NotSent::ToOneself => StatusCode::BAD_REQUEST,
                NotSent::NoReceiver => StatusCode::NOT_FOUND,
                NotSent::Replaced | NotSent::Failed => StatusCode::SERVICE_UNAVAILABLE,
            };
            refuse(status, not_sent.text())
        })?;
        let shown = shown(&message);
        self.hand_over(message, &asker.username).await;
        Ok(answer(StatusCode::CREATED, &shown))
    }
}

fn shown(message: &Message) -> Value {
    json!({
        "messageId": message.id.to_string(),
        "senderId": message.sender.as_str(),
        "receiverId": message.receiver.as_str(),
        "content": message.content,
        "messageType": message.kind,
        "createdAt": iso8601(message.id.unix_ms()),
        "status": message.status.as_str(),
    })
}
