//! Whether an answer is what the document of the API promises: the few words of JSON Schema that
//! it uses, strictly.

use serde_json::Value;

use super::operations::Answer;

/// Fails when the document does not have the operation, the status, or the body as it came.
pub(crate) fn check(document: &Value, method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
    let paths = document["paths"].as_object().expect("paths");
    let item = paths
        .iter()
        .filter(|(pattern, _)| fits(pattern, path))
        .find_map(|(_, item)| item.get(method.to_lowercase()));
    let status = answer.status.to_string();
    let Some(operation) = item else {
        assert!(
            matches!(answer.status, 401 | 403 | 404 | 405),
            "{method} {path} is not in the document: {answer:?}"
        );
        return valid(
            document,
            &document["components"]["schemas"]["Problem"],
            &answer.body,
            "",
        );
    };
    let promised = operation["responses"].get(&status);
    let promised =
        promised.unwrap_or_else(|| panic!("{method} {path} does not promise {status}: {answer:?}"));
    let Some(content) = promised.get("content").and_then(Value::as_object) else {
        assert!(
            answer.body.is_null(),
            "{method} {path}: a body where none is promised: {answer:?}"
        );
        return;
    };
    let (media, promised) = content.iter().next().expect("a media type");
    assert_eq!(
        answer.header("content-type"),
        Some(media.as_str()),
        "{method} {path}"
    );
    valid(document, &promised["schema"], &answer.body, "");
}

fn fits(pattern: &str, path: &str) -> bool {
    let (mut expected, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (expected.next(), found.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || one.starts_with('{') => {}
            _ => return false,
        }
    }
}

fn valid(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document
            .pointer(reference.trim_start_matches('#'))
            .expect("a schema");
        return valid(document, target, value, at);
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    match schema["type"].as_str() {
        None => {}
        Some("string") => assert!(value.is_string(), "{at}: {value}"),
        Some("boolean") => assert!(value.is_boolean(), "{at}: {value}"),
        Some("integer") => assert!(value.is_u64(), "{at}: {value}"),
        Some("number") => assert!(value.is_number(), "{at}: {value}"),
        Some("array") => {
            let items = value
                .as_array()
                .unwrap_or_else(|| panic!("{at}: {value} is no array"));
            for (number, item) in items.iter().enumerate() {
                valid(document, &schema["items"], item, &format!("{at}/{number}"));
            }
        }
        Some("object") => {
            let fields = value
                .as_object()
                .unwrap_or_else(|| panic!("{at}: {value} is no object"));
            let known = &schema["properties"];
            for (name, field) in fields {
                let inner = known
                    .get(name)
                    .unwrap_or_else(|| panic!("{at}/{name} is not promised"));
                valid(document, inner, field, &format!("{at}/{name}"));
            }
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(name.as_str().expect("a name")),
                    "{at}: {name} is missing in {value}"
                );
            }
        }
        Some(other) => panic!("{at}: the check does not know the type {other}"),
    }
}
