//! What backends are asked: the bodies of requests, as JSON.
//!
//! Every body has `hook`, `time_ms`, `node`, `client`, and one object named as the hook, which
//! holds what that hook is about. Fields may be added.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Who it is about, as the gateway knows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Client {
    /// The session; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The user that a verified credential, or the backend itself, named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The dialect that it speaks.
    pub dialect: &'static str,
    /// Headers of its handshake, those of `hooks.transport_headers`: they passed the proxies in
    /// front of the gateway.
    pub headers: BTreeMap<String, String>,
    /// Headers that it claims in its first frame, those of `hooks.claimed_headers`: nobody has
    /// checked them.
    pub claimed_headers: BTreeMap<String, String>,
}

/// Whether somebody may connect.
#[derive(Clone, Debug, Serialize)]
pub struct Connect<'a> {
    /// The credential, where the gateway verifies none: it has no keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// When the verified credential ends, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether the client must be somebody.
    pub user_required: bool,
}

/// Whether a session may receive topics.
#[derive(Clone, Debug, Serialize)]
pub struct Subscribe<'a> {
    /// Which.
    pub topics: &'a [&'a str],
    /// `subscribe`, `refresh` (it is subscribed already) or `history`.
    pub action: &'static str,
}

/// Whether a session may publish.
#[derive(Clone, Debug, Serialize)]
pub struct Publish<'a> {
    /// In which topic.
    pub topic: &'a str,
    /// What.
    pub data: &'a RawValue,
    /// `base64` when `data` is a text of bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// Whether it is not to be kept.
    pub ephemeral: bool,
    /// The client's name for it; the same for a repeated publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
}

/// For a response.
#[derive(Clone, Debug, Serialize)]
pub struct Message<'a> {
    /// The conversation.
    pub conversation: &'a str,
    /// The client's name for the message; the same for a repeated one.
    pub message_id: &'a str,
    /// What it says.
    pub content: &'a str,
}

/// For the result of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Rpc<'a> {
    /// What is called.
    pub method: &'a str,
    /// With what.
    pub params: &'a RawValue,
    /// `base64` when `params` is a text of bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
}

/// Whether a credential that runs out goes on.
#[derive(Clone, Debug, Serialize)]
pub struct Refresh {
    /// When it ends, in Unix milliseconds.
    pub expires_at: u64,
}

/// What happened: the body of a batch of events.
#[derive(Clone, Debug, Serialize)]
pub struct Batch<'a> {
    /// `events`.
    pub hook: &'static str,
    /// When this batch was made, in Unix milliseconds.
    pub time_ms: u64,
    /// The node that tells it.
    pub node: &'a str,
    /// What happened, oldest first.
    pub events: Vec<Event<'a>>,
}

/// One event. It may be told more than once, always under the same id.
#[derive(Clone, Debug, Serialize)]
pub struct Event<'a> {
    /// Its name, the same whenever it is told.
    pub id: String,
    /// What: `session.opened`, `session.closed`, `session.expired`, `topic.occupied`,
    /// `topic.vacated`, `presence.joined`, `presence.left`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// When, in Unix milliseconds of the store.
    pub time_ms: u64,
    /// The session, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<&'a str>,
    /// The topic, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<&'a str>,
    /// Whose session it is or was, or who came or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
}

impl Batch<'_> {
    /// As JSON.
    #[must_use]
    pub fn to_body(&self) -> Bytes {
        // Texts and numbers: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

#[derive(Serialize)]
struct Body<'a, T> {
    hook: &'static str,
    time_ms: u64,
    node: &'a str,
    client: &'a Client,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a T>,
}

/// A question that one hook answers.
pub trait Question: Serialize {
    /// The hook.
    const HOOK: crate::Hook;
}

macro_rules! questions {
    ($($kind:ty => $hook:ident,)*) => {$(
        impl Question for $kind {
            const HOOK: crate::Hook = crate::Hook::$hook;
        }
    )*};
}

questions! {
    Connect<'_> => Connect,
    Subscribe<'_> => Subscribe,
    Publish<'_> => Publish,
    Message<'_> => Message,
    Rpc<'_> => Rpc,
    Refresh => Refresh,
}

/// The body of a question about a client.
#[must_use]
pub fn body<Q: Question>(node: &str, time_ms: u64, client: &Client, question: &Q) -> Bytes {
    use crate::Hook;
    let is = |hook: Hook| (Q::HOOK == hook).then_some(question);
    let body = Body {
        hook: name(Q::HOOK),
        time_ms,
        node,
        client,
        connect: is(Hook::Connect),
        subscribe: is(Hook::Subscribe),
        publish: is(Hook::Publish),
        message: is(Hook::Message),
        rpc: is(Hook::Rpc),
        refresh: is(Hook::Refresh),
    };
    // Texts, numbers and maps with text keys: nothing of it can fail.
    serde_json::to_vec(&body).unwrap_or_default().into()
}

/// The name of a hook in configuration and in bodies.
#[must_use]
pub const fn name(hook: crate::Hook) -> &'static str {
    use crate::Hook;
    match hook {
        Hook::Connect => "connect",
        Hook::Subscribe => "subscribe",
        Hook::Publish => "publish",
        Hook::Message => "message",
        Hook::Rpc => "rpc",
        Hook::Refresh => "refresh",
        Hook::Events => "events",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_claims_stands_apart_and_a_payload_is_passed_on_verbatim() {
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let client = Client {
            user: Some("ada".to_owned()),
            dialect: "spark",
            headers: one("x-real-ip", "10.0.0.1"),
            claimed_headers: one("x-real-ip", "127.0.0.1"),
            ..Client::default()
        };
        let data = RawValue::from_string("{\"n\":9007199254740993 }".to_owned()).unwrap();
        let question = Publish {
            topic: "room:1",
            data: &data,
            encoding: None,
            ephemeral: false,
            id: Some("m1"),
        };
        let body = body("node-a", 7, &client, &question);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            concat!(
                r#"{"hook":"publish","time_ms":7,"node":"node-a","client":{"user":"ada","#,
                r#""dialect":"spark","headers":{"x-real-ip":"10.0.0.1"},"#,
                r#""claimed_headers":{"x-real-ip":"127.0.0.1"}},"publish":{"topic":"room:1","#,
                r#""data":{"n":9007199254740993 },"ephemeral":false,"id":"m1"}}"#,
            )
        );
    }
}
