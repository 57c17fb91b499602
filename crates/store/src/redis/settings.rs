//! Where the Redis is and how it is used.

use std::path::PathBuf;
use std::time::Duration;

use sparkway_protocol::Partitions;

use super::url::{RedisUrl, UrlError};

/// Longest key prefix, in bytes.
const PREFIX_BYTES: usize = 64;

/// Settings of the Redis backend. Its `Debug` form holds no password.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where the servers are.
    pub url: RedisUrl,
    /// In front of every key and channel: 1 to 64 letters, digits, `-`, `_`, `.` or `:`.
    pub key_prefix: Box<str>,
    /// Into how many partitions new data is laid out. `None`: as the data already is, else 1 on
    /// one Redis and 16 on a cluster.
    pub partitions: Option<Partitions>,
    /// How long a connection may take to be made.
    pub connect_deadline: Duration,
    /// How long one call of the store may take, with all its retries.
    pub command_deadline: Duration,
    /// For how long a repeated publish is recognised, at least. Not shorter than the resume window.
    pub idempotency_window: Duration,
    /// How many replicas have to confirm a publish with `Durability::Replicated`.
    pub replicas: u32,
    /// PEM file with the certificates that sign the server's; for `rediss` forms. Without it the
    /// certificates that the operating system trusts count.
    pub ca_file: Option<PathBuf>,
}

/// Why settings were refused; names the setting. Never repeats the URL, which holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// `store.url` is not understood.
    #[error("store.url {0}")]
    Url(#[from] UrlError),
    /// `store.key_prefix` breaks its rule.
    #[error("store.key_prefix must be 1 to 64 bytes of letters, digits, '-', '_', '.' or ':'")]
    KeyPrefix,
}

impl RedisSettings {
    /// Defaults for a server: prefix `sw`, deadlines 1 s and 2 s, window 120 s, one replica.
    ///
    /// # Errors
    /// The URL is none of the known forms; the message says why.
    pub fn new(url: &str) -> Result<Self, SettingsError> {
        Ok(Self {
            url: RedisUrl::parse(url)?,
            key_prefix: "sw".into(),
            partitions: None,
            connect_deadline: Duration::from_secs(1),
            command_deadline: Duration::from_secs(2),
            idempotency_window: Duration::from_mins(2),
            replicas: 1,
            ca_file: None,
        })
    }

    /// Checks what a type cannot.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let fits = (1..=PREFIX_BYTES).contains(&self.key_prefix.len());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if fits && self.key_prefix.bytes().all(plain) {
            Ok(())
        } else {
            Err(SettingsError::KeyPrefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_with_braces_is_refused_for_it_would_move_all_keys_to_one_slot() {
        let mut settings = RedisSettings::new("redis://h").unwrap();
        assert_eq!(settings.check(), Ok(()));
        for bad in ["", "{a}", "a b", "a*", &"x".repeat(65)] {
            settings.key_prefix = (*bad).into();
            assert_eq!(settings.check(), Err(SettingsError::KeyPrefix), "{bad}");
        }
    }
}
