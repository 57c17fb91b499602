//! Which topics somebody may use.

use std::sync::Arc;

use sparkway_protocol::TopicName;

/// Why a topic pattern was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, too long, white space or control characters.
    #[error("is no topic name (1 to 255 bytes without white space)")]
    NoTopicName,
    /// A `*` anywhere but at the end.
    #[error("has a `*` that is not its last character")]
    InnerStar,
    /// `$…` topics belong to the gateway and cannot be granted.
    #[error("begins with `$`: reserved topics cannot be granted")]
    Reserved,
    /// More patterns in one list than this.
    #[error("has more than {0} patterns")]
    TooMany(usize),
}

/// An exact name, or a prefix (empty for every topic).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let prefix = text.strip_suffix('*');
        let name = prefix.unwrap_or(text);
        if name.contains('*') {
            return Err(PatternError::InnerStar);
        }
        if name.starts_with('$') {
            return Err(PatternError::Reserved);
        }
        let is_all = prefix == Some("");
        if !is_all && TopicName::parse(name).is_err() {
            return Err(PatternError::NoTopicName);
        }
        Ok(match prefix {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        })
    }

    fn covers(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Exact(name) => out.push_str(name),
            Self::Prefix(prefix) => {
                out.push_str(prefix);
                out.push('*');
            }
        }
    }
}

/// The topics that somebody may subscribe and publish to. Cheap to clone.
///
/// Reserved topics (`$…`) are never covered, not even by `*`: whoever owns an inbox may subscribe
/// to it without a grant, and nobody publishes to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    subscribe: Arc<[Pattern]>,
    publish: Arc<[Pattern]>,
}

impl Grants {
    /// Most patterns in one list: each is compared for a subscribe or publish.
    pub const PATTERNS_MAX: usize = 256;

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        let empty: Arc<[Pattern]> = Arc::from([]);
        Self {
            subscribe: Arc::clone(&empty),
            publish: empty,
        }
    }

    /// Every topic but the reserved ones.
    #[must_use]
    pub fn all() -> Self {
        let all: Arc<[Pattern]> = Arc::from([Pattern::Prefix("".into())]);
        Self {
            subscribe: Arc::clone(&all),
            publish: all,
        }
    }

    /// The topics that these patterns name.
    ///
    /// # Errors
    /// The rule that the first bad pattern breaks; the caller refuses the token or the setting.
    pub fn new<S: AsRef<str>>(subscribe: &[S], publish: &[S]) -> Result<Self, PatternError> {
        Ok(Self {
            subscribe: patterns(subscribe.iter().map(AsRef::as_ref))?,
            publish: patterns(publish.iter().map(AsRef::as_ref))?,
        })
    }

    /// These with other topics to subscribe or to publish to, where some are given.
    ///
    /// # Errors
    /// The rule that the first bad pattern breaks; the caller takes the whole answer for none.
    pub fn replaced(
        &self,
        subscribe: Option<&[String]>,
        publish: Option<&[String]>,
    ) -> Result<Self, PatternError> {
        let read = |texts: Option<&[String]>, kept: &Arc<[Pattern]>| match texts {
            Some(texts) => patterns(texts.iter().map(String::as_str)),
            None => Ok(Arc::clone(kept)),
        };
        Ok(Self {
            subscribe: read(subscribe, &self.subscribe)?,
            publish: read(publish, &self.publish)?,
        })
    }

    /// These, and everything in one more topic, which the gateway gives to a session as its own.
    #[must_use]
    pub fn and_own(&self, topic: &TopicName) -> Self {
        let more = |patterns: &Arc<[Pattern]>| {
            if covers(patterns, topic) {
                return Arc::clone(patterns);
            }
            let own = Pattern::Exact(topic.as_str().into());
            patterns.iter().cloned().chain([own]).collect()
        };
        Self {
            subscribe: more(&self.subscribe),
            publish: more(&self.publish),
        }
    }

    pub(crate) fn with_subscribe(mut self, patterns: &[&str]) -> Result<Self, PatternError> {
        self.subscribe = self::patterns(patterns.iter().copied())?;
        Ok(self)
    }

    pub(crate) fn with_publish(mut self, patterns: &[&str]) -> Result<Self, PatternError> {
        self.publish = self::patterns(patterns.iter().copied())?;
        Ok(self)
    }

    /// Whether subscribing to the topic is granted. Always `false` for reserved topics: the session
    /// knows which inboxes are its own.
    #[must_use]
    pub fn allows_subscribe(&self, topic: &TopicName) -> bool {
        !topic.is_reserved() && covers(&self.subscribe, topic)
    }

    /// Whether publishing to the topic is granted. Always `false` for reserved topics.
    #[must_use]
    pub fn allows_publish(&self, topic: &TopicName) -> bool {
        !topic.is_reserved() && covers(&self.publish, topic)
    }

    /// The text kept in the session's record: a line of subscribe patterns and a line of publish
    /// patterns, separated by spaces, which no topic name contains.
    #[must_use]
    pub fn to_record(&self) -> String {
        let mut out = String::new();
        write_line(&self.subscribe, &mut out);
        out.push('\n');
        write_line(&self.publish, &mut out);
        out
    }

    /// Reads what [`Self::to_record`] wrote.
    ///
    /// # Errors
    /// The rule that the text breaks: the record is not one of this version, and the caller treats
    /// its session as lost.
    pub fn from_record(record: &str) -> Result<Self, PatternError> {
        let (subscribe, publish) = record.split_once('\n').ok_or(PatternError::NoTopicName)?;
        Ok(Self {
            subscribe: read_line(subscribe)?,
            publish: read_line(publish)?,
        })
    }
}

fn covers(patterns: &[Pattern], topic: &TopicName) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.covers(topic.as_str()))
}

fn patterns<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Arc<[Pattern]>, PatternError> {
    patterns_at_most(texts, Grants::PATTERNS_MAX)
}

fn patterns_at_most<'a>(
    texts: impl Iterator<Item = &'a str>,
    most: usize,
) -> Result<Arc<[Pattern]>, PatternError> {
    let list = texts
        .take(most + 1)
        .map(Pattern::parse)
        .collect::<Result<Vec<_>, _>>()?;
    if list.len() > most {
        return Err(PatternError::TooMany(Grants::PATTERNS_MAX));
    }
    Ok(list.into())
}

fn write_line(patterns: &[Pattern], out: &mut String) {
    for (at, pattern) in patterns.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        pattern.write(out);
    }
}

fn read_line(line: &str) -> Result<Arc<[Pattern]>, PatternError> {
    if line.is_empty() {
        return Ok(Arc::from([]));
    }
    // One more than a token may name: the session's own topic.
    patterns_at_most(line.split(' '), Grants::PATTERNS_MAX + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    #[test]
    fn pattern_is_an_exact_name_or_a_prefix() {
        let grants = Grants::new(&["room:*", "user:alice"], &["room:1"]).unwrap();
        for (name, subscribe, publish) in [
            ("room:1", true, true),
            ("room:12", true, false),
            ("room:", true, false),
            ("room", false, false),
            ("xroom:1", false, false),
            ("user:alice", true, false),
            ("user:alice2", false, false),
            ("user:bob", false, false),
        ] {
            assert_eq!(grants.allows_subscribe(&topic(name)), subscribe, "{name}");
            assert_eq!(grants.allows_publish(&topic(name)), publish, "{name}");
        }
    }

    #[test]
    fn reserved_topics_are_never_granted_not_even_by_star() {
        for name in ["$user:alice", "$session:1", "$", "$x"] {
            assert!(!Grants::all().allows_subscribe(&topic(name)), "{name}");
            assert!(!Grants::all().allows_publish(&topic(name)), "{name}");
        }
        assert!(Grants::all().allows_subscribe(&topic("user:alice")));
        assert!(Grants::all().allows_publish(&topic("a$")));
        assert_eq!(Grants::new(&["$user:*"], &[]), Err(PatternError::Reserved));
        assert_eq!(Grants::new(&["$*"], &[]), Err(PatternError::Reserved));
    }

    #[test]
    fn pattern_that_would_not_mean_what_it_says_is_refused() {
        for (bad, why) in [
            ("", PatternError::NoTopicName),
            ("a b", PatternError::NoTopicName),
            ("a\n", PatternError::NoTopicName),
            ("a*b", PatternError::InnerStar),
            ("**", PatternError::InnerStar),
            ("*a", PatternError::InnerStar),
        ] {
            assert_eq!(Grants::new(&[bad], &[]), Err(why), "{bad:?}");
        }
        let long = "x".repeat(sparkway_protocol::limits::TOPIC_NAME_BYTES + 1);
        assert_eq!(
            Grants::new(&[long.as_str()], &[]),
            Err(PatternError::NoTopicName)
        );
        let many = vec!["a"; Grants::PATTERNS_MAX + 1];
        assert_eq!(
            Grants::new(&many, &[]),
            Err(PatternError::TooMany(Grants::PATTERNS_MAX))
        );
        assert!(Grants::new(&vec!["a"; Grants::PATTERNS_MAX], &[]).is_ok());
    }

    #[test]
    fn record_text_round_trips() {
        for grants in [
            Grants::none(),
            Grants::all(),
            Grants::new(&["room:*", "user:alice", "|,;=x"], &[]).unwrap(),
            Grants::new(&[], &["ünï:*"]).unwrap(),
        ] {
            assert_eq!(Grants::from_record(&grants.to_record()), Ok(grants));
        }
        assert_eq!(Grants::all().to_record(), "*\n*");
    }

    #[test]
    fn an_own_topic_comes_on_top_of_a_full_list_and_survives_the_record() {
        let many: Vec<String> = (0..Grants::PATTERNS_MAX)
            .map(|at| format!("t{at}"))
            .collect();
        let grants = Grants::new(&many, &many).unwrap();
        let own = grants.and_own(&topic("conversation:1"));
        assert!(own.allows_subscribe(&topic("conversation:1")));
        assert!(own.allows_publish(&topic("conversation:1")));
        assert!(own.allows_publish(&topic("t7")));
        assert_eq!(Grants::from_record(&own.to_record()), Ok(own.clone()));
        assert_eq!(own.and_own(&topic("conversation:1")), own);
        assert_eq!(Grants::all().and_own(&topic("x")), Grants::all());
    }

    #[test]
    fn damaged_record_grants_nothing_but_an_error() {
        for bad in ["", "*", "a  b\n", "a\nb\nc", "$x\n", " \n"] {
            assert!(Grants::from_record(bad).is_err(), "{bad:?}");
        }
    }
}
