//! How connections are spread over nodes.

use std::time::Duration;

/// How connections are spread over nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct RebalanceSettings {
    /// Whether nodes with more than their share send clients to the others. Default yes: behind a
    /// balancer that sends newcomers anywhere, a new node would stay nearly empty.
    pub enabled: bool,
    /// How far a node may be from the mean of all before anything is done. Default 0.1.
    pub threshold: f64,
    /// Share of its connections that a node sends away per second. Default 0.002: a third of them
    /// within three minutes, and no storm.
    pub rate: f64,
    /// Mean of connections per node below which nothing is done. Default 500: few connections are
    /// no load, and their spread is chance.
    pub min_connections: u64,
    /// After how long a client is sent to wherever the balancer likes, give or take a fifth.
    /// Default none: what it evens out is evened out above. For balancers and networks that drop
    /// old connections.
    pub max_connection_age: Option<Duration>,
}

impl Default for RebalanceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            threshold: 0.1,
            rate: 0.002,
            min_connections: 500,
            max_connection_age: None,
        }
    }
}
