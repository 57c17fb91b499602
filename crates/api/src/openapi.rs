//! `OpenAPI` 3.1, from the table of routes.

use serde_json::{Map, Value, json};
use sparkway_gateway::settings::Scope;
use sparkway_metrics::HttpRoute;
use sparkway_protocol::Code;

use crate::routes::{Body, Parameter, Route, table};
use crate::shape::Components;

/// Statuses of problems that every operation can have, with what they say.
const USUAL: &[(u16, &str)] = &[
    (
        400,
        "The request breaks a rule; `detail` names the field and the limit.",
    ),
    (401, "No valid API key."),
    (
        403,
        "The key lacks the scope, or a page of another origin asks.",
    ),
    (
        503,
        "The node or its store cannot answer now: repeat it after `Retry-After`.",
    ),
    (504, "Not done in time: repeat it."),
];

/// The `OpenAPI` document of the HTTP API.
#[must_use]
pub fn document() -> Value {
    let mut components = Components::default();
    let mut paths = Map::new();
    for route in table() {
        let item = paths
            .entry(route.path)
            .or_insert_with(|| Value::Object(Map::new()));
        let operation = operation(&route, &mut components);
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.as_str().to_lowercase(), operation);
        }
    }
    components.0.insert("Problem", problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sparkway HTTP API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "For backends and operators, on the internal listener.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components.0,
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key, `swk_<id>_<secret>`. None is needed where `api.keys` is empty.",
            }},
        },
    })
}

fn operation(route: &Route, to: &mut Components) -> Value {
    let mut responses = Map::new();
    for (status, text) in problems(route) {
        responses.insert(
            status.to_string(),
            json!({
                "description": text,
                "content": {"application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                }},
            }),
        );
    }
    let mut done = json!({"description": "Done."});
    if let (Some(schema), Some(fields)) = (route.answer.schema, done.as_object_mut()) {
        let content = json!({route.answer.media: {"schema": schema(to)}});
        fields.insert("content".to_owned(), content);
    }
    responses.insert(route.answer.status.to_string(), done);
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "description": format!("{} Needs the scope `{}`.", route.notes, route.scope.as_str()).trim(),
        "tags": [tag(route)],
        "parameters": parameters(route),
        "responses": responses,
        "x-scope": route.scope.as_str(),
    });
    if let (Some(body), Some(fields)) = (route.body, operation.as_object_mut()) {
        fields.insert("requestBody".to_owned(), request(body, to));
    }
    operation
}

fn request(body: Body, to: &mut Components) -> Value {
    let example: Value = serde_json::from_str(body.example).unwrap_or_default();
    json!({
        "required": !body.optional,
        "content": {"application/json": {"schema": (body.schema)(to), "example": example}},
    })
}

/// The part of the path behind the version.
pub(crate) fn tag(route: &Route) -> &'static str {
    route.path.split('/').nth(2).unwrap_or("api")
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut all: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    for Parameter { name, text, many } in route.query {
        let schema = if *many {
            json!({"type": "array", "items": {"type": "string"}})
        } else {
            json!({"type": "string"})
        };
        all.push(json!({"name": name, "in": "query", "description": text, "schema": schema}));
    }
    let mut header = |name: &str, text: &str| {
        let schema = json!({"type": "string"});
        all.push(json!({"name": name, "in": "header", "description": text, "schema": schema}));
    };
    if route.idempotent {
        header(
            "Idempotency-Key",
            "1 to 255 characters: the same key of the same API key publishes once, on whatever node.",
        );
    }
    if route.scope == Scope::Publish {
        header(
            "traceparent",
            "W3C trace context: the publish is part of that trace, and so are its deliveries.",
        );
    }
    header("X-Request-Id", "Comes back in the answer and in problems.");
    all
}

/// What can go wrong, by status.
pub(crate) fn problems(route: &Route) -> Vec<(u16, &'static str)> {
    let mut all = USUAL.to_vec();
    if route.path.contains('{') {
        all.push((404, "There is nothing of this name."));
    }
    if route.body.is_some() {
        all.push((413, "The body or the message is too long."));
    }
    if route.scope == Scope::Admin && route.path.contains('{') {
        all.push((409, "It does not fit what is there now."));
    }
    if route.label == HttpRoute::Presence {
        all.push((501, "No presence is kept there."));
    }
    all.sort_unstable_by_key(|(status, _)| *status);
    all
}

fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "retryable", "request_id"],
        "additionalProperties": false,
        "properties": {
            "type": {"type": "string", "description": "`urn:sparkway:error:` and the code."},
            "title": {"type": "string", "description": "The code in plain words."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "For a developer: names the field and the limit."},
            "code": {"type": "string", "enum": codes, "description": "Stable; the same codes as in `ws:error`."},
            "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
            "request_id": {"type": "string", "description": "`X-Request-Id` of the answer."},
            "errors": {
                "type": "array",
                "description": "Where in the body it is wrong.",
                "items": {
                    "type": "object",
                    "required": ["pointer", "detail"],
                    "additionalProperties": false,
                    "properties": {
                        "pointer": {"type": "string", "description": "JSON pointer."},
                        "detail": {"type": "string"},
                    },
                },
            },
        },
    })
}
