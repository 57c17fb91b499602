//! Where log lines go: stderr, since stdout is data.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` narrows or widens it.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
