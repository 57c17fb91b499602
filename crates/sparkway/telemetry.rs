//! Where log lines go: stderr, since stdout is data.

use std::io::IsTerminal as _;

use sparkway_gateway::settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

/// Starts logging: text on a terminal and for whoever asks, else JSON. `RUST_LOG` wins over the
/// configured level.
pub(crate) fn start(settings: &LogSettings) {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&settings.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let format = settings.format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    match format {
        LogFormat::Text => logs.with_ansi(terminal).init(),
        LogFormat::Json => logs.json().init(),
    }
}
