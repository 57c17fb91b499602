//! `sparkway dev`: a small cluster in one process.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::select_all;
use sparkway_api::Api;
use sparkway_gateway::Node;
use sparkway_gateway::settings::{LogFormat, LogSettings, Mode, Responder, Settings};
use sparkway_gateway::site::{Site, Sites};
use sparkway_protocol::NodeId;
use sparkway_store::SharedStore;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{block_on, chat, serve};
use crate::console::Console;
use crate::demo::Demo;
use crate::exit::{Exit, Failure, Outcome};
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

/// How long a killed node stays away.
const DEAD: Duration = Duration::from_secs(3);

async fn dev(args: &DevArgs) -> Outcome {
    let mut cluster = Cluster::start(args).await?;
    for node in cluster.nodes.iter().flatten() {
        tracing::info!(
            "node {} serves ws://{}/ws; health and metrics: http://{}/metrics",
            node.id(),
            node.public_address(),
            node.internal_address(),
        );
    }
    tracing::info!("see it at work: http://localhost:{}/demo", args.port);
    tracing::info!(
        "look into it: http://localhost:{}/console",
        args.port + 1000
    );
    tracing::info!("ready; stop with Ctrl-C");
    let mut signals = serve::Signals::new()?;
    loop {
        tokio::select! {
            biased;
            () = failed(&cluster.nodes) => return Err(serve::station_ended()),
            () = signals.next() => break,
            Some(at) = cluster.kills.recv() => cluster.kill(at).await?,
            at = drain_wanted(&cluster.nodes) => cluster.drain(at),
            Some((at, kept)) = cluster.drained.recv() => cluster.settle(at, kept),
            at = next_up(&mut cluster.waking) => cluster.wake(at).await?,
        }
    }
    let nodes = cluster.nodes.into_iter().flatten().collect();
    serve::drain(nodes, &mut signals).await;
    Ok(Exit::Ok)
}

/// The nodes of this process, and those that were killed and come back.
struct Cluster {
    all: Vec<Settings>,
    nodes: Vec<Option<Node>>,
    store: SharedStore,
    demo: Arc<Demo>,
    kills: mpsc::Receiver<usize>,
    /// Nodes that an operator sent away: gone, or kept after all.
    drains: mpsc::Sender<(usize, Option<Node>)>,
    drained: mpsc::Receiver<(usize, Option<Node>)>,
    waking: VecDeque<(Instant, usize)>,
    /// How many nodes were started: a node that comes back is a new one.
    started: usize,
}

impl Cluster {
    async fn start(args: &DevArgs) -> Result<Self, Failure> {
        let all = (0..args.nodes)
            .map(|at| settings(args, at))
            .collect::<Result<Vec<_>, _>>()?;
        let first = all
            .first()
            .ok_or_else(|| Failure::usage("--nodes: at least 1"))?;
        let store = serve::open_store(first).await?;
        let (demo, kills) = Demo::new(all.iter().map(|one| one.server.listen.port()));
        let (drains, drained) = mpsc::channel(all.len());
        let mut cluster = Self {
            drains,
            drained,
            nodes: all.iter().map(|_| None).collect(),
            all,
            store,
            demo,
            kills,
            waking: VecDeque::new(),
            started: 0,
        };
        for at in 0..cluster.all.len() {
            cluster.wake(at).await?;
        }
        Ok(cluster)
    }

    /// Starts the node at a place.
    async fn wake(&mut self, at: usize) -> Result<(), Failure> {
        let Some(mut settings) = self.all.get(at).cloned() else {
            return Ok(());
        };
        self.started += 1;
        let id = format!("dev-{}-{}-{}", at + 1, std::process::id(), self.started);
        settings.server.node_id = NodeId::parse(&id).ok();
        let mut sites = Sites {
            public: vec![Arc::clone(&self.demo) as Arc<dyn Site>],
            internal: vec![
                Arc::new(Api::new(&[], Vec::new())) as Arc<dyn Site>,
                Arc::new(Console),
            ],
            chat: None,
            spans: None,
        };
        chat::add(&settings, &self.store, &mut sites)
            .await
            .map_err(Failure::failed)?;
        let node = Node::start_with(settings, Arc::clone(&self.store), 1, sites)
            .await
            .map_err(Failure::failed)?;
        if let Some(place) = self.nodes.get_mut(at) {
            *place = Some(node);
        }
        self.demo.note(at, true);
        Ok(())
    }

    /// Sends a node away, as an operator wants it; it comes back after a while, as a pod does.
    fn drain(&mut self, at: usize) {
        let Some(node) = self.nodes.get_mut(at).and_then(Option::take) else {
            return;
        };
        tracing::info!("node {} drains", node.id());
        let drains = self.drains.clone();
        tokio::spawn(async move {
            let kept = node.drain_or_stay().await;
            // The process may be ending.
            drop(drains.send((at, kept)).await);
        });
    }

    fn settle(&mut self, at: usize, kept: Option<Node>) {
        if kept.is_none() {
            self.demo.note(at, false);
            self.waking.push_back((Instant::now() + DEAD, at));
        }
        if let Some(place) = self.nodes.get_mut(at) {
            *place = kept;
        }
    }

    /// Ends a node as if its process was killed; it comes back after a while.
    async fn kill(&mut self, at: usize) -> Result<(), Failure> {
        let Some(node) = self.nodes.get_mut(at).and_then(Option::take) else {
            return Ok(());
        };
        tracing::info!("node {} is killed", node.id());
        self.demo.note(at, false);
        // It waits for threads.
        tokio::task::spawn_blocking(move || node.kill())
            .await
            .map_err(Failure::failed)?;
        self.waking.push_back((Instant::now() + DEAD, at));
        Ok(())
    }
}

/// Waits until a node has ended by itself.
async fn failed(nodes: &[Option<Node>]) {
    let all: Vec<_> = nodes.iter().flatten().collect();
    if all.is_empty() {
        return std::future::pending().await;
    }
    select_all(all.into_iter().map(|node| Box::pin(node.failed()))).await;
}

/// Waits until an operator wants one of the nodes to go.
async fn drain_wanted(nodes: &[Option<Node>]) -> usize {
    let all = nodes.iter().enumerate().filter_map(|(at, node)| {
        let node = node.as_ref()?;
        Some(Box::pin(async move {
            node.drain_wanted().await;
            at
        }))
    });
    let all: Vec<_> = all.collect();
    if all.is_empty() {
        return std::future::pending().await;
    }
    select_all(all).await.0
}

/// Waits for the next killed node's time to come back.
async fn next_up(waking: &mut VecDeque<(Instant, usize)>) -> usize {
    match waking.front().copied() {
        Some((when, at)) => {
            tokio::time::sleep_until(when).await;
            waking.pop_front();
            at
        }
        None => std::future::pending().await,
    }
}

fn settings(args: &DevArgs, at: u16) -> Result<Settings, Failure> {
    let too_high = || Failure::usage("--port: too high, the internal ports are 1000 above");
    let port = args.port.checked_add(at).ok_or_else(too_high)?;
    let internal = port.checked_add(1000).ok_or_else(too_high)?;
    let mut settings = Settings::default();
    settings.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    settings.internal.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, internal));
    settings.server.allowed_origins = vec!["*".to_owned()];
    settings.auth.mode = Mode::Off;
    settings.conversation.responder = Responder::Echo;
    // Off where it costs something; here everything can be tried.
    settings.topics.presence = true;
    // Whoever tries things out does so by script: no limit on frames.
    settings.limits.frames_per_second = 0;
    settings.drain.readiness_delay = Duration::ZERO;
    settings.drain.duration = Duration::from_secs(2);
    if let Some(url) = &args.redis {
        settings.store.url = url.clone().into();
    }
    Ok(settings)
}
