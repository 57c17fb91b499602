//! The configuration file.

use std::path::Path as FilePath;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::path::Path;
use crate::raw::Raw;
use crate::{ConfigError, Origin};

/// One value of a file.
pub(crate) struct Entry {
    pub(crate) path: Path,
    pub(crate) raw: Raw,
    pub(crate) origin: Origin,
}

/// Reads the text of a file: every value with its line, and everything that is no TOML.
pub(crate) fn read(text: &str, file: &FilePath) -> (Vec<Entry>, Vec<ConfigError>) {
    let (table, problems) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        file,
        entries: Vec::new(),
        errors: Vec::new(),
    };
    for problem in &problems {
        let at = problem.span().map_or(0, |span| span.start);
        let message = problem.message();
        reader.refuse(
            file.display().to_string(),
            at,
            format!("is no TOML: {message}"),
        );
    }
    // What follows a syntax error may have been misread; its own errors would only confuse.
    if problems.is_empty() {
        reader.walk(&Path::default(), table.get_ref());
    }
    (reader.entries, reader.errors)
}

struct Reader<'a> {
    text: &'a str,
    file: &'a FilePath,
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn walk(&mut self, prefix: &Path, table: &DeTable<'_>) {
        for (name, value) in table {
            let mut path = prefix.clone();
            path.0.push(name.get_ref().to_string());
            self.take(path, value, name.span().start);
        }
    }

    fn take(&mut self, path: Path, value: &Spanned<DeValue<'_>>, at: usize) {
        let raw = match value.get_ref() {
            DeValue::Table(table) => return self.walk(&path, table),
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => {
                let text = number.as_str();
                let value = i64::from_str_radix(text, number.radix());
                Raw::Bare(value.map_or_else(|_| text.to_owned(), |value| value.to_string()))
            }
            DeValue::Float(number) => Raw::Bare(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Raw::Bare(flag.to_string()),
            DeValue::Datetime(time) => Raw::Bare(time.to_string()),
            DeValue::Array(items) => {
                let texts = items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned));
                match texts.collect::<Option<Vec<_>>>() {
                    Some(texts) => Raw::List(texts),
                    None => return self.refuse(path.to_string(), at, "may list texts only".into()),
                }
            }
        };
        let origin = self.origin(at);
        self.entries.push(Entry { path, raw, origin });
    }

    fn refuse(&mut self, key: String, at: usize, problem: String) {
        let origin = self.origin(at);
        self.errors.push(ConfigError {
            key,
            value: None,
            origin,
            problem,
        });
    }

    fn origin(&self, at: usize) -> Origin {
        let before = self.text.bytes().take(at);
        Origin::File {
            path: self.file.to_owned(),
            line: 1 + before.filter(|byte| *byte == b'\n').count(),
        }
    }
}
