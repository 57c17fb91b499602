//! What is published.

use http::Method;
use sparkway_gateway::settings::Scope;
use sparkway_metrics::HttpRoute;

use super::{Route, Serve, answer, body};
use crate::publish;

/// Longest body of a publish: the longest message that can be configured, twice escaped.
const MESSAGE: usize = 1024 * 1024;
/// Longest body of a batch.
const BATCH: usize = 4 * 1024 * 1024;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route {
            method: Method::POST,
            path: "/v1/publish",
            label: HttpRoute::Publish,
            scope: Scope::Publish,
            id: "publish",
            summary: "Publish a message",
            notes: "Answered when the message is stored, with its id. Subscribers of every dialect on every node receive it. With a W3C `traceparent` header it is part of that trace.",
            query: &[],
            body: body::<publish::Publish>(
                MESSAGE,
                r#"{"topic":"room:1","data":{"text":"hello"},"id":"order-17"}"#,
            ),
            idempotent: true,
            answer: answer::<publish::Published>(200),
            serve: Serve::Answer(|call| Box::pin(publish::one(call))),
        },
        Route {
            method: Method::POST,
            path: "/v1/publish/batch",
            label: HttpRoute::PublishBatch,
            scope: Scope::Publish,
            id: "publishBatch",
            summary: "Publish up to 1,000 messages",
            notes: "Messages of one topic are stored in their order. Each has a result of its own: an answer of 200 says nothing of a single one.",
            query: &[],
            body: body::<publish::Batch>(
                BATCH,
                r#"{"messages":[{"topic":"room:1","data":1},{"topic":"room:2","data":2}]}"#,
            ),
            idempotent: true,
            answer: answer::<publish::Results>(200),
            serve: Serve::Answer(|call| Box::pin(publish::batch(call))),
        },
        Route {
            method: Method::POST,
            path: "/v1/broadcast",
            label: HttpRoute::Broadcast,
            scope: Scope::Publish,
            id: "broadcast",
            summary: "Publish one message in up to 1,000 topics",
            notes: "As a batch in which all messages say the same.",
            query: &[],
            body: body::<publish::Broadcast>(
                MESSAGE,
                r#"{"topics":["room:1","room:2"],"data":"closing soon"}"#,
            ),
            idempotent: true,
            answer: answer::<publish::Results>(200),
            serve: Serve::Answer(|call| Box::pin(publish::broadcast(call))),
        },
    ]
}
