//! Where log lines and spans go.

mod convert;
mod otlp;
mod standard;
mod transport;

use std::io::IsTerminal as _;

use sparkway_gateway::settings::{LogFormat, LogSettings};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

pub(crate) use otlp::Exporter;

/// Starts logging to stderr, since stdout is data: text on a terminal and for whoever asks, else
/// JSON. `RUST_LOG` wins over the configured level.
pub(crate) fn start(settings: &LogSettings) {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(&settings.level))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let format = settings.format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    let lines = match format {
        LogFormat::Text => lines.with_ansi(terminal).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let lines = lines.with_filter(filter_fn(is_discreet));
    registry().with(filter).with(lines).init();
}

/// At level `trace` libraries write down what passes through them: request heads and frames, with
/// the tokens inside. Nobody hears that, whatever level is asked for.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || metadata.target().starts_with("sparkway")
}
