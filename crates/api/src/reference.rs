//! The reference page, from the document.

use std::fmt::Write as _;

use serde_json::Value;
use sparkway_protocol::Code;
use sparkway_protocol::code::Retry;

use crate::openapi::{document, problems};
use crate::routes::{Route, table};

const HEAD: &str = "# HTTP API

Generated from the table of routes; do not edit. The same as a document for tools: `GET /openapi.json` on the internal listener.

For backends and operators, on the internal listener (`internal.listen`, usually `127.0.0.1:9000`). Every request carries an API key, `Authorization: Bearer swk_<id>_<secret>`, with the scope that the operation names; where `api.keys` is empty, the listener is on loopback and needs none. A key is never read from a query. Pages of other origins are refused.

Bodies and answers are JSON. Errors are `application/problem+json` (RFC 9457), listed at the end. `X-Request-Id` comes back; without one the node makes it. Listings have a `next` that is `cursor` of the next page. Names in a path are percent-encoded.
";

/// `docs/reference/http-api.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let document = document();
    let routes = table();
    let mut out = HEAD.to_owned();
    out.push_str("\n| operation | scope | |\n|---|---|---|\n");
    for route in &routes {
        let anchor = anchor(route);
        let scope = route.scope.as_str();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| [`{} {}`](#{anchor}) | {scope} | {} |",
            route.method, route.path, route.summary
        );
    }
    for route in &routes {
        write_route(&mut out, route, &document);
    }
    write_codes(&mut out);
    out
}

fn anchor(route: &Route) -> String {
    let title = format!("{} {}", route.method, route.path).to_lowercase();
    title
        .chars()
        .filter_map(|symbol| match symbol {
            ' ' => Some('-'),
            'a'..='z' | '0'..='9' | '-' | '_' => Some(symbol),
            _ => None,
        })
        .collect()
}

fn write_route(out: &mut String, route: &Route, document: &Value) {
    let _ = writeln!(
        out,
        "\n## {} {}\n\n{}.",
        route.method, route.path, route.summary
    );
    if !route.notes.is_empty() {
        let _ = writeln!(out, "{}", route.notes);
    }
    let _ = writeln!(out, "\nScope: `{}`.", route.scope.as_str());
    if !route.query.is_empty() {
        out.push_str("\n| query | |\n|---|---|\n");
        for parameter in route.query {
            let many = if parameter.many { " Repeatable." } else { "" };
            let _ = writeln!(out, "| `{}` | {}{many} |", parameter.name, parameter.text);
        }
    }
    let path = format!("/paths/{}", route.path.replace('/', "~1"));
    let method = route.method.as_str().to_lowercase();
    let operation = document.pointer(&format!("{path}/{method}"));
    if let Some(body) = route.body {
        let optional = if body.optional { ", optional" } else { "" };
        let _ = writeln!(
            out,
            "\nBody{optional}, at most {} KiB:\n",
            body.bytes_max / 1024
        );
        let schema = operation
            .and_then(|found| found.pointer("/requestBody/content/application~1json/schema"));
        write_fields(out, schema, document, "");
        let _ = writeln!(out, "\n```json\n{}\n```", body.example);
    }
    if route.idempotent {
        out.push_str("\n`Idempotency-Key` counts.\n");
    }
    let status = route.answer.status;
    let media = route.answer.media.replace('/', "~1");
    let schema = operation
        .and_then(|found| found.pointer(&format!("/responses/{status}/content/{media}/schema")));
    match schema {
        None => {
            let _ = writeln!(out, "\nAnswer: {status}, without a body.");
        }
        Some(schema) => {
            let _ = writeln!(out, "\nAnswer: {status}.\n");
            write_fields(out, Some(schema), document, "");
        }
    }
    let statuses: Vec<String> = problems(route)
        .iter()
        .map(|(status, _)| status.to_string())
        .collect();
    let _ = writeln!(out, "\nProblems: {}.", statuses.join(", "));
}

/// A table of the fields of an object, those of inner objects included.
fn write_fields(out: &mut String, schema: Option<&Value>, document: &Value, before: &str) {
    let Some(schema) = schema.map(|schema| resolved(schema, document)) else {
        return;
    };
    if before.is_empty() {
        out.push_str("| field | type | |\n|---|---|---|\n");
    }
    let empty = Vec::new();
    let required = schema.get("required").and_then(Value::as_array);
    let required = required.unwrap_or(&empty);
    for (name, field) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let text = field.get("description").and_then(Value::as_str);
        let inner = resolved(field, document);
        let (kind, below) = kind(inner, document);
        let optional = if required.iter().any(|known| known == name) {
            ""
        } else {
            ", optional"
        };
        let path = format!("{before}{name}");
        let _ = writeln!(
            out,
            "| `{path}` | {kind}{optional} | {} |",
            text.unwrap_or_default()
        );
        if let Some((below, mark)) = below {
            write_fields(out, Some(below), document, &format!("{path}{mark}."));
        }
    }
}

fn resolved<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    reference
        .and_then(|reference| document.pointer(reference.strip_prefix('#')?))
        .unwrap_or(schema)
}

/// The type in words, and what is inside.
fn kind<'a>(schema: &'a Value, document: &'a Value) -> (String, Option<(&'a Value, &'static str)>) {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        return (words.join(" or ").replace('"', ""), None);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("array") => {
            let items = schema.get("items").map(|items| resolved(items, document));
            let (inner, _) = items.map_or((String::new(), None), |items| kind(items, document));
            let below = items.filter(|items| items.get("properties").is_some());
            (
                format!("array of {inner}"),
                below.map(|below| (below, "[]")),
            )
        }
        Some("object") => ("object".to_owned(), Some((schema, ""))),
        Some(kind) => (kind.to_owned(), None),
        None => ("any".to_owned(), None),
    }
}

fn write_codes(out: &mut String) {
    out.push_str(
        "\n## Problems\n\n`code` is stable and the same as in `ws:error`; `type` is `urn:sparkway:error:` and the code with `-`. `retryable`: the same request may succeed later, after `Retry-After`.\n\n| code | status | retryable |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let retryable = if code.retry() == Retry::Yes {
            "yes"
        } else {
            "no"
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {retryable} |",
            code.as_str(),
            code.http_status()
        );
    }
}
