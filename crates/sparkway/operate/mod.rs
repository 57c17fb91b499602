//! Commands that ask the HTTP API of a node: who asks, and what comes back.

pub(crate) mod nodes;
pub(crate) mod plain;
pub(crate) mod sessions;
pub(crate) mod table;
pub(crate) mod top;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::arguments::duration;
use crate::exit::{Exit, Failure, Outcome};
use plain::{Place, Request};

/// Whom to ask, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Api {
    /// Internal listener of a node
    #[arg(
        long,
        value_name = "URL",
        env = "SPARKWAY_API_URL",
        default_value = "http://127.0.0.1:9000"
    )]
    pub(crate) url: String,
    /// API key, `swk_ID_SECRET`
    #[arg(
        long,
        value_name = "KEY",
        env = "SPARKWAY_API_KEY",
        hide_env_values = true
    )]
    pub(crate) key: Option<String>,
    /// File that holds it
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub(crate) key_file: Option<PathBuf>,
    /// Deadline of each answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Print what the API answers, one JSON value per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Somebody who can ask.
#[derive(Debug)]
pub(crate) struct Asker {
    place: Place,
    key: Option<String>,
    timeout: Duration,
}

impl Api {
    /// Reads address and key.
    ///
    /// # Errors
    /// Usage: an address that is none, a file that cannot be read.
    pub(crate) fn asker(&self) -> Result<Asker, Failure> {
        let key = match &self.key_file {
            None => self.key.clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                Some(text.trim().to_owned())
            }
        };
        Ok(Asker {
            place: Place::parse(&self.url)?,
            // A variable that holds several: the first one.
            key: key.map(|key| first_key(&key)).filter(|key| !key.is_empty()),
            timeout: self.timeout,
        })
    }
}

/// The first of several keys as they stand in a configuration, without its scopes.
fn first_key(text: &str) -> String {
    let first = text.split([',', '\n']).next().unwrap_or_default();
    first
        .split(':')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

impl Asker {
    /// Asks, and reads a success; `Null` where it has no body.
    ///
    /// # Errors
    /// Unreachable (3), auth (4), timeout (5), usage (2) when the request breaks a rule, else
    /// failed (1).
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request {
            method,
            path,
            key: self.key.as_deref(),
            body: &body,
            answer_bytes_max: plain::PAGE_BYTES_MAX,
        };
        let (status, text) = plain::ask(&self.place, &request, Instant::now() + self.timeout)?;
        let value: Value = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|_| {
                Failure::failed(format!(
                    "{} answers {status}, and not as the API does",
                    self.place
                ))
            })?,
        };
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let said = value.get("detail").and_then(Value::as_str);
        let exit = match status {
            401 | 403 => Exit::Auth,
            400 | 405 | 413 => Exit::Usage,
            504 => Exit::Timeout,
            _ => Exit::Failed,
        };
        Err(Failure::new(exit, said.unwrap_or("refused")))
    }

    /// All items of a listing, at most `most`.
    ///
    /// # Errors
    /// As [`Asker::ask`].
    pub(crate) fn walk(&self, path: &str, most: usize) -> Result<Vec<Value>, Failure> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut found = Vec::new();
        let mut cursor = String::new();
        while found.len() < most {
            let limit = (most - found.len()).min(1000);
            let page = self.ask(
                "GET",
                &format!("{path}{separator}limit={limit}{cursor}"),
                None,
            )?;
            let items = page.get("items").and_then(Value::as_array);
            found.extend(items.into_iter().flatten().cloned());
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        Ok(found)
    }
}

/// A text as one segment of a path, or as a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Lets time pass between two looks.
#[expect(
    clippy::disallowed_methods,
    reason = "a command that only looks has nothing to be told by"
)]
pub(crate) fn pause(long: Duration) {
    std::thread::sleep(long);
}

/// Prints values, one per line.
pub(crate) fn print_lines<'a>(values: impl IntoIterator<Item = &'a Value>) -> Outcome {
    let mut out = std::io::stdout().lock();
    for value in values {
        writeln!(out, "{value}")?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_of_several_keys_the_first_counts() {
        assert_eq!(escaped("room:1/ä"), "room%3A1%2F%C3%A4");
        assert_eq!(first_key("swk_a_1:read+admin,swk_b_2\n"), "swk_a_1");
        assert_eq!(first_key(" swk_a_1\n"), "swk_a_1");
    }
}
