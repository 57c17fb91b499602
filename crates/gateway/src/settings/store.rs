//! Where state lives.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sparkway_protocol::Partitions;
use sparkway_store::redis::{RedisSettings, SettingsError};

/// What kind of store an URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process: `memory:`.
    Memory,
    /// One Redis: `redis://`.
    Redis,
    /// The master that sentinels name: `redis+sentinel://host,host/master`.
    Sentinel,
    /// A Redis Cluster: `redis+cluster://host,host`.
    Cluster,
}

/// Where state lives.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// URL of the store; secret, because it may hold a password. Default `memory:`: one node, and
    /// sessions do not outlive it.
    pub url: SecretString,
    /// First part of every key and channel, 1 to 64 characters of `[A-Za-z0-9_.:-]`. Default `sw`.
    pub key_prefix: String,
    /// Independent total orders, fixed for the life of the data. Default none: 16 on a cluster,
    /// so that all masters work, else 1, so that a single id names a client's position.
    pub partitions: Option<Partitions>,
    /// Replicas that confirm a publish of durability `replicated`. Default 1.
    pub replicas: u32,
    /// PEM file with the certificates that sign the store's, for `rediss` URLs. Default none: those
    /// that the operating system trusts.
    pub ca_file: Option<PathBuf>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: SecretString::from("memory:"),
            key_prefix: "sw".to_owned(),
            partitions: None,
            replicas: 1,
            ca_file: None,
        }
    }
}

impl StoreSettings {
    /// The kind of store that the URL's scheme names.
    #[must_use]
    pub fn kind(&self) -> Option<StoreKind> {
        let (scheme, _) = self.url.expose_secret().split_once(':')?;
        match scheme {
            "memory" => Some(StoreKind::Memory),
            "redis" | "rediss" => Some(StoreKind::Redis),
            "redis+sentinel" | "rediss+sentinel" => Some(StoreKind::Sentinel),
            "redis+cluster" | "rediss+cluster" => Some(StoreKind::Cluster),
            _ => None,
        }
    }

    /// Checks that a text is `memory:` or an URL that the Redis backend understands.
    ///
    /// # Errors
    /// What is wrong, without any part of the URL, which may hold a password.
    pub fn check_url(url: &str) -> Result<(), SettingsError> {
        if url == "memory:" {
            return Ok(());
        }
        RedisSettings::new(url).map(drop)
    }

    /// The number of partitions: the configured one, else 16 on a cluster and 1 elsewhere.
    #[must_use]
    pub fn layout(&self) -> Partitions {
        self.partitions.unwrap_or_else(|| match self.kind() {
            Some(StoreKind::Cluster) => Partitions::new(16).unwrap_or(Partitions::ONE),
            Some(StoreKind::Memory | StoreKind::Redis | StoreKind::Sentinel) | None => {
                Partitions::ONE
            }
        })
    }
}
