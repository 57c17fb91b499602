//! Names of topics are data: none reaches another key of the store, or another topic.

use std::collections::BTreeSet;

use serde_json::json;
use sparkway_client::Encoding;

use crate::harness::cluster::Cluster;
use crate::harness::peer::Peer;

/// Names that look like keys, patterns, tags, paths and scripts.
const ODD: &[&str] = &[
    "}{x}",
    "{ms3}",
    "{ms3}:clock",
    "sw:cfg",
    "sw:{ms3}:clock",
    "clock",
    "gen",
    "holes",
    "hosts",
    "detached",
    "outbox",
    "log:x",
    "tip:x",
    "sess:x",
    "user:ada",
    "node:node-a",
    "*",
    "?[a-z]",
    "a:b:c:d:",
    ":",
    "..",
    "../../etc/passwd",
    "';FLUSHALL",
    "\\u0000",
    "%7Bms3%7D",
    "КЛЮЧ",
    "🔑",
    "ctl:node-b",
    "revocations",
    "ch:x",
];

/// Kinds of keys that hold one value for a partition.
const SINGLE: &[&str] = &[
    "clock",
    "gen",
    "holes",
    "hosts",
    "detached",
    "outbox",
    "outbox-turn",
    "outbox-dead",
    "phosts",
    "leaving",
];
/// Kinds of keys with a name at the end that is no topic's.
const NAMED: &[&str] = &["idem", "sess", "user", "node", "pnode", "rec", "swept"];
/// Kinds of keys with a topic at the end.
const OF_TOPIC: &[&str] = &["log", "tip", "pres", "online", "seen"];
/// Keys of the whole cluster.
const GLOBAL: &[&str] = &["cfg", "nodes", "revoked"];

#[tokio::test]
async fn the_key_space_holds_nothing_but_keys_of_known_kinds_whatever_topics_are_called() {
    let cluster = Cluster::redis(&[]).await;
    let mut hearer = Peer::connect(cluster.second(), Encoding::Json).await;
    let mut speaker = Peer::connect(cluster.first(), Encoding::Json).await;
    hearer.subscribe(ODD).await;
    for topic in ODD {
        let id = speaker.publish(topic, json!(topic)).await;
        let message = hearer.message().await;
        assert_eq!(
            (&message["id"], &message["topic"]),
            (&json!(id), &json!(topic))
        );
        assert_eq!(message["data"], json!(topic));
    }
    // Each is a log of its own with one entry.
    for topic in ODD {
        assert_eq!(speaker.log(topic).await.len(), 1, "{topic}");
    }
    let redis = cluster.redis.as_ref().unwrap();
    let all = redis.cli(&["--scan"]);
    let mut topics = BTreeSet::new();
    for key in all.lines() {
        let rest = key.strip_prefix("sw:").unwrap_or_else(|| panic!("{key}"));
        if GLOBAL.contains(&rest) {
            continue;
        }
        let rest = rest
            .strip_prefix("{ms3}:")
            .unwrap_or_else(|| panic!("{key}"));
        let (kind, name) = rest.split_once(':').unwrap_or((rest, ""));
        if OF_TOPIC.contains(&kind) {
            topics.insert(name.to_owned());
            continue;
        }
        let is_known = SINGLE.contains(&rest) || NAMED.contains(&kind);
        assert!(is_known, "{key}");
    }
    let expected: BTreeSet<String> = ODD.iter().map(|&topic| topic.to_owned()).collect();
    assert_eq!(topics, expected);
    assert_eq!(redis.cli(&["TYPE", "sw:{ms3}:clock"]).trim(), "string");
    assert_eq!(redis.cli(&["TYPE", "sw:cfg"]).trim(), "hash");
}
