//! What there is.

use http::Method;
use sparkway_gateway::settings::Scope;
use sparkway_metrics::HttpRoute;

use super::{CURSOR, LIMIT, NO_BODY, Parameter, Route, Serve, answer, one};
use crate::{hooks, nodes, sessions, topics};

fn look(label: HttpRoute, path: &'static str, id: &'static str) -> Route {
    Route {
        method: Method::GET,
        path,
        label,
        scope: Scope::Read,
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

const TOPICS: &[Parameter] = &[
    one("prefix", "Only topics whose names begin with this."),
    CURSOR,
    LIMIT,
];
const HISTORY: &[Parameter] = &[
    one("after", "Only messages with greater ids."),
    one("before", "Only messages with smaller ids."),
    one("order", "`asc` (oldest first, unless said) or `desc`."),
    LIMIT,
];
const SESSIONS: &[Parameter] = &[
    one("user", "Only those of this user."),
    one("node", "Only those that this node serves, or served last."),
    one("state", "`attached` or `detached`."),
    one("topic", "Only those that receive this topic."),
    CURSOR,
    LIMIT,
];

const EVENTS: &[Parameter] = &[Parameter {
    many: true,
    ..one("topic", "A topic to follow; 1 to 50 of them.")
}];

pub(super) fn routes() -> Vec<Route> {
    [of_topics(), of_the_cluster()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_topics() -> Vec<Route> {
    vec![
        Route {
            summary: "List topics",
            notes: "Topics in which something was stored and is not forgotten yet. What is there from the first page to the last is listed; what comes or goes meanwhile may be.",
            query: TOPICS,
            answer: answer::<topics::Topics>(200),
            serve: Serve::Answer(|call| Box::pin(topics::list(call))),
            ..look(HttpRoute::Topics, "/v1/topics", "listTopics")
        },
        Route {
            summary: "Show a topic",
            notes: "Names in a path are percent-encoded: `room:1` as `room%3A1` or as it is, `a/b` as `a%2Fb`.",
            answer: answer::<topics::TopicDetails>(200),
            serve: Serve::Answer(|call| Box::pin(topics::show(call))),
            ..look(HttpRoute::Topic, "/v1/topics/{topic}", "showTopic")
        },
        Route {
            summary: "Read a topic's log",
            notes: "",
            query: HISTORY,
            answer: answer::<topics::History>(200),
            serve: Serve::Answer(|call| Box::pin(topics::history(call))),
            ..look(
                HttpRoute::History,
                "/v1/topics/{topic}/history",
                "readHistory",
            )
        },
        Route {
            summary: "List who is in a topic",
            notes: "Users with at least one session that receives it, on all nodes. Where `topics.presence` is off for the namespace, the answer is `unsupported`.",
            query: &[CURSOR, LIMIT],
            answer: answer::<topics::Present>(200),
            serve: Serve::Answer(|call| Box::pin(topics::presence(call))),
            ..look(
                HttpRoute::Presence,
                "/v1/topics/{topic}/presence",
                "listPresence",
            )
        },
        Route {
            summary: "Count who is in a topic",
            notes: "Users, as in the list.",
            answer: answer::<topics::PresenceCount>(200),
            serve: Serve::Answer(|call| Box::pin(topics::presence_count(call))),
            ..look(
                HttpRoute::Presence,
                "/v1/topics/{topic}/presence/stats",
                "countPresence",
            )
        },
    ]
}

fn of_the_cluster() -> Vec<Route> {
    vec![
        Route {
            summary: "List sessions",
            notes: "Of all nodes. Filters narrow the answer together; with `topic` pages can be short.",
            query: SESSIONS,
            answer: answer::<sessions::Sessions>(200),
            serve: Serve::Answer(|call| Box::pin(sessions::list(call))),
            ..look(HttpRoute::Sessions, "/v1/sessions", "listSessions")
        },
        Route {
            summary: "Show a session",
            notes: "",
            answer: answer::<sessions::SessionDetails>(200),
            serve: Serve::Answer(|call| Box::pin(sessions::show(call))),
            ..look(HttpRoute::Session, "/v1/sessions/{session}", "showSession")
        },
        Route {
            summary: "List nodes",
            notes: "",
            answer: answer::<nodes::Nodes>(200),
            serve: Serve::Answer(|call| Box::pin(nodes::list(call))),
            ..look(HttpRoute::Nodes, "/v1/nodes", "listNodes")
        },
        Route {
            summary: "Show the hooks",
            notes: "Of the node that answers: how the application's backends answered it since it started.",
            answer: answer::<hooks::Hooks>(200),
            serve: Serve::Answer(|call| Box::pin(std::future::ready(hooks::list(&call)))),
            ..look(HttpRoute::Info, "/v1/hooks", "listHooks")
        },
        Route {
            scope: Scope::Admin,
            summary: "Show the effective configuration",
            notes: "Of the node that answers: every key with its value and where it was written. Secrets are hidden.",
            answer: answer::<nodes::Configuration>(200),
            serve: Serve::Answer(|call| Box::pin(std::future::ready(nodes::configuration(&call)))),
            ..look(HttpRoute::Info, "/v1/config", "showConfiguration")
        },
        Route {
            summary: "Follow topics as they happen",
            notes: "Server-sent events, from now on: `hello` when it begins; `message` and `ephemeral` with `topic`, `data` and what a message has; `dropped` when the reader was too slow, and `leaving` when the node drains, after which the stream ends. A comment every 15 s of silence. For looking, not for processing: nothing is repeated.",
            query: EVENTS,
            answer: super::Reply {
                media: "text/event-stream",
                ..answer::<String>(200)
            },
            ..look(HttpRoute::Events, "/v1/events", "followTopics")
        },
        Route {
            summary: "Show the node that answers",
            notes: "",
            answer: answer::<nodes::Info>(200),
            serve: Serve::Answer(|call| Box::pin(std::future::ready(nodes::info(&call)))),
            ..look(HttpRoute::Info, "/v1/info", "showInfo")
        },
    ]
}
