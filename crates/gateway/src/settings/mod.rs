//! Everything that an operator can set, as a plain tree. `sparkway-config` loads, checks and prints
//! it; the stations get their part of it.
//!
//! Each field says its unit, its default and why. `Default` is the configuration of a node that
//! was told nothing; it lacks a key for tokens and therefore does not start as it is.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;
pub use sparkway_auth::{Algorithm, AuthSettings, Claim, Grants, Issuer, Key, Mode, Verifier};
pub use sparkway_hooks::{HookSettings, HookUrls, OnError, Secret as HookSecret};
pub use sparkway_outbound::{Guard, IpNet, OutboundSettings, Target, TargetError};
use sparkway_protocol::{NodeId, TopicName};
pub use sparkway_socket::TlsVersion;

mod chat;
mod conversation;
mod key_sets;
mod network;
mod rebalance;
mod room;
mod store;
mod tracing;
mod traffic;

pub use chat::{ChatSettings, ChatUsers, DeliveredOn, PresenceScope};
pub use conversation::{ConversationSettings, Responder};
pub use key_sets::KeySetSettings;
pub use network::{AddressRange, Dialect, Reject, Route};
pub use rebalance::RebalanceSettings;
pub use room::{RoomEcho, RoomSettings};
pub use store::{StoreKind, StoreSettings};
pub use tracing::TracingSettings;
pub use traffic::{
    Access, DrainSettings, LimitSettings, PresenceSettings, SessionSettings, TopicSettings,
};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The public listener.
    pub server: ServerSettings,
    /// The internal listener.
    pub internal: InternalSettings,
    /// Where state lives.
    pub store: StoreSettings,
    /// Which paths speak which dialect; the first match counts, exact paths come first.
    pub routes: Vec<Route>,
    /// How clients prove who they are.
    pub auth: AuthSettings,
    /// Where the keys of issuers are fetched.
    pub key_sets: KeySetSettings,
    /// What the application's backends are asked.
    pub hooks: HookSettings,
    /// Requests to backends.
    pub outbound: OutboundSettings,
    /// Life of sessions.
    pub session: SessionSettings,
    /// What holds for every topic without a namespace of its own.
    pub topics: TopicSettings,
    /// What holds for the topics `NAME` and `NAME:…` instead; unset keys are those of `topics`.
    pub namespaces: BTreeMap<Box<str>, TopicSettings>,
    /// Who is in which topic.
    pub presence: PresenceSettings,
    /// The room dialect.
    pub room: RoomSettings,
    /// The chat dialect.
    pub chat: ChatSettings,
    /// The conversation dialect.
    pub conversation: ConversationSettings,
    /// Bounds on what clients may use.
    pub limits: LimitSettings,
    /// How the node goes away.
    pub drain: DrainSettings,
    /// Who may use the HTTP API.
    pub api: ApiSettings,
    /// What is logged.
    pub log: LogSettings,
    /// What is traced.
    pub tracing: TracingSettings,
    /// How connections are spread over nodes.
    pub rebalance: RebalanceSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: ServerSettings::default(),
            internal: InternalSettings::default(),
            store: StoreSettings::default(),
            routes: Route::defaults(),
            auth: AuthSettings::default(),
            key_sets: KeySetSettings::default(),
            hooks: HookSettings::default(),
            outbound: OutboundSettings::default(),
            session: SessionSettings::default(),
            topics: TopicSettings::default(),
            namespaces: BTreeMap::new(),
            presence: PresenceSettings::default(),
            room: RoomSettings::default(),
            chat: ChatSettings::default(),
            conversation: ConversationSettings::default(),
            limits: LimitSettings::default(),
            drain: DrainSettings::default(),
            api: ApiSettings::default(),
            log: LogSettings::default(),
            tracing: TracingSettings::default(),
            rebalance: RebalanceSettings::default(),
        }
    }
}

impl Settings {
    /// What holds for this topic: its namespace's settings, else those of `topics`.
    #[must_use]
    pub fn topic(&self, topic: &TopicName) -> &TopicSettings {
        self.namespaces
            .get(topic.namespace())
            .unwrap_or(&self.topics)
    }
}

/// The public listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Address and port. Default `0.0.0.0:8000`: clients come from outside.
    pub listen: SocketAddr,
    /// Name of this node, unique in the cluster and in time. Default none: host name and a random
    /// part, so that a restarted node is a new one.
    pub node_id: Option<NodeId>,
    /// Certificate and key for `wss` without a proxy. Default none: a proxy ends TLS.
    pub tls: Option<TlsSettings>,
    /// Accepted `Origin` headers: `scheme://host[:port]`, `scheme://*.host`, or `*`. Default empty:
    /// only pages of the host that they connect to.
    pub allowed_origins: Vec<String>,
    /// Whether messages are deflated for clients that offer it. Default no: it costs CPU on both
    /// sides, and a secret beside chosen text shows in the length.
    pub compression: bool,
    /// Proxies whose `X-Forwarded-For` counts. Default empty: the header is ignored.
    pub trusted_proxies: Vec<AddressRange>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000)),
            node_id: None,
            tls: None,
            allowed_origins: Vec::new(),
            compression: false,
            trusted_proxies: Vec::new(),
        }
    }
}

/// Certificate and key of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file with the certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// The oldest version that clients may speak. Default TLS 1.2.
    pub oldest: TlsVersion,
}

/// The internal listener: HTTP API, health, metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalSettings {
    /// Address and port. Default `127.0.0.1:9000`: on any other address an API key is demanded.
    pub listen: SocketAddr,
}

impl Default for InternalSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
        }
    }
}

/// What a key of the HTTP API allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Publish.
    Publish,
    /// Read topics, history, presence, sessions, nodes.
    Read,
    /// Disconnect sessions and change their subscriptions.
    Manage,
    /// Drain nodes.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Publish, Self::Read, Self::Manage, Self::Admin];

    /// The word in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Admin => "admin",
        }
    }
}

/// A key of the HTTP API.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// Its name, for logs: the part between `swk_` and the next `_`.
    pub id: Box<str>,
    /// The whole key, `swk_<id>_<secret>`, to be compared in constant time.
    pub key: SecretString,
    /// What it allows.
    pub scopes: Vec<Scope>,
}

/// Who may use the HTTP API.
#[derive(Clone, Debug, Default)]
pub struct ApiSettings {
    /// All valid keys, several for rotation. Default none: the API answers on loopback only.
    pub keys: Vec<ApiKey>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Level, or a list of `target=level`. Default `info`.
    pub level: String,
    /// How lines look. Default none: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: None,
        }
    }
}

#[cfg(test)]
mod tests;
