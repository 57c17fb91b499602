//! A value as it was written, before anything is known about its key.

use std::fmt::Write as _;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    /// A text: quoted in a file, or from outside of files.
    Text(String),
    /// A number or a boolean, not quoted in a file.
    Bare(String),
    /// A list in a file.
    List(Vec<String>),
}

impl Raw {
    /// No value: switches an optional setting off.
    pub(crate) const fn none() -> Self {
        Self::Text(String::new())
    }

    /// As it stands in a file.
    pub(crate) fn literal(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Bare(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    /// As it stands in an environment variable.
    pub(crate) fn plain(&self) -> String {
        match self {
            Self::Text(text) | Self::Bare(text) => text.clone(),
            Self::List(items) => items.join(","),
        }
    }
}

/// A text as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for symbol in text.chars() {
        match symbol {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other if other.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
