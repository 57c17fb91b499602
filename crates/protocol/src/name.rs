//! Names that people and programs choose: topics, users, nodes, frames.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// Why a name was refused; says which rule it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// Longer than the limit (bytes).
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// A control character or white space.
    #[error("contains white space or a control character")]
    BadCharacter,
}

/// The exact name of a topic: 1 to 255 bytes of UTF-8 without control characters or white space
/// (protocol.md, topic frames). A name is data and can reach no other key of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// The rule that the name breaks; the caller refuses the request that carried it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > limits::TOPIC_NAME_BYTES {
            return Err(NameError::TooLong(limits::TOPIC_NAME_BYTES));
        }
        if text
            .chars()
            .any(|symbol| symbol.is_control() || symbol.is_whitespace())
        {
            return Err(NameError::BadCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name belongs to the gateway (`$…`): clients subscribe only to their own inboxes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// What stands before the first `:`; the whole name where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps the text: not empty, within its length in bytes, no control characters.
            ///
            /// # Errors
            /// The rule that the text breaks; the caller refuses the request that carried it.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty);
                }
                if text.len() > $limit {
                    return Err(NameError::TooLong($limit));
                }
                if text.chars().any(char::is_control) {
                    return Err(NameError::BadCharacter);
                }
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// A user as the application knows it (`sub` of a token): 1 to 128 bytes.
    UserId,
    limits::USER_ID_BYTES
);
text_name!(
    /// A node of the cluster; a restarted node is a new one: 1 to 128 bytes.
    NodeId,
    limits::NODE_ID_BYTES
);
text_name!(
    /// The `id` of a client's frame, unique in its session: names the answer, and is the
    /// idempotency key of a publish: 1 to 64 bytes (protocol.md, frame).
    FrameId,
    limits::FRAME_ID_BYTES
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_limited_in_length_and_characters() {
        assert_eq!(TopicName::parse(""), Err(NameError::Empty));
        assert_eq!(
            TopicName::parse(&"a".repeat(256)),
            Err(NameError::TooLong(255))
        );
        for bad in ["a b", "a\n", "\0", "tab\t", "a\u{2003}b", "\u{85}"] {
            assert_eq!(
                TopicName::parse(bad),
                Err(NameError::BadCharacter),
                "{bad:?}"
            );
        }
        for good in ["gift-list:123", "}{x}", "*", "?[a-z]", "ünïcode", "$user:1"] {
            assert!(TopicName::parse(good).is_ok(), "{good}");
        }
        assert!(TopicName::parse("$user:1").unwrap().is_reserved());
        assert_eq!(TopicName::parse("room:1:2").unwrap().namespace(), "room");
    }

    #[test]
    fn frame_ids_hold_64_bytes_at_the_most() {
        assert!(FrameId::parse(&"x".repeat(64)).is_ok());
        assert_eq!(FrameId::parse(&"x".repeat(65)), Err(NameError::TooLong(64)));
    }
}
