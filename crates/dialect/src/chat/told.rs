//! Frames of the chat application to its clients, field by field as the source has them.

use serde::Serialize;
use sparkway_frame::Framed;
use sparkway_protocol::Payload;

/// A frame to the client. Times are ISO 8601.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "type",
    content = "data",
    rename_all = "snake_case",
    rename_all_fields = "camelCase"
)]
#[expect(missing_docs, reason = "the fields are those of the source, by name")]
pub enum Told<'a> {
    /// The connection is registered.
    ConnectionEstablished { user_id: &'a str, username: &'a str },
    /// Who is online.
    OnlineUsers {
        users: &'a [OnlineUser],
        total_online: u64,
        timestamp: &'a str,
    },
    /// Somebody came online.
    UserOnline { user_id: &'a str, username: &'a str },
    /// Somebody went offline.
    UserOffline { user_id: &'a str, username: &'a str },
    /// A message of the client is stored.
    MessageSent {
        message_id: &'a str,
        receiver_id: &'a str,
        content: &'a str,
        created_at: &'a str,
        status: &'a str,
    },
    /// A message for the client.
    NewMessage {
        message_id: &'a str,
        sender_id: &'a str,
        sender_username: &'a str,
        content: &'a str,
        message_type: &'a str,
        created_at: &'a str,
    },
    /// A message of the client was written to its receiver's connection.
    MessageDelivered {
        message_id: &'a str,
        delivered_at: &'a str,
    },
    /// Somebody read the client's messages.
    MessagesRead {
        read_by: &'a str,
        read_by_username: &'a str,
        read_at: &'a str,
    },
    /// The messages of a sender are marked as read.
    MarkReadSuccess {
        sender_id: &'a str,
        marked_count: u64,
    },
    /// Somebody types to the client, or no longer.
    TypingIndicator {
        user_id: &'a str,
        username: &'a str,
        is_typing: bool,
    },
    /// A request failed; the connection stays.
    Error {
        message: &'a str,
        timestamp: &'a str,
    },
}

/// A user in `online_users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnlineUser {
    /// His id.
    #[serde(rename = "_id")]
    pub id: Box<str>,
    /// How he is called.
    pub username: Box<str>,
    /// Where his picture is, if anywhere.
    pub avatar: Option<Box<str>>,
}

/// The frame of a failed request.
#[must_use]
pub const fn error<'a>(message: &'a str, timestamp: &'a str) -> Told<'a> {
    Told::Error { message, timestamp }
}

impl Told<'_> {
    /// The frame's text. Texts and numbers cannot fail to be written.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As a payload of an inbox topic.
    #[must_use]
    pub fn to_payload(&self) -> Payload {
        Payload::json(self.to_text().into())
    }

    /// As a frame.
    #[must_use]
    pub fn to_frame(&self) -> Framed {
        Framed::text(self.to_text().as_bytes())
    }
}
