//! Arguments that several commands share, and how values are read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sparkway_client::{Client, Encoding, Options, TokenSource, Trust};
use sparkway_config::Sources;

use crate::exit::Failure;

/// A node that is there answers sooner; who waits at a terminal wants to know.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How frames are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// Text frames.
    #[default]
    Json,
    /// Binary frames.
    Msgpack,
}

/// Where the gateway is, and who asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// Address of a node; repeat it or separate with commas for several
    #[arg(
        long = "url",
        value_name = "URL",
        value_delimiter = ',',
        env = "SPARKWAY_URL",
        default_value = "ws://127.0.0.1:8000/ws"
    )]
    pub(crate) urls: Vec<String>,
    /// Credential of the session
    #[arg(
        long,
        value_name = "JWT",
        env = "SPARKWAY_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// File that holds the credential; read again at every connect
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
    /// How frames are written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) encoding: Wire,
    /// Certificate authority to trust on wss:// instead of the system's, as PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Deadline for each answer, and for connecting (5 s at the most)
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

impl Target {
    /// The options of a client for this target.
    ///
    /// # Errors
    /// A file that cannot be read: usage.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let mut options = Options {
            connect_within: self.timeout.min(CONNECT_WITHIN),
            answer_within: self.timeout,
            token: self.token_source(),
            ..Options::default()
        };
        options.dial.encoding = match self.encoding {
            Wire::Json => Encoding::Json,
            Wire::Msgpack => Encoding::MsgPack,
        };
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("--ca {}: {error}", path.display())))?;
            options.dial.trust = Trust::Pem(pem.into());
        }
        Ok(options)
    }

    /// A connected client.
    ///
    /// # Errors
    /// As [`Client::connect`], or a file that cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe: the attempt ends with the future.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.urls, self.options()?).await?)
    }

    fn token_source(&self) -> TokenSource {
        match (&self.token, &self.token_file) {
            (Some(token), _) => TokenSource::Fixed(token.as_str().into()),
            (None, Some(path)) => {
                let path = path.clone();
                TokenSource::Ask(Arc::new(move || {
                    let read = std::fs::read_to_string(&path)
                        .map(|text| text.trim().to_owned())
                        .map_err(|error| format!("{}: {error}", path.display()));
                    Box::pin(std::future::ready(read))
                }))
            }
            (None, None) => TokenSource::Absent,
        }
    }
}

/// Where the configuration of a node comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigSources {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key; stronger than file and environment. Repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl ConfigSources {
    /// The sources of this process. Variables that are not UTF-8 cannot be ours and are left out.
    pub(crate) fn sources(&self) -> Sources {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Sources::new(self.config.clone(), environment, self.set.clone())
    }
}

/// Reads a time: a number with `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// Says what it should look like.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time like 250ms, 5s, 2m, 1h or 7d");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * millis / 1e3).map_err(|_| wrong())
}

/// Reads a size in bytes: a number alone or with `B`, `KiB`, `MiB`.
///
/// # Errors
/// Says what it should look like.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is no size like 512, 512B, 4KiB or 1MiB");
    let digits = text.trim_end_matches(|symbol: char| symbol.is_ascii_alphabetic());
    let number: usize = digits.parse().map_err(|_| wrong())?;
    let unit = match text.get(digits.len()..) {
        Some("" | "B") => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// Reads a rate per second: a number, not negative and not zero.
///
/// # Errors
/// Says what it should look like.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err(format!(
            "{text:?} is no rate: a number of messages per second above 0"
        )),
    }
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// Says what it should look like.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

fn split(text: &str) -> Option<(f64, &str)> {
    let number = text.trim_end_matches(|symbol: char| symbol.is_ascii_alphabetic());
    let value: f64 = number.parse().ok()?;
    (value >= 0.0 && value.is_finite()).then_some((value, text.get(number.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit_and_sizes_may_have_one() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("1h"), Ok(Duration::from_hours(1)));
        for bad in ["", "5", "s", "-1s", "1y", "1e400s", "infs", "nans"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("4KiB"), Ok(4096));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        for bad in [
            "",
            "KiB",
            "-1",
            "1.5KiB",
            "1KB",
            "99999999999999999999",
            "9999999999999999MiB",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_above_zero_and_pairs_have_a_name() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "nan", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(pair("k=v=w"), Ok(("k".to_owned(), "v=w".to_owned())));
        assert!(pair("=v").is_err() && pair("k").is_err());
    }
}
