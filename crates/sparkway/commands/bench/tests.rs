//! The loads against two real nodes in this process.

use std::sync::Arc;

use clap::Parser as _;
use sparkway_gateway::Node;
use sparkway_gateway::settings::{Mode, Settings};
use sparkway_store::memory::{MemorySettings, MemoryStore};

use crate::cli::Cli;
use crate::commands::run;
use crate::exit::{Exit, Outcome};

/// Two nodes over one store, for as long as the guard lives.
struct Cluster {
    nodes: Vec<Node>,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Arc::new(MemoryStore::new(MemorySettings::default()));
        let nodes = (0..2)
            .map(|_| {
                let mut settings = Settings::default();
                settings.server.listen = "127.0.0.1:0".parse().unwrap();
                settings.internal.listen = "127.0.0.1:0".parse().unwrap();
                settings.auth.mode = Mode::Off;
                settings.limits.frames_per_second = 0;
                let store = Arc::clone(&store) as sparkway_store::SharedStore;
                runtime.block_on(Node::start(settings, store, 1)).unwrap()
            })
            .collect();
        Self {
            nodes,
            _runtime: runtime,
        }
    }

    /// Runs `sparkway` with these words and the URLs of the nodes.
    fn sparkway(&self, words: &str) -> Outcome {
        let urls: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("ws://{}/ws", node.public_address()))
            .collect();
        let urls = urls.join(",");
        let words = ["sparkway"]
            .into_iter()
            .chain(words.split(' '))
            .chain(["--url", &urls]);
        run(Cli::try_parse_from(words).unwrap().command)
    }
}

#[test]
fn every_load_runs_clean_against_two_nodes() {
    let cluster = Cluster::start();
    for load in [
        "bench conn -n 20 -d 200ms",
        "bench fanout -n 20 -d 1s --rate 50 --topics 3",
        "bench publish -n 4 -d 500ms --in-flight 4 --json",
        "bench publish -n 4 -d 500ms --rate 100",
        "bench resume -n 20 -d 2s --cut-every 300ms --away 20ms --rate 100 --topics 2",
        "bench resume -n 5 -d 1s --cut-every 200ms --away 0s --encoding msgpack",
    ] {
        let outcome = cluster.sparkway(load);
        assert!(matches!(outcome, Ok(Exit::Ok)), "{load}: {outcome:?}");
    }
}

#[test]
fn published_messages_are_read_back_by_sub() {
    let cluster = Cluster::start();
    for words in [
        "pub room:1 hello --count 5",
        "pub room:1 --size 200 --encoding msgpack --json",
        "sub room:1 --rewind 6 --count 6",
        "sub room:1 --since 1 --count 6 --json --encoding msgpack",
    ] {
        let outcome = cluster.sparkway(words);
        assert!(matches!(outcome, Ok(Exit::Ok)), "{words}: {outcome:?}");
    }
}

#[test]
fn exit_codes_tell_usage_from_unreachable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("ws://{closed}/ws");
    let words = [
        "sparkway",
        "pub",
        "t",
        "x",
        "--timeout",
        "300ms",
        "--url",
        &url,
    ];
    let outcome = run(Cli::try_parse_from(words).unwrap().command);
    assert_eq!(outcome.unwrap_err().exit, Exit::Unreachable);
    let words = ["sparkway", "pub", "t", "--url", &url];
    let outcome = run(Cli::try_parse_from(words).unwrap().command);
    assert_eq!(outcome.unwrap_err().exit, Exit::Usage);
    let cluster = Cluster::start();
    let outcome = cluster.sparkway("pub white\u{2003}space x");
    assert_eq!(outcome.unwrap_err().exit, Exit::Usage);
    let outcome = cluster.sparkway("sub $session:1");
    assert_eq!(outcome.unwrap_err().exit, Exit::Auth);
}
