//! What an operator can set about requests to backends.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// Bounds of one client.
#[derive(Clone, Debug)]
pub struct OutboundSettings {
    /// For TCP and TLS together (1 s). Part of the deadline of the whole request.
    pub connect_timeout: Duration,
    /// Requests under way at once, and so connections (64). Others wait, within their deadline. A node
    /// adds the places of its hooks, so that those are bounded by `hooks.concurrency` alone.
    pub requests: usize,
    /// Idle connections kept per backend (16).
    pub idle_connections: usize,
    /// How long an idle connection is kept (15 s): shorter than what common servers allow, or
    /// a request meets a connection that the server is just closing.
    pub idle_timeout: Duration,
    /// Longest answer in bytes (256 KiB).
    pub response_bytes: usize,
    /// Networks that may be reached although the guard would refuse them.
    pub allow: Vec<IpNet>,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            requests: 64,
            idle_connections: 16,
            idle_timeout: Duration::from_secs(15),
            response_bytes: 256 * 1024,
            allow: Vec::new(),
            ca_file: None,
        }
    }
}
