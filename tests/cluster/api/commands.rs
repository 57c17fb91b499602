//! The commands that ask the API: what they print, and how they end.

use std::time::Duration;

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sparkway_client::Encoding;

use super::KEYED;
use crate::harness::cluster::Cluster;
use crate::harness::operations::{Backend, KEY};
use crate::harness::peer::Peer;

/// Runs the binary with a key, and waits for its end.
async fn sparkway(words: &[&str], key: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparkway"));
    command.args(words).env_clear().stdin(Stdio::null());
    if let Some(key) = key {
        command.env("SPARKWAY_API_KEY", key);
    }
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.unwrap().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn sessions_and_nodes_are_listed_shown_and_ended() {
    let cluster = Cluster::redis(KEYED).await;
    let url = format!("http://127.0.0.1:{}", cluster.processes[0].internal[0]);
    let at = ["--url", url.as_str()];
    let mut peer = Peer::connect(cluster.second(), Encoding::Json).await;
    peer.subscribe(&["cli:1"]).await;
    let session = peer.ticket.session.clone();
    let ask = |words: &[&str]| {
        let words: Vec<String> = words
            .iter()
            .chain(&at)
            .map(|word| (*word).to_owned())
            .collect();
        async move {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            sparkway(&words, Some(KEY)).await
        }
    };
    let nodes = lines(&ask(&["nodes", "--json"]).await);
    assert_eq!(nodes.len(), 2);
    assert_eq!(lines(&ask(&["nodes", "ls", "--json"]).await).len(), 2);
    let found = lines(&ask(&["sessions", "ls", "--topic", "cli:1", "--json"]).await);
    assert_eq!(found[0]["session"], session.as_str());
    let shown = lines(&ask(&["sessions", "show", &session, "--json"]).await);
    assert_eq!(shown[0]["subscriptions"][0]["topic"], "cli:1");
    let text = String::from_utf8(ask(&["sessions", "ls"]).await.stdout).unwrap();
    assert!(
        text.starts_with("SESSION") && text.contains(&session),
        "{text}"
    );
    for sort in ["msgs", "bytes", "queue", "sessions"] {
        assert!(
            ask(&["top", "--sort", sort, "--json"])
                .await
                .status
                .success(),
            "{sort}"
        );
    }
    assert_eq!(
        lines(&ask(&["sessions", "kick", &session, "--json"]).await),
        [json!({"sessions": 1})]
    );
    assert!(!ask(&["sessions", "show", &session]).await.status.success());
}

#[tokio::test]
async fn top_shows_the_busiest_topic_first() {
    let cluster = Cluster::memory(KEYED).await;
    let port = cluster.processes[0].internal[0];
    let backend = Backend::new(port, Some(KEY)).await;
    for (topic, count) in [("busy:1", 50), ("busy:2", 5)] {
        let messages: Vec<Value> = (0..count)
            .map(|_| json!({"topic": topic, "data": "x"}))
            .collect();
        backend
            .post("/v1/publish/batch", &json!({"messages": messages}))
            .await
            .ok();
    }
    let url = format!("http://127.0.0.1:{port}");
    let rows = lines(&sparkway(&["top", "--url", &url, "--json", "-n", "1"], Some(KEY)).await);
    assert_eq!(rows[0]["topic"], "busy:1");
    assert_eq!(rows[0]["messages_per_second"], 5.0);
}

#[tokio::test]
async fn a_drain_is_waited_for() {
    let quick = [
        KEYED,
        &[("drain.readiness_delay", "0s"), ("drain.duration", "1s")],
    ]
    .concat();
    let mut cluster = Cluster::redis(&quick).await;
    let url = format!("http://127.0.0.1:{}", cluster.processes[0].internal[0]);
    let begun = std::time::Instant::now();
    let done = sparkway(&["drain", "node-b", "--wait", "--url", &url], Some(KEY)).await;
    assert!(done.status.success(), "{done:?}");
    // A lease that outlives its node would be seen by all others for 15 s.
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        cluster.processes[1]
            .ended(crate::harness::SOON)
            .await
            .success()
    );
    // The node that answers goes, too.
    let done = sparkway(&["drain", "--wait", "--url", &url], Some(KEY)).await;
    assert!(done.status.success(), "{done:?}");
    assert!(
        cluster.processes[0]
            .ended(crate::harness::SOON)
            .await
            .success()
    );
}

#[tokio::test]
async fn commands_end_as_scripts_expect() {
    let cluster = Cluster::memory(KEYED).await;
    let url = format!("http://127.0.0.1:{}", cluster.processes[0].internal[0]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("http://{}", silent.local_addr().unwrap());
    let closed = format!("http://127.0.0.1:{}", crate::harness::free_port());
    for (words, key, code) in [
        (vec!["nodes", "--url", &url], Some(KEY), 0),
        (
            vec!["sessions", "show", "none", "--url", &url],
            Some(KEY),
            1,
        ),
        (vec!["nodes", "--url", "https://x"], Some(KEY), 2),
        (vec!["nodes", "nonsense", "--url", &url], Some(KEY), 2),
        (vec!["nodes", "--url", &closed], Some(KEY), 3),
        (vec!["nodes", "--url", &url], None, 4),
        (
            vec!["nodes", "--url", &url],
            Some("swk_all_wrongwrongwrongwrong"),
            4,
        ),
        (
            vec!["nodes", "--timeout", "300ms", "--url", &deaf],
            Some(KEY),
            5,
        ),
    ] {
        let output = sparkway(&words, key).await;
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(
            !format!("{output:?}").contains(KEY),
            "a key in the output of {words:?}"
        );
    }
    let help = sparkway(&["drain", "--help"], Some(KEY)).await;
    assert!(!String::from_utf8_lossy(&help.stdout).contains(KEY));
}

#[tokio::test]
async fn a_token_is_written_so_that_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let secret = "x".repeat(32);
    let words = [
        "token",
        "create",
        "--user",
        "ada",
        "--secret",
        &secret,
        "--out",
        path.to_str().unwrap(),
    ];
    let made = sparkway(&words, None).await;
    assert!(made.status.success() && made.stdout.is_empty(), "{made:?}");
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(token.trim().split('.').count(), 3);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
