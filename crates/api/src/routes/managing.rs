//! What is done to sessions, users and tokens.

use http::Method;
use sparkway_gateway::settings::Scope;
use sparkway_metrics::HttpRoute;

use super::{NO_BODY, Parameter, Route, SMALL, Serve, answer, body, one, optional_body};
use crate::{enlist, nodes, publish, sessions, tokens, topics, trace};

/// A message for an inbox, as long as one of a topic.
const MESSAGE: usize = 1024 * 1024;
const UNTIL: &[Parameter] = &[one(
    "until",
    "The newest id that goes; unless said, everything goes.",
)];

pub(super) fn routes() -> Vec<Route> {
    [of_sessions(), of_users(), of_nodes()]
        .into_iter()
        .flatten()
        .collect()
}

fn manage(method: Method, path: &'static str, label: HttpRoute, id: &'static str) -> Route {
    Route {
        method,
        path,
        label,
        scope: Scope::Manage,
        id,
        summary: "",
        notes: "",
        query: &[],
        body: None,
        idempotent: false,
        answer: NO_BODY,
        serve: Serve::Stream,
    }
}

fn of_nodes() -> Vec<Route> {
    let drain = |method, id| {
        let path = "/v1/nodes/{node}/drain";
        Route {
            scope: Scope::Admin,
            answer: answer::<nodes::Wish>(202),
            ..manage(method, path, HttpRoute::Drain, id)
        }
    };
    vec![
        Route {
            summary: "Drain a node",
            notes: "It tells its balancer that it is not ready, sends its clients to the other nodes at the configured pace and ends; whoever runs the process starts it again.",
            serve: Serve::Answer(|call| Box::pin(nodes::drain(call, true))),
            ..drain(Method::POST, "drainNode")
        },
        Route {
            summary: "Keep a node that was to drain",
            notes: "Until it begins to close connections (`drain.readiness_delay`); then it is a conflict.",
            serve: Serve::Answer(|call| Box::pin(nodes::drain(call, false))),
            ..drain(Method::DELETE, "keepNode")
        },
        Route {
            scope: Scope::Admin,
            summary: "Trace a topic or a session",
            notes: "On all nodes, for ten minutes at the most: its publishes are recorded whatever `tracing.sample_ratio` says, up to 100 per second and node together with those whose clients record them. A node keeps 64 such wishes; of more the one that ends first gives way. Needs `tracing.otlp_endpoint`; a node without one records nothing.",
            body: body::<trace::Trace>(SMALL, r#"{"topic":"room:1","seconds":60}"#),
            answer: answer::<trace::Traced>(200),
            serve: Serve::Answer(|call| Box::pin(trace::mark(call))),
            ..manage(Method::POST, "/v1/trace", HttpRoute::Trace, "traceFor")
        },
        Route {
            query: UNTIL,
            summary: "Trim a topic's log",
            notes: "What is gone is not read and not replayed any more, on no node; sessions that had not seen it are told of a gap. The newest id stays.",
            serve: Serve::Answer(|call| Box::pin(topics::trim(call))),
            ..manage(
                Method::DELETE,
                "/v1/topics/{topic}/history",
                HttpRoute::History,
                "trimHistory",
            )
        },
    ]
}

fn of_sessions() -> Vec<Route> {
    vec![
        Route {
            summary: "Subscribe a session",
            notes: "Whatever its grants, on whatever node it is, also while it has no connection. What is published after the answer reaches it. Topics that it has already stay as they are.",
            body: body::<enlist::Topics>(SMALL, r#"{"topics":["room:1"]}"#),
            answer: answer::<enlist::Enlisted>(200),
            serve: Serve::Answer(|call| Box::pin(enlist::subscribe(call))),
            ..manage(
                Method::POST,
                "/v1/sessions/{session}/subscriptions",
                HttpRoute::Session,
                "subscribeSession",
            )
        },
        Route {
            summary: "End a subscription of a session",
            notes: "Also one that the client made.",
            serve: Serve::Answer(|call| Box::pin(enlist::unsubscribe(call))),
            ..manage(
                Method::DELETE,
                "/v1/sessions/{session}/subscriptions/{topic}",
                HttpRoute::Session,
                "unsubscribeSession",
            )
        },
        Route {
            scope: Scope::Publish,
            summary: "Send a message to one session",
            notes: "Stored in the topic `$session:ID`, to which the session is subscribed with the first one: it reaches the session on whatever node, and is replayed after a cut.",
            body: body::<enlist::Direct>(MESSAGE, r#"{"data":{"text":"only you"}}"#),
            idempotent: true,
            answer: answer::<publish::Published>(200),
            serve: Serve::Answer(|call| Box::pin(enlist::to_session(call))),
            ..manage(
                Method::POST,
                "/v1/sessions/{session}/messages",
                HttpRoute::Session,
                "messageSession",
            )
        },
        Route {
            method: Method::DELETE,
            path: "/v1/sessions/{session}",
            label: HttpRoute::Session,
            scope: Scope::Manage,
            id: "disconnectSession",
            summary: "End a session",
            notes: "On whatever node it is: its connection is closed, nothing more of it is stored, and it cannot be resumed. The client is told `4011 disconnected` and stays away; with `reconnect` it is told `4200 session_lost` and comes back at once.",
            query: &[],
            body: optional_body::<sessions::Disconnect>(r#"{"reconnect":true}"#),
            idempotent: false,
            answer: NO_BODY,
            serve: Serve::Answer(|call| Box::pin(sessions::disconnect(call))),
        },
    ]
}

fn of_users() -> Vec<Route> {
    vec![
        Route {
            summary: "Subscribe all sessions of a user",
            notes: "Those that there are now, as one session is subscribed.",
            body: body::<enlist::Topics>(SMALL, r#"{"topics":["room:1"]}"#),
            answer: answer::<enlist::EnlistedUser>(200),
            serve: Serve::Answer(|call| Box::pin(enlist::subscribe_user(call))),
            ..manage(
                Method::POST,
                "/v1/users/{user}/subscriptions",
                HttpRoute::User,
                "subscribeUser",
            )
        },
        Route {
            scope: Scope::Publish,
            summary: "Send a message to a user",
            notes: "Stored in the topic `$user:ID`. The user's sessions are subscribed to it with the first one; one that comes later subscribes by itself and may ask for what was stored with `since`.",
            body: body::<enlist::Direct>(MESSAGE, r#"{"data":{"text":"your order is paid"}}"#),
            idempotent: true,
            answer: answer::<publish::Published>(200),
            serve: Serve::Answer(|call| Box::pin(enlist::to_user(call))),
            ..manage(
                Method::POST,
                "/v1/users/{user}/messages",
                HttpRoute::User,
                "messageUser",
            )
        },
        Route {
            method: Method::POST,
            path: "/v1/users/{user}/disconnect",
            label: HttpRoute::User,
            scope: Scope::Manage,
            id: "disconnectUser",
            summary: "End all sessions of a user",
            notes: "At most 1,000 at once; `more` says whether to ask again. New sessions are not prevented: revoke the user's tokens first.",
            query: &[],
            body: optional_body::<sessions::Disconnect>("{}"),
            idempotent: false,
            answer: answer::<sessions::Ended>(200),
            serve: Serve::Answer(|call| Box::pin(sessions::disconnect_user(call))),
        },
        Route {
            method: Method::POST,
            path: "/v1/tokens/revoke",
            label: HttpRoute::Revoke,
            scope: Scope::Manage,
            id: "revokeTokens",
            summary: "Revoke tokens",
            notes: "On all nodes, within a second: sessions that began with such a token end, and nobody comes in with one.",
            query: &[],
            body: body::<tokens::Revoke>(SMALL, r#"{"user":"ada"}"#),
            idempotent: false,
            answer: answer::<tokens::RevokedTokens>(200),
            serve: Serve::Answer(|call| Box::pin(tokens::revoke(call))),
        },
    ]
}
