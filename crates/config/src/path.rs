//! Names of keys: `session.heartbeat_interval`, `routes."/ws"`, `SPARKWAY__SESSION__…`.

use std::fmt;

/// What every variable begins with.
pub(crate) const ENV_PREFIX: &str = "SPARKWAY__";
/// What stands between the parts of a variable's name.
pub(crate) const ENV_SEPARATOR: &str = "__";
/// Last part of a variable whose value is the path of a file that holds the value.
pub(crate) const ENV_FILE: &str = "FILE";

/// The parts of a key's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<String>);

impl Path {
    /// Reads a dotted name; parts with other characters than letters, digits, `_` and `-` may stand
    /// in double quotes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (part, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => rest.split_at_checked(rest.find('.').unwrap_or(rest.len()))?,
            };
            if part.is_empty() {
                return None;
            }
            parts.push(part.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Some(Self(parts)),
                None => return None,
            }
        }
    }

    /// The parts that the rest of a variable's name stands for, in lower case.
    pub(crate) fn of_variable(rest: &str) -> Self {
        let parts = rest.split(ENV_SEPARATOR).map(str::to_ascii_lowercase);
        Self(parts.collect())
    }

    /// The variable that sets this key.
    pub(crate) fn variable(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|part| part.to_ascii_uppercase())
            .collect();
        format!("{ENV_PREFIX}{}", parts.join(ENV_SEPARATOR))
    }

    /// What a pattern's `*` stands for in this path; empty for a pattern without; `None` when the
    /// path does not match.
    pub(crate) fn captured(&self, pattern: &str) -> Option<&str> {
        let mut captured = "";
        let mut parts = self.0.iter();
        for expected in pattern.split('.') {
            let part = parts.next()?;
            if expected == "*" {
                captured = part;
            } else if expected != part {
                return None;
            }
        }
        parts.next().is_none().then_some(captured)
    }

    /// The pattern with its `*` replaced.
    pub(crate) fn filled(pattern: &str, name: &str) -> Self {
        let fill = |part| if part == "*" { name } else { part };
        Self(
            pattern
                .split('.')
                .map(|part| fill(part).to_owned())
                .collect(),
        )
    }

    pub(crate) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str(".")?;
            }
            let is_plain = |symbol: char| symbol.is_ascii_alphanumeric() || "_-*".contains(symbol);
            if !part.is_empty() && part.chars().all(is_plain) {
                out.write_str(part)?;
            } else {
                out.write_str(&crate::raw::quoted(part))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_are_read_and_written_back() {
        for (text, parts) in [
            ("a", vec!["a"]),
            ("a.b.c", vec!["a", "b", "c"]),
            (r#"routes."/a.b".auth"#, vec!["routes", "/a.b", "auth"]),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.0, parts);
            assert_eq!(path.to_string(), text);
        }
        for bad in ["", ".", "a.", ".a", "a..b", r#""a"#, r#""a"b"#, r#""""#] {
            assert_eq!(Path::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn pattern_captures_one_part() {
        let path = Path::parse("namespaces.room.presence").unwrap();
        assert_eq!(path.captured("namespaces.*.presence"), Some("room"));
        assert_eq!(path.captured("namespaces.*"), None);
        assert_eq!(path.captured("namespaces.*.presence.x"), None);
        assert_eq!(path.captured("namespaces.*.durability"), None);
        assert_eq!(path.captured("namespaces.room.presence"), Some(""));
    }

    #[test]
    fn variables_and_keys_name_each_other() {
        let path = Path::of_variable("SESSION__HEARTBEAT_INTERVAL");
        assert_eq!(path.to_string(), "session.heartbeat_interval");
        assert_eq!(path.variable(), "SPARKWAY__SESSION__HEARTBEAT_INTERVAL");
    }
}
