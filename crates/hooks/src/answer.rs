//! What backends may answer. Unknown fields are ignored; a field of the wrong kind makes the whole
//! answer one that does not count.

use serde::Deserialize;
use serde_json::value::RawValue;

/// To connect.
#[derive(Clone, Debug, Deserialize)]
pub struct Connect {
    /// Whether he may.
    pub allow: bool,
    /// Who he is, where no verified credential says it; ignored otherwise.
    pub user: Option<String>,
    /// Topics that he may subscribe to, instead of those of his credential.
    pub subscribe: Option<Vec<String>>,
    /// Topics that he may publish to, instead of those of his credential.
    pub publish: Option<Vec<String>>,
    /// When this ends, in Unix milliseconds; the earlier end counts.
    pub expires_at: Option<u64>,
}

/// All, none, or some of the topics.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Which {
    /// All or none.
    All(bool),
    /// These; others than those asked for are ignored.
    Some(Vec<String>),
}

impl Which {
    /// Whether a topic is among them.
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Some(some) => some.iter().any(|one| one == topic),
        }
    }
}

/// To subscribe.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Subscribe {
    /// Which it may receive.
    pub allow: Which,
}

/// To publish.
#[derive(Debug, Deserialize)]
pub struct Publish {
    /// Whether it may.
    pub allow: bool,
    /// What is published instead of what the client sent.
    pub data: Option<Box<RawValue>>,
}

/// To a message.
#[derive(Clone, Debug, Deserialize)]
pub struct Message {
    /// The response; without one somebody else gives it, later.
    pub content: Option<String>,
}

/// To a call: a result or an error.
#[derive(Debug, Deserialize)]
pub struct Rpc {
    /// What the client is given.
    pub result: Option<Box<RawValue>>,
    /// Why not: `invalid`, `forbidden`, `not_found` or `internal`.
    pub error: Option<String>,
}

/// To a credential that runs out.
#[derive(Clone, Debug, Deserialize)]
pub struct Refresh {
    /// Whether it goes on.
    pub allow: bool,
    /// Until when, in Unix milliseconds; without it, without an end.
    pub expires_at: Option<u64>,
    /// Topics that he may subscribe to from now on, if that changes.
    pub subscribe: Option<Vec<String>>,
    /// Topics that he may publish to from now on, if that changes.
    pub publish: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_allowed_all_or_by_name() {
        let read = |text: &str| serde_json::from_str::<Subscribe>(text);
        assert!(read(r#"{"allow":true}"#).unwrap().allow.has("a"));
        assert!(!read(r#"{"allow":false}"#).unwrap().allow.has("a"));
        let some = read(r#"{"allow":["a"],"more":1}"#).unwrap().allow;
        assert!(some.has("a") && !some.has("b"));
        for bad in ["{}", r#"{"allow":"a"}"#, r#"{"allow":[1]}"#, "[]", "true"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
