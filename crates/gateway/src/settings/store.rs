//! Where state lives.

use secrecy::{ExposeSecret, SecretString};
use sparkway_protocol::Partitions;

/// What kind of store an URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process: `memory:`.
    Memory,
    /// One Redis: `redis://` or, with TLS, `rediss://`.
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
    /// First part of every key and channel, 1 to 32 characters of `[A-Za-z0-9_-]`. Default `sw`.
    pub key_prefix: String,
    /// Independent total orders, fixed for the life of the data. Default none: 16 on a cluster,
    /// so that all masters work, else 1, so that a single id names a client's position.
    pub partitions: Option<Partitions>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: SecretString::from("memory:"),
            key_prefix: "sw".to_owned(),
            partitions: None,
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
            "redis+sentinel" => Some(StoreKind::Sentinel),
            "redis+cluster" => Some(StoreKind::Cluster),
            _ => None,
        }
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
