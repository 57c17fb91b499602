//! Types of requests and answers that say of themselves what they look like: one definition is
//! read, written and documented.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The named schemas that a document refers to.
#[derive(Debug, Default)]
pub(crate) struct Components(pub(crate) BTreeMap<&'static str, Value>);

/// Something with a JSON schema.
pub(crate) trait Shape {
    /// Whether a field of this type may be missing.
    const OPTIONAL: bool = false;

    /// Its schema; named parts are entered into `to` and referred to.
    fn schema(to: &mut Components) -> Value;

    /// Whether it is left out when written.
    fn is_absent(&self) -> bool {
        false
    }
}

impl Shape for String {
    fn schema(_: &mut Components) -> Value {
        json!({"type": "string"})
    }
}

impl Shape for bool {
    fn schema(_: &mut Components) -> Value {
        json!({"type": "boolean"})
    }
}

impl Shape for u64 {
    fn schema(_: &mut Components) -> Value {
        json!({"type": "integer", "minimum": 0})
    }
}

impl Shape for f64 {
    fn schema(_: &mut Components) -> Value {
        json!({"type": "number"})
    }
}

impl<T: Shape> Shape for Option<T> {
    const OPTIONAL: bool = true;

    fn schema(to: &mut Components) -> Value {
        T::schema(to)
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn schema(to: &mut Components) -> Value {
        json!({"type": "array", "items": T::schema(to)})
    }
}

impl<T: Shape> Shape for Box<T> {
    fn schema(to: &mut Components) -> Value {
        T::schema(to)
    }
}

/// Any JSON value, carried verbatim. `null` is a value; a missing field is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data(pub(crate) Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(from).map(|value| Self(Some(value)))
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl Shape for Data {
    const OPTIONAL: bool = true;

    fn schema(_: &mut Components) -> Value {
        json!({})
    }

    fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

/// The schema of an object from its fields: name, description, schema, whether it may be missing.
pub(crate) fn object(description: &str, fields: Vec<(&str, String, Value, bool)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, text, mut schema, optional) in fields {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), text.into());
        }
        properties.insert(name.to_owned(), schema);
        if !optional {
            required.push(name);
        }
    }
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The text of doc comments: trimmed lines, joined.
pub(crate) fn prose(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim().to_owned()
}

/// Declares objects of requests and answers. Unknown fields of a request are refused.
macro_rules! shapes {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident {
            $(
                $(#[doc = $text:literal])*
                $(#[serde($($serde:tt)*)])?
                $field:ident: $kind:ty,
            )*
        }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $(
                $(#[doc = $text])*
                $(#[serde($($serde)*)])?
                #[serde(skip_serializing_if = "crate::shape::Shape::is_absent")]
                pub(crate) $field: $kind,
            )*
        }

        impl $crate::shape::Shape for $name {
            fn schema(to: &mut $crate::shape::Components) -> ::serde_json::Value {
                if !to.0.contains_key(stringify!($name)) {
                    // Entered first, so that a schema may contain itself.
                    to.0.insert(stringify!($name), ::serde_json::Value::Null);
                    let fields = vec![$((
                        stringify!($field),
                        $crate::shape::prose(&[$($text),*]),
                        <$kind as $crate::shape::Shape>::schema(to),
                        <$kind as $crate::shape::Shape>::OPTIONAL,
                    )),*];
                    let text = $crate::shape::prose(&[$($doc),*]);
                    to.0.insert(stringify!($name), $crate::shape::object(&text, fields));
                }
                ::serde_json::json!({
                    "$ref": concat!("#/components/schemas/", stringify!($name)),
                })
            }
        }
    )*};
}

/// Declares texts of which there are only these.
macro_rules! words {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident { $($(#[doc = $text:literal])* $value:ident = $word:literal,)+ }
    )*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        pub(crate) enum $name {
            $($(#[doc = $text])* #[serde(rename = $word)] $value,)+
        }

        impl $crate::shape::Shape for $name {
            fn schema(_: &mut $crate::shape::Components) -> ::serde_json::Value {
                ::serde_json::json!({"type": "string", "enum": [$($word),+]})
            }
        }
    )*};
}

pub(crate) use {shapes, words};
