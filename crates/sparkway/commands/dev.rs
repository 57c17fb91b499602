//! `sparkway dev`: a small cluster in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sparkway_gateway::Node;
use sparkway_gateway::settings::{LogFormat, LogSettings, Mode, Settings};
use sparkway_protocol::NodeId;

use super::{block_on, serve};
use crate::exit::{Failure, Outcome};
use crate::telemetry;

/// How the cluster is run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway dev\n  \
    sparkway dev --nodes 3 --redis redis://127.0.0.1")]
pub(crate) struct DevArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) nodes: u16,
    /// Port of the first node; the others follow, internal ones at 1000 more
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub(crate) port: u16,
    /// Store shared by the nodes instead of the embedded one
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
}

/// Runs the cluster until it is told to stop.
///
/// # Errors
/// A node cannot start, or ended by a failure.
pub(crate) fn run(args: &DevArgs) -> Outcome {
    telemetry::start(&LogSettings {
        format: Some(LogFormat::Text),
        ..LogSettings::default()
    });
    block_on(dev(args))
}

async fn dev(args: &DevArgs) -> Outcome {
    let all = (0..args.nodes)
        .map(|at| settings(args, at))
        .collect::<Result<Vec<_>, _>>()?;
    let first = all
        .first()
        .ok_or_else(|| Failure::usage("--nodes: at least 1"))?;
    let store = serve::open_store(first).await?;
    let mut nodes = Vec::with_capacity(all.len());
    for settings in all {
        let node = Node::start(settings, Arc::clone(&store), 1)
            .await
            .map_err(Failure::failed)?;
        nodes.push(node);
    }
    for node in &nodes {
        tracing::info!(
            "node {} serves ws://{}/ws; health and metrics: http://{}/metrics",
            node.id(),
            node.public_address(),
            node.internal_address(),
        );
    }
    tracing::info!("ready; stop with Ctrl-C");
    serve::until_signal(nodes).await
}

fn settings(args: &DevArgs, at: u16) -> Result<Settings, Failure> {
    let too_high = || Failure::usage("--port: too high, the internal ports are 1000 above");
    let port = args.port.checked_add(at).ok_or_else(too_high)?;
    let internal = port.checked_add(1000).ok_or_else(too_high)?;
    let mut settings = Settings::default();
    settings.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    settings.internal.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, internal));
    settings.server.node_id = NodeId::parse(&format!("dev-{}-{}", at + 1, std::process::id())).ok();
    settings.server.allowed_origins = vec!["*".to_owned()];
    settings.auth.mode = Mode::Off;
    // Whoever tries things out does so by script: no limit on frames.
    settings.limits.frames_per_second = 0;
    settings.drain.readiness_delay = Duration::ZERO;
    settings.drain.duration = Duration::from_secs(2);
    if let Some(url) = &args.redis {
        settings.store.url = url.clone().into();
    }
    Ok(settings)
}
